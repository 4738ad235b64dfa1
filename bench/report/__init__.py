"""Views of the results: tables, overview, literature, pictures."""
