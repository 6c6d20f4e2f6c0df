"""What is said of a mistake of the user: the exception, the nearest name, one sentence for a refused configuration."""

from __future__ import annotations

import difflib
from typing import Any


class UserError(Exception):
    """A mistake of the person at the keyboard: one clear sentence, shown without a traceback, exit code 2."""


def suggestion(word: str, known: list[str]) -> str:
    """``; did you mean 'lstm'?`` when `word` is a near miss of one of `known`, else nothing."""
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.55)
    return f"; did you mean {near[0]!r}?" if near else ""


def one_line(error: BaseException) -> str:
    """Any exception in one line: its message, behind its type where the message alone would not do."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError | ImportError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def explain(error: Any, where: str, model: Any = None) -> str:
    """One sentence for a pydantic ``ValidationError``: the field, what was wrong, what would be right."""
    problems = []
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = list(getattr(model, "model_fields", {}))
            field = str(item["loc"][-1])
            hint = suggestion(field, known) or (f"; it has {', '.join(known)}" if known else "; it has no options")
            problems.append(f"no field {path!r}{hint}")
        else:
            problems.append(f"{path + ': ' if path else ''}{item['msg'].removeprefix('Value error, ')}")
    return f"{where}: " + "; ".join(problems)
