"""Weights of any origin: read without running code, filled in with an account. Imports nothing, as
the registry imports it."""
