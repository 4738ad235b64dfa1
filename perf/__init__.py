"""The performance table: every speed claim as a ratio beside an equality check. `make perf` runs
it."""
