"""One line of `longlag doctor`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

State = Literal["ok", "note", "wrong", "repaired"]


class Finding(BaseModel):
    """One line of the report.

    Attributes:
        what: was looked at.
        state: ``ok``, ``note`` for what need not be put right, ``wrong`` for what should, ``repaired``.
        about: what was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    state: State
    about: str
