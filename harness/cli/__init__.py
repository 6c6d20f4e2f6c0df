"""The command line. One file a command; nothing heavy is imported before a command needs it."""

from harness.cli.app import app, main

__all__ = ["app", "main"]
