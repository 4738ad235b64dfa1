"""What everything stands on: errors, registry, settings, files, progress, paths. Imports nothing of
the house."""
