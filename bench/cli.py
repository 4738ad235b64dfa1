"""`python -m bench.cli`: the command line."""

from bench.commands.cli import app, main

__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
