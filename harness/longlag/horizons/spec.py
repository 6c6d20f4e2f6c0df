"""What a horizon study is: cells, the option that is the lag, the budget, and how the learning rate is chosen."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveFloat, ValidationError, field_validator, model_validator

from longlag.errors import UserError, explain
from longlag.spec import STORED, Count, RunSpec, Size, Spec, label, labels, load_run
from longlag.specfile import assign, merge
from longlag.study.size import sized

CLIMBING_SEED = 10_000
"""Of the runs that choose the learning rate; those that are counted have the seeds 0, 1, 2 ..."""
GRADIENT_SEEDS = (0, 1, 2)
TOGETHER = 2
"""Lags that are chosen at once for one cell: two of its runs can go on side by side."""

BASE: dict[str, Any] = {
    "optimizer": {"name": "adam"},
    "clip": {"norm": 1.0},
    "training": {"updates": 1500, "batch_size": 20, "eval_every": 50},
    "data": {"validation": 500, "test": 500},
    "probe": {"curves": False, "log_every": 100},
}
"""Fields of every run, unless `base` sets them; other fields have the defaults of a run."""
GRADIENTS: dict[str, Any] = {
    "curves": True,
    "training": False,
    "when": {
        "total": ["start"],
        "lag": ["start"],
        "saturation": [],
        "states": [],
        "orthogonality": [],
        "update_ratio": [],
    },
}


class HorizonSpec(Spec):
    """A horizon study.

    Every cell is searched apart from the others, so that another cell, or more runs, continue a study: what was done
    before is found.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    base: dict[str, Any] = Field(description="a run's fields (see RunSpec); its training.updates is the budget")
    cells: tuple[Any, ...] = Field(min_length=1, description="names, or mappings with a name and options")
    lag: str = Field("task.length", pattern=r"^task\.\w+$", description="the task's option that is the lag")
    shortest: Count = Field(10, description="least lag looked at, steps")
    longest: Count = Field(500, description="greatest")
    parameters: Size = Field(5000, description="every cell has the hidden size whose count is nearest to this")
    rates: tuple[PositiveFloat, ...] = Field(
        (3e-3, 1e-2, 3e-2), min_length=1, description="learning rates to choose from"
    )
    runs: int = Field(
        16, gt=0, le=10_000, description="runs of each cell that are counted, each with a seed of its own"
    )

    @field_validator("rates")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"rates stand twice: {list(value)}")
        return tuple(sorted(value))

    @model_validator(mode="after")
    def _consistent(self) -> HorizonSpec:
        if self.longest <= self.shortest:
            raise ValueError(f"longest ({self.longest}) should be above shortest ({self.shortest})")
        for field in ("seed", "cell"):
            if field in self.base:
                raise ValueError(f"base.{field}: a horizon study chooses it")
        if "hidden_size" in self.base.get("model", {}):
            raise ValueError("base.model.hidden_size: it is solved for, from `parameters`")
        labels("cells", list(self.cells))
        return self

    @property
    def labelled(self) -> dict[str, Any]:
        """Cells by the word that stands for each."""
        return {str(label(cell)): cell for cell in self.cells}

    def run(self, cell: Any, lag: int, rate: float, seed: int, **fields: Any) -> RunSpec:
        """One run; its hidden size is still to be solved for."""
        return load_run(self._fields(cell, lag, rate, seed, **fields))

    def stored_run(self) -> RunSpec:
        """The first run, of a study that was recorded: its task and cell need not be installed."""
        fields = self._fields(self.cells[0], self.shortest, self.rates[0], 0)
        return RunSpec.model_validate(fields, context=STORED)

    def _fields(self, cell: Any, lag: int, rate: float, seed: int, **fields: Any) -> dict[str, Any]:
        data: dict[str, Any] = {**self.base, "cell": cell, "seed": seed, **fields}
        assign(data, self.lag, lag)
        assign(data, "optimizer.lr", rate)
        return data

    def hidden_size(self, cell: Any) -> int:
        """Of a cell, the same at every lag."""
        return int(sized(self.run(cell, self.longest, self.rates[0], 0), self.parameters).model.hidden_size)

    def ladder(self) -> list[int]:
        """The lags of the climb that chooses the learning rate: doubling from the shortest, and the longest."""
        lags = [self.shortest]
        while lags[-1] * 2 < self.longest:
            lags.append(lags[-1] * 2)
        return [*lags, self.longest]

    def identity(self) -> str:
        """SHA-256 of what makes it the same study: everything but its name, its cells and how many runs."""
        fields = self.model_dump(mode="json", exclude={"name", "cells", "runs", "base"})
        first = self.run(self.cells[0], self.shortest, self.rates[0], 0).model_dump(
            mode="json", exclude={"cell", "seed"}
        )
        return hashlib.sha256(json.dumps([fields, first], sort_keys=True).encode()).hexdigest()


def load_horizon(data: Mapping[str, Any], where: str = "horizon") -> HorizonSpec:
    """A validated horizon study; every cell is tried at both ends of the lags, and its size solved for.

    Fields that `base` leaves out come from `BASE`. A study without a name is called after its task and its identity,
    whatever its cells and number of runs are, so that the same fields continue it.

    Raises:
        UserError: one sentence naming what is wrong.
    """
    spec = _validated({"name": "horizon", **data, "base": _completed(data.get("base"), where)}, where)
    for lag in (spec.shortest, spec.longest):
        for name, cell in spec.labelled.items():
            try:
                run = spec.run(cell, lag, spec.rates[0], 0)
            except UserError as error:
                raise UserError(f"{where}: {name} at {spec.lag}={lag}: {error}") from error
            option = spec.lag.partition(".")[2]
            if run.task.options.get(option) != lag or option not in run.task.options:
                raise UserError(f"{where}: {spec.lag} is no lag of {run.task.name}; name another option by --lag")
    for cell in spec.cells:
        spec.hidden_size(cell)
    if "name" in data:
        return spec
    task = spec.run(spec.cells[0], spec.shortest, spec.rates[0], 0).task.name
    return spec.model_copy(update={"name": f"horizon-{task}-{spec.identity()[:8]}"})


def _validated(data: dict[str, Any], where: str) -> HorizonSpec:
    try:
        return HorizonSpec.model_validate(data)
    except ValidationError as error:
        raise UserError(explain(error, where, HorizonSpec)) from error


def _completed(given: Any, where: str) -> dict[str, Any]:
    """The fields of a run: `BASE` with what was given."""
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: base should hold the fields of a run, at least its task")
    base = copy.deepcopy(BASE)
    for path, value in given.items():
        merge(base, path, value)
    return base
