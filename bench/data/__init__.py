"""The data layer: reading, caching, splitting."""
