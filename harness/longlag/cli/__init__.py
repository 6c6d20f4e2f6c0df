"""The command line. One file a command; nothing heavy is imported before a command needs it."""

from longlag.cli.app import app, main

__all__ = ["app", "main"]
