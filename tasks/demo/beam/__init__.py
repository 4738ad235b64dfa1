"""How it is rendered: projection, scatter, exposure."""
