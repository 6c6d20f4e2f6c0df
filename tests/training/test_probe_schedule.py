"""Probes by schedule: told when they should be, and never a change to a number of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Any

import pytest
import torch

from longlag.probes import Curve
from longlag.spec import WhenSpec, load_run
from longlag.training import RunCallback, RunResult, train

MOMENTS = ["start", "evaluation", "end", "divergence", 3, 7]
ALL = {"log_every": 1, "batch_size": 8, "when": dict.fromkeys(WhenSpec.model_fields, MOMENTS)}
NONE = {"log_every": 1, "curves": False, "training": False, "when": {name: [] for name in WhenSpec.model_fields}}


class Notes(RunCallback):
    def __init__(self) -> None:
        self.values: dict[str, list[tuple[int, float]]] = {}
        self.training: list[int] = []
        self.lags: list[int] = []
        self.final: dict[str, torch.Tensor] = {}

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append((update, value))

    def training_flow(self, update: int, curves: Sequence[Curve]) -> None:
        self.training.append(update)

    def lag(self, update: int, curves: Sequence[Curve]) -> None:
        self.lags.append(update)

    def weights(self, values: Mapping[str, Any]) -> None:
        self.final = {name: value.clone() for name, value in values.items()}


def trained(probe: dict[str, Any], **fields: Any) -> tuple[RunResult, Notes]:
    notes = Notes()
    base = {
        "task": {"name": "copy-memory", "length": 5, "symbols": 2},
        "cell": "lstm",
        "model": {"hidden_size": 6, "depth": 2, "dropout": 0.2},
        "training": {"updates": 8, "eval_every": 4, "batch_size": 5},
        "data": {"validation": 20, "test": 20},
        "probe": probe,
    }
    return train(load_run({**base, **fields}), [notes]), notes


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cell": "urnn", "model": {"hidden_size": 6}},
        {"task": "number-names", "cell": "gru", "model": {"hidden_size": 6, "decoder": {"teacher_forcing": 0.5}}},
        {"cell": "rnn", "model": {"hidden_size": 6}, "regulariser": "omega"},
    ],
    ids=["lstm", "urnn", "translation", "omega"],
)
def test_probes_change_no_number(fields: dict[str, Any]) -> None:
    watched, with_probes = trained(ALL, **fields)
    alone, without = trained(NONE, **fields)
    left_out = {"wall_seconds", "cpu_seconds", "gradient", "spec", "run_key"}
    assert watched.model_dump_json(exclude=left_out) == alone.model_dump_json(exclude=left_out)
    assert with_probes.final and with_probes.final.keys() == without.final.keys()
    assert all(torch.equal(with_probes.final[name], value) for name, value in without.final.items())
    for name, series in without.values.items():
        assert with_probes.values[name] == series, name
    assert not alone.gradient and {"initial_horizon", "final_slope", "training_horizon"} <= watched.gradient.keys()


def test_each_probe_looks_when_it_is_asked_to() -> None:
    result, notes = trained(ALL)
    assert notes.training == list(range(1, 9))
    assert notes.lags == [0, 3, 4, 7, 8]
    for name in ("lyapunov/layer1/exponent_1", "gates/layer2/f_mean", "states/layer1/c_norm", "gradient_flow/slope"):
        assert [update for update, _ in notes.values[name]] == [0, 3, 4, 7, 8], name
    assert [u for u, _ in notes.values["update_ratio/stack.layers.0.weight_hh"]] == [1, 3, 4, 7, 8]
    assert all(0 < ratio < 1 for _, ratio in notes.values["update_ratio/stack.layers.0.weight_hh"])
    assert result.gradient["initial_lag_steps"] == result.gradient["initial_steps"] == 8


def test_scalars_of_training_batches_are_told_at_evaluations_as_medians() -> None:
    """Of the updates logged since the last one; the curves themselves come at every logged update."""
    dense, notes = trained({"log_every": 1}), trained({"log_every": 2})[1]
    told = dense[1].values["gradient_flow/training_log10_ratio"]
    assert dense[1].training == list(range(1, 9)) and [update for update, _ in told] == [4, 8]
    assert [update for update, _ in notes.values["gradient_flow/training_horizon"]] == [4, 8]
    every = trained({"log_every": 1}, training={"updates": 8, "eval_every": 1, "batch_size": 5})[1]
    ratios = [value for _, value in every.values["gradient_flow/training_log10_ratio"]]
    assert [value for _, value in told] == [median_low(ratios[:4]), median_low(ratios[4:])]
    assert dense[0].gradient["training_log10_ratio"] == median_low(ratios)


def test_the_moment_of_divergence_is_kept() -> None:
    result, notes = trained(ALL, cell={"name": "rnn", "activation": "linear"}, optimizer={"name": "sgd", "lr": 1e12})
    assert result.outcome == "diverged"
    assert any(name.startswith("divergence_") for name in result.gradient)
    assert all(math.isfinite(value) for series in notes.values.values() for _, value in series)
