"""The one trainer for everything that trains with batches."""
