"""Keys and numbers as they were: a change of structure must not change them."""
