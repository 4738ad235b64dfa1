"""Seeded damage to every kind of file the harness reads: named, mended or harmless, never
silent."""
