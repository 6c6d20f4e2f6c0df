"""Optimizers against their update rules by hand, the schedule against torch's."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch

from longlag import optimizers
from longlag.spec import ClipSpec, OptimizerSpec, ScheduleSpec
from longlag.training import clipping, schedule
from tests.training.test_loop import TINY

GRADIENTS = [0.5, -2.0, 1.0]


def path(spec: dict[str, Any]) -> list[float]:
    """The parameter after each of the gradients, from 1."""
    p = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = optimizers.build(OptimizerSpec.model_validate(spec), [p])
    values = []
    for g in GRADIENTS:
        p.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        values.append(float(p.detach()))
    return values


def test_sgd_with_momentum_and_nesterov() -> None:
    w, v, plain = 1.0, 0.0, []
    for g in GRADIENTS:
        v = 0.9 * v + g
        w -= 0.1 * v
        plain.append(w)
    assert path({"name": "sgd", "lr": 0.1, "momentum": 0.9}) == pytest.approx(plain)
    w, v, ahead = 1.0, 0.0, []
    for g in GRADIENTS:
        v = 0.9 * v + g
        w -= 0.1 * (g + 0.9 * v)
        ahead.append(w)
    assert path({"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}) == pytest.approx(ahead)


def test_rmsprop() -> None:
    w, v, expected = 1.0, 0.0, []
    for g in GRADIENTS:
        v = 0.9 * v + 0.1 * g * g
        w -= 0.01 * g / (math.sqrt(v) + 1e-8)
        expected.append(w)
    assert path({"name": "rmsprop", "lr": 0.01}) == pytest.approx(expected)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_and_adamw(decoupled: bool) -> None:
    w, m, v, expected = 1.0, 0.0, 0.0, []
    for t, gradient in enumerate(GRADIENTS, start=1):
        g = gradient if decoupled else gradient + 0.1 * w
        if decoupled:
            w -= 0.01 * 0.1 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.01 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        expected.append(w)
    name = "adamw" if decoupled else "adam"
    assert path({"name": name, "lr": 0.01, "weight_decay": 0.1}) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_step_is_bit_for_bit_that_of_torch(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((5, 3), (70,), (1,))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    mine = optimizers.build(OptimizerSpec.model_validate({"name": name, "weight_decay": 0.1}), ours)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    reference = kind(theirs, lr=1e-3, weight_decay=0.1, fused=True)
    for step in range(6):
        for p, q in zip(ours, theirs, strict=True):
            gradient = torch.randn(p.shape, generator=generator)
            p.grad, q.grad = (None, None) if step == 3 and p.numel() == 1 else (gradient, gradient.clone())
        mine.step()
        reference.step()
        if step == 4:  # a checkpoint
            mine.load_state_dict(mine.state_dict())
    assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True))
    assert mine.state_dict()["state"][2]["step"] == 5


def test_constrained_parameters_have_their_own_rate() -> None:
    free, bound = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    spec = OptimizerSpec.model_validate({"name": "sgd", "lr": 1.0, "constrained_lr": 0.1})
    optimizer = optimizers.build(spec, [free, bound], [bound])
    free.grad = bound.grad = torch.ones(1)
    optimizer.step()
    assert free.item() == pytest.approx(0.0) and bound.item() == pytest.approx(0.9)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weight_decay_of_weights_alone(name: str) -> None:
    """As torch's optimizer of two groups; with ``all`` both decay, each at its learning rate."""
    given = {"name": name, "lr": 0.1, "weight_decay": 0.5, "constrained_lr": 0.01}
    for decayed, moved in (("weights", [0.95, 1.0, 0.995, 1.0]), ("all", [0.95, 0.95, 0.995, 0.995])):
        free, bias, bound, rate = parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(4)]
        spec = OptimizerSpec.model_validate({**given, "decayed": decayed})
        optimizer = optimizers.build(spec, parameters, [bound, rate], [bias, rate])
        for parameter in parameters:
            parameter.grad = torch.zeros(1)
        optimizer.step()
        assert [float(p.detach()) for p in (free, bias, bound, rate)] == pytest.approx(moved)


def test_a_floor_is_where_cosine_and_linear_end() -> None:
    p = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, 0.1)
    for update in range(51):
        for name in ("cosine", "linear", "constant"):
            factor = schedule.rate(ScheduleSpec(name=name, floor=0.1), update, 50)
            line = {"cosine": optimizer.param_groups[0]["lr"], "linear": 1 - 0.9 * update / 50, "constant": 1.0}
            assert factor == pytest.approx(line[name], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_schedules_follow_torchs() -> None:
    budget = 50
    makers = {
        "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 10, 0.5),
        "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5 ** (1 / 10)),
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, budget),
        "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, budget),
        "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0),
    }
    for name, make in makers.items():
        p = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([p], lr=1.0)
        scheduler = make(optimizer)
        spec = ScheduleSpec(name=name, gamma=0.5, every=10)
        for update in range(budget):
            assert schedule.rate(spec, update, budget) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
            p.grad = torch.ones(1)
            optimizer.step()
            scheduler.step()


def test_warmup_rises_to_the_full_rate() -> None:
    spec = ScheduleSpec(warmup=4)
    assert [schedule.rate(spec, u, 10) for u in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-12, 0.01, 0.99, 1.0, 1.01, 1e6, math.inf, math.nan])
def test_norm_and_clipping_are_torchs_bit_for_bit(dtype: torch.dtype, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(7, 3), (7,), (4, 7), (1,)]
    own, theirs = ([torch.nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in shapes] for _ in range(2))
    for a, b in zip(own, theirs, strict=True):
        gradient = torch.randn(a.shape, generator=generator, dtype=torch.float64)
        a.grad, b.grad = (gradient.mul(scale / 8).to(dtype) for _ in range(2))
    norm = clipping.total_norm([p.grad for p in own if p.grad is not None])
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.7)
    assert norm == expected.item() or (math.isnan(norm) and math.isnan(expected))
    assert clipping.clip(ClipSpec(norm=0.7), own, norm) == (norm > 0.7)
    for a, b in zip(own, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0, equal_nan=True)


def test_clipping_by_value_then_norm() -> None:
    p = torch.nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, -4.0])
    assert clipping.clip(ClipSpec(value=1.0, norm=1.0), [p], 5.0)
    torch.testing.assert_close(p.grad, torch.tensor([1.0, -1.0]) / math.sqrt(2), rtol=1e-5, atol=1e-6)
    p.grad = torch.tensor([0.3, -0.4])
    assert not clipping.clip(ClipSpec(value=1.0, norm=1.0), [p], 0.5)
    assert p.grad.tolist() == pytest.approx([0.3, -0.4])


def test_a_run_starts_without_torchs_compiler_and_scipys_statistics() -> None:
    """Each takes more than a second of processor time to import; where this fails, see optimizers/torch_private.py."""
    code = f"""
import sys
from longlag.spec import load_run
from longlag.training import train
train(load_run({TINY}))
print(sorted({{"torch._dynamo", "torch._inductor", "scipy.stats", "matplotlib.pyplot"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
