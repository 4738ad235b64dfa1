"""The arguments of each command, with their help; what a command does stands beside this folder.

Imports nothing heavy: `--help` reads all of it.
"""
