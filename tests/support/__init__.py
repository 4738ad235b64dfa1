"""What several tests use: tiny files, tiny networks, commands."""
