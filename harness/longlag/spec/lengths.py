"""How long training sequences are over a run: a curriculum over one option of the task, and the field's protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from longlag.errors import UserError, quoted
from longlag.spec.component import Count, Spec

PROTOCOLS: dict[str, dict[str, dict[str, Any]]] = {
    "x": {
        "task": {"least": 3, "length": 40},
        "data": {"beyond": {"long": {"least": 40, "length": 256}}},
    },
    "y": {
        "task": {"length": 40},
        "data": {"curriculum": {"name": "uniform", "low": 1}, "beyond": {"long": {"least": 41, "length": 500}}},
    },
}
"""The fields of a run that ``data.protocol`` stands for; a field that is given replaces the protocol's.

x: lengths uniform on 3 ... 40, one for each sequence, tested on 40 ... 256 (Beck et al. 2024, Grazzi et al. 2024).
y: one length for a batch, uniform on 1 ... 40, tested on 41 ... 500 (Deletang et al. 2023).
"""


class LengthsSpec(Spec):
    """A curriculum over one option of the task, such as its length: ``low, low + step, ...`` and the task's own value.

    uniform: one value for each batch, drawn uniformly. growing: first ``low``; the next one whenever an evaluation
    finds the task solved at the present one, on a validation split of its own.
    """

    name: Literal["uniform", "growing"]
    option: str = Field("length", description="the option of the task that varies; a whole number")
    low: Count = Field(1, description="its least value")
    step: Count = Field(1, description="from one value to the next")

    def values(self, own: Any) -> list[int]:
        """What the option may be, in rising order, where the task itself has `own`.

        Raises:
            UserError: when `own` is no whole number of at least `low`.
        """
        if not isinstance(own, int) or isinstance(own, bool) or own < self.low:
            raise UserError(
                f"data.curriculum: {self.option} should be a whole number of at least {self.low} in the task, "
                f"not {quoted(own)}"
            )
        return [*range(self.low, own, self.step), own]


def over_protocol(given: Any) -> Any:
    """The fields of a run with ``data.protocol`` replaced by the fields that it stands for.

    Raises:
        UserError: for a protocol that there is not.
    """
    data = given.get("data") if isinstance(given, Mapping) else None
    if not isinstance(data, Mapping) or "protocol" not in data:
        return given
    rest = {name: value for name, value in data.items() if name != "protocol"}
    name = data["protocol"]
    if name not in PROTOCOLS:
        raise UserError(f"data.protocol: should be one of {', '.join(PROTOCOLS)}, not {quoted(name)}")
    fields = PROTOCOLS[name]
    task = given.get("task")
    task = {"name": task} if isinstance(task, str) else task
    if isinstance(task, Mapping):
        task = {**fields["task"], **task}
    return {**given, "task": task, "data": {**fields["data"], **rest}}
