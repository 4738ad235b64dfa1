"""What task kinds, datasets and the demo share about labels."""
