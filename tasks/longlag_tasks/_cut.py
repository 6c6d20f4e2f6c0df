"""Text to symbols and back without loss: words with the space before them, single digits, single signs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Unit = Literal["words", "characters"]

PIECE = re.compile(r"\s?[^\W\d_]+|\s?\d|.", re.DOTALL)


def cut(text: str, unit: Unit) -> list[str]:
    """The symbols of a text; joined, they are the text again. A first word has a space before it as any other."""
    return PIECE.findall(f" {text}") if unit == "words" else list(text)


def joined(symbols: Sequence[str]) -> str:
    """The text of symbols."""
    return "".join(symbols).removeprefix(" ")
