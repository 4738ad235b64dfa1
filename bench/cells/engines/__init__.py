"""How many cells run: each module here runs a list of planned cells."""
