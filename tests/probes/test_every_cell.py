"""Every cell with every probe at every moment: no valid spec of a run crashes in a probe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pytest
import torch

from longlag import registry
from longlag.probes import Curve
from longlag.probes.spectra import singular_values, spectral_radius
from longlag.registry import NETWORK_PROBES
from longlag.spec import load_run
from longlag.spec.run import Moment
from longlag.training import RunCallback, train

PROBES = (*NETWORK_PROBES, *registry.names("probe"))
MOMENTS = (*get_args(get_args(Moment)[0]), 1)
TASK = {"name": "variable-copy", "length": 2, "symbols": 1, "alphabet": 2}  # a loss at every step, and padding
DIVERGING = {"task": {"name": "adding", "length": 4}, "optimizer": {"name": "sgd", "lr": 1e30}}


class Seen(RunCallback):
    """The updates at which each probe measured something."""

    def __init__(self) -> None:
        self.at: dict[str, set[int]] = defaultdict(set)

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        for name in values:
            self.at[name.partition("/")[0]].add(update)

    def flow(self, update: int, curves: Sequence[Curve]) -> None:
        self.at["total"].add(update)

    def lag(self, update: int, curves: Sequence[Curve]) -> None:
        self.at["lag"].add(update)


def run(cell: str, **fields: Any) -> tuple[str, Seen]:
    seen = Seen()
    base = {
        "task": TASK,
        "cell": cell,
        "model": {"hidden_size": 2},
        "training": {"updates": 2, "eval_every": 2, "batch_size": 2},
        "data": {"validation": 2, "test": 1},
        "probe": {"log_every": 1, "batch_size": 2, "when": dict.fromkeys(PROBES, MOMENTS)},
    }
    return train(load_run({**base, **fields}), [seen]).outcome, seen


@pytest.mark.parametrize("cell", registry.names("cell"))
def test_no_probe_fails_at_any_moment(cell: str) -> None:
    outcome, seen = run(cell)
    assert outcome == "budget"
    assert seen.at["total"] == seen.at["lag"] == {0, 1, 2} and seen.at["update_ratio"] == {1, 2}
    assert seen.at["states"] in (set(), {0, 1, 2})  # nothing of a layer that reads whole sequences only
    assert seen.at["jacobian"] == seen.at["states"]

    outcome, seen = run(cell, **DIVERGING)  # states, weights and Jacobians need not be finite
    assert outcome == "diverged"
    assert seen.at["total"] == {0, 1}


def test_a_measurement_of_what_is_not_finite_is_no_number() -> None:
    matrices = torch.stack([2 * torch.eye(2), torch.tensor([[torch.inf, 0], [0, 1]])])
    assert singular_values(matrices).isnan().tolist() == [[False, False], [True, True]]
    assert spectral_radius(matrices)[0] == 2 and spectral_radius(matrices)[1].isnan()
