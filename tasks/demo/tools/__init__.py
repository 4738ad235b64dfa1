"""Tools that made what is shipped."""
