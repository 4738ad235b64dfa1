"""What the methods share: encoders, losses and kernels, weights, pre-training. Declares nothing."""
