"""What frozen encoders give: features and similarities, computed once and kept."""
