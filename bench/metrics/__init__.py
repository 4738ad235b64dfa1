"""Metrics as pure functions of arrays and of integer resampling weights; each has a reference
test."""
