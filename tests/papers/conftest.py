"""The command line inside the test process, as in tests/cli."""

from tests.cli.conftest import longlag, tiny_options  # noqa: F401
