"""Mistakes of the user in one sentence: the exception, values as it repeats them, near names, what pydantic found."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from longlag.credentials import masked

LONGEST = 80
"""Characters of a value that a sentence repeats."""
MOST = 5
"""Mistakes that one sentence names."""
LONG_WORD = re.compile(r"\S{1000,}")
LISTED = 400
"""Characters of a list of names, or of another program's message, in a sentence."""


class UserError(Exception):
    """A mistake of the person at the keyboard: one clear sentence, shown without a traceback, exit code 2.

    Args:
        sentence: passwords in it are masked, and words longer than any path are clipped.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(LONG_WORD.sub(lambda word: clipped(word[0]), masked(sentence)))


def clipped(text: object) -> str:
    """A name or path of the user as a sentence repeats it: its beginning and its end, at most 80 characters."""
    whole = masked(str(text))  # what is left of a password that is cut off could not be told from other words
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 30]}…{whole[-29:]}"


def quoted(value: object) -> str:
    """A value of the user as a sentence repeats it: as Python writes it, at most 80 characters."""
    try:
        return clipped(repr(value))
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"


def shortened(message: object, values: Iterable[object] = ()) -> str:
    """What another program says of a mistake, in one line, and no more of these values than we repeat."""
    text = masked(str(message))
    for value in values:
        if isinstance(value, str) and len(value) > LONGEST:
            text = text.replace(value, clipped(value))
    words = " ".join(clipped(word) for word in text.split())
    return words if len(words) <= LISTED else f"{words[: LISTED // 2]} … {words[-LISTED // 2 :]}"


def listed(names: Iterable[object]) -> str:
    """Names of which the user may choose, separated by commas; of many, those that fit into a sentence."""
    found = [clipped(name) for name in names]
    shown = ""
    for index, name in enumerate(found):
        if len(shown) + len(name) > LISTED:
            return f"{shown} and {len(found) - index} more"
        shown = f"{shown}, {name}" if shown else name
    return shown


def suggestion(word: str, known: list[str]) -> str:
    """``; did you mean 'lstm'?`` when `word` is a near miss of one of `known`, else nothing."""
    if len(word) > LONGEST:
        return ""
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.55)
    return f"; did you mean {quoted(near[0])}?" if near else ""


def one_line(error: BaseException) -> str:
    """Any exception in one line, without passwords: its message, behind its type where that alone would not do."""
    text = masked(" ".join(str(error).split()))
    if isinstance(error, UserError | ImportError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def explain(error: Any, where: str, model: Any = None) -> str:
    """One sentence for a pydantic ``ValidationError``: the fields, what was wrong, what would be right.

    Args:
        error: what pydantic raised.
        where: the file, or the kind of spec.
        model: what was validated, for the names of its fields and of those of the models in it.
    """
    found = error.errors(include_url=False)
    problems = [_problem(item, model) for item in found[:MOST]]
    if len(found) > MOST:
        problems.append(f"and {len(found) - MOST:,} more")
    return f"{where}: " + "; ".join(problems)


def _problem(item: Any, model: Any) -> str:
    path = ".".join(clipped(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = list(getattr(_holder(model, item["loc"]), "model_fields", {}))
        hint = suggestion(str(item["loc"][-1]), known) or (f"; it has {', '.join(known)}" if known else "")
        return f"no field {quoted(path)}{hint or '; it has no options'}"
    ours = item["type"] == "value_error"  # a validator's sentence
    given = (item["input"], *item.get("ctx", {}).values())
    said = item["msg"].removeprefix("Value error, ") if ours else shortened(item["msg"], given)
    return f"{path + ': ' if path else ''}{said}"


def _holder(model: Any, loc: Sequence[Any]) -> Any:
    """The model that the field at the end of `loc` was written into."""
    here = model
    for part, following in itertools.pairwise(loc):
        field = getattr(here, "model_fields", {}).get(str(part))
        if field is not None:  # else a key of a mapping, the number in a list, or the kind of a union
            models = list(_models(field.annotation))
            named = [each for each in models if following in _constants(each)]
            here = (named or models or [here])[0]
    return here


def _models(annotation: Any) -> Iterator[Any]:
    """The models in an annotation: itself, or those of which it is a list, a mapping or a union."""
    if hasattr(annotation, "model_fields"):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _constants(model: Any) -> set[Any]:
    """Values that the fields of a model are bound to, such as the kind that tells it from others."""
    values = (value for field in model.model_fields.values() for value in get_args(field.annotation))
    return {value for value in values if isinstance(value, str)}
