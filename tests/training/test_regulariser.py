"""Pascanu's Omega and its immediate derivative, against the definition written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from longlag.errors import UserError
from longlag.models import Tensors, build, loss
from longlag.spec import RegulariserSpec, load_run
from longlag.training import regulariser as module
from longlag.training import train

RUN: dict[str, Any] = {
    "task": {"name": "temporal-order", "length": 12},
    "cell": "rnn",
    "model": {"hidden_size": 5},
    "training": {"updates": 4, "eval_every": 2, "batch_size": 4},
    "data": {"validation": 10, "test": 10},
}


def numpy_omega(w: np.ndarray, a: np.ndarray, g: np.ndarray, exists: np.ndarray) -> float:
    """Sum over k, mean over examples, of (|g_{k+1} W diag(tanh'(a_k))| / |g_{k+1}| - 1)^2; a and g are constants."""
    total = 0.0
    for b in range(a.shape[1]):
        for k in range(len(a) - 1):
            if exists[k + 1, b] and np.linalg.norm(g[k + 1, b]) > 1e-25:
                moved = (g[k + 1, b] @ w) * (1 - np.tanh(a[k, b]) ** 2)
                total += float(np.linalg.norm(moved) / np.linalg.norm(g[k + 1, b]) - 1) ** 2
    return total / a.shape[1]


@pytest.mark.parametrize("task", [{"name": "temporal-order", "length": 12}, {"name": "copy-memory", "length": 3}])
@pytest.mark.parametrize("padded", [False, True])
def test_omega_and_its_immediate_derivative(task: dict[str, Any], padded: bool) -> None:
    spec = load_run({**RUN, "task": task})
    law = spec.task.build()
    network = build(law.signature, spec.cell.build(), spec.model, torch.Generator().manual_seed(0)).double()
    batch = Tensors.of(law.sample(np.random.default_rng(0), 3), torch.float64, torch.device("cpu"))
    steps = len(batch.inputs)
    exists = np.ones((steps, 3), bool) if batch.exists is None else batch.exists.numpy()
    if padded:
        exists = np.arange(steps)[:, None] < np.array([steps, steps - 2, steps - 5])
        batch = Tensors(batch.inputs, batch.targets, torch.from_numpy(exists))

    # the pre-activations and the gradients at them, by a loop of autograd's own
    own = network.stack.layers[0]
    x = torch.nn.functional.one_hot(batch.inputs, law.signature.input.size).double()
    h, pre, states = torch.zeros(3, 5, dtype=torch.float64), [], []
    for t in range(steps):
        pre.append(x[t] @ own.weight_ih.T + h @ own.weight_hh.T + own.bias)
        pre[-1].retain_grad()
        h = torch.where(torch.from_numpy(exists[t])[:, None], torch.tanh(pre[-1]), h)
        states.append(h)
    outputs = network.readout(torch.stack(states) if law.signature.per_step else h)
    value = loss(law.signature, outputs, batch)
    value.backward()
    a = np.stack([p.detach().numpy() for p in pre])
    g = np.stack([np.zeros((3, 5)) if p.grad is None else p.grad.numpy() for p in pre])
    w = own.weight_hh.detach().numpy()
    expected = numpy_omega(w, a, g, exists)
    gradient = np.empty_like(w)
    for index in np.ndindex(w.shape):  # central differences, everything but W held
        step = np.zeros_like(w)
        step[index] = 1e-6
        gradient[index] = (numpy_omega(w + step, a, g, exists) - numpy_omega(w - step, a, g, exists)) / 2e-6

    plain = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    term = module.build(RegulariserSpec(name="omega", weight=2.0), network)
    assert term is not None
    with term.capturing():
        term.backward(loss(law.signature, network(batch), batch))
    assert term.value == pytest.approx(expected, rel=1e-9)
    for name, p in network.named_parameters():
        more = p.grad - plain[name]
        wanted = 2 * gradient if name.endswith("weight_hh") else np.zeros(p.shape)
        np.testing.assert_allclose(more.numpy(), wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("cell", ["lstm", {"name": "rnn", "leak": 0.5}, "urnn", "lru"])
def test_it_is_refused_where_it_is_not_defined(cell: Any) -> None:
    with pytest.raises(UserError, match="omega is defined for simple recurrent cells"):
        train(load_run({**RUN, "cell": cell, "regulariser": "omega"}))


def test_it_pulls_the_norms_together() -> None:
    """Under the term alone (a huge weight) Omega falls."""
    found = []

    class Notes(module.Omega):
        def backward(self, value: torch.Tensor) -> None:
            super().backward(value)
            found.append(self.value)

    original, module.Omega = module.Omega, Notes  # type: ignore[misc]
    try:
        fields = {**RUN, "regulariser": {"name": "omega", "weight": 1000.0}, "optimizer": {"name": "adam", "lr": 0.01}}
        train(load_run({**fields, "training": {"updates": 60, "eval_every": 60, "batch_size": 4}}))
    finally:
        module.Omega = original  # type: ignore[misc]
    assert np.mean(found[-5:]) < 0.7 * np.mean(found[:5])
