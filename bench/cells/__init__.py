"""One measurement from its request to its result, and how many are run."""
