"""What is compared: one folder per method; sub-packages are imported by the registry and must stay
light."""
