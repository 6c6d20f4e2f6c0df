"""What options of several tasks share."""

from __future__ import annotations

from typing import Any


def year_as_text(value: Any) -> Any:
    """A variant named for a year as text: unquoted in YAML and on the command line, 1997 is a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
