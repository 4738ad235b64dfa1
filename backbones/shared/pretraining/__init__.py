"""Pre-training of any image-report method."""
