"""Keys and numbers as they were: a change of the house's shape must not move them."""
