"""ONNX forms: every operator, every composition, held against the harness by ONNX Runtime; and what has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from longlag.export import graph
from longlag.export.operators import NoOperator
from longlag.spec import RunSpec, load_run
from longlag.training.probing import network
from longlag.training.trained import Trained

ADDING = {"name": "adding", "length": 12}
REBER = {"name": "embedded-reber"}

CELLS: list[Any] = [
    "rnn",
    {"name": "rnn", "activation": "relu"},
    {"name": "rnn", "activation": "sigmoid"},
    {"name": "rnn", "activation": "linear"},
    "irnn",
    "np-rnn",
    "lstm",
    "lstm-1997",
    "lstm-peephole",
    "lstm-cifg",
    "lstm-nig",
    "lstm-nfg",
    "lstm-nog",
    "lstm-niaf",
    "lstm-noaf",
    "lstm-np",
    {"name": "lstm", "block_size": 2},
    "gru",
    {"name": "gru", "reset": "before"},
]


def busy(task: Any, cell: Any, **model: Any) -> Trained:
    """A network whose every weight is large enough to matter."""
    fields = {"task": task, "cell": cell, "model": {"hidden_size": 6, **model}, "data": {"validation": 4, "test": 4}}
    spec: RunSpec = load_run(fields)
    net = network(spec, torch.float32)
    generator = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        parameter.data.normal_(0, 0.5, generator=generator)
    return Trained(spec, net.state_dict())


def converted(trained: Trained, size: int = 5) -> graph.Onnx:
    batch = trained.spec.task.build().sample(np.random.default_rng(1), size)
    return graph.convert(trained, batch)


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("task", [ADDING, REBER], ids=["adding", "embedded-reber"])
def test_cells_that_are_operators(task: Any, cell: Any) -> None:
    made = converted(busy(task, cell))
    assert made.sequences == 5 and made.difference < graph.TOLERANCE


@pytest.mark.parametrize(
    "model",
    [
        {"depth": 3, "dropout": 0.3},
        {"depth": 2, "bidirectional": True},
        {"depth": 2, "layer_norm": True, "residual": True},
        {"depth": 2, "bidirectional": True, "initial_state": "learned", "layer_norm": True},
        {"initial_state": "learned"},
        {"recurrent": "orthogonal"},
        {"readout": {"hidden": [7, 5], "activation": "tanh"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", ["lstm-peephole", "gru"])
@pytest.mark.parametrize("task", [ADDING, REBER, "temporal-order"], ids=["adding", "embedded-reber", "temporal-order"])
def test_compositions(task: Any, cell: str, model: dict[str, Any]) -> None:
    assert converted(busy(task, cell, **model)).difference < graph.TOLERANCE


@pytest.mark.parametrize(
    ("task", "cell", "model", "why"),
    [
        (ADDING, "mgu", {}, "no operator for the cell MGU"),
        (ADDING, "tcn", {}, "no operator for"),
        (ADDING, "lstm-fgr", {}, "gate_recurrence"),
        (ADDING, {"name": "rnn", "leak": 0.5}, {}, "leaky"),
        (ADDING, "rnn", {"view": "masked"}, "no operator for MaskedStack"),
        (ADDING, "gru", {"block": "mamba"}, "the block mamba around the layers has no ONNX form"),
        ({"name": "translation"}, "gru", {}, "only networks of classification and labelling"),
    ],
    ids=str,
)
def test_what_has_no_form_says_why(task: Any, cell: Any, model: dict[str, Any], why: str) -> None:
    with pytest.raises(NoOperator, match=why):
        converted(busy(task, cell, **model))


def test_a_graph_that_differs_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of the graph changed by one part in a hundred: the comparison has to see it."""
    trained = busy(ADDING, "lstm")
    right = graph._Graph.joined
    monkeypatch.setattr(
        graph._Graph,
        "joined",
        lambda self, forms, name: (
            self.constant(torch.stack([1.01 * getattr(form, name) for _, form in forms]))
            if name == "R"
            else right(self, forms, name)
        ),
    )
    with pytest.raises(NoOperator, match="off by up to"):
        converted(trained)
