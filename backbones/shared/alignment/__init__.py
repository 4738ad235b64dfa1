"""Losses shared by the methods, as plain functions on tensors. Imports nothing here: the registry
imports this package."""
