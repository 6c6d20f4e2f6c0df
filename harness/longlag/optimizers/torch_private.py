"""The private parts of torch's optimizers that keep its compiler from being imported, as read in torch 2.13.0.

A test in tests/training/test_optimizers.py fails when they move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Adam, Optimizer

EXEMPT = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Methods of `Optimizer` that torch decorates with ``_disable_dynamo``."""


def without_compiler() -> None:
    """Let optimizers be made without ``torch._dynamo``, whose import takes 1.5 s of processor time.

    The decorator imports it at a method's first call, to exempt the method from compilation, and keeps the exempted
    function as an attribute of the original one. That attribute is set here to the original: compiled code that
    contains an optimizer, which longlag has none of, would trace into these four methods.
    """
    for name in EXEMPT:
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None and not hasattr(method, "__dynamo_disable"):
            setattr(method, "__dynamo_disable", method)


def unhooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """Leave out what `Optimizer` wraps around a class's ``step``: a profiler's mark, and hooks, which nothing uses.

    They take as long as the step of a small network.
    """
    step.hooked = True  # type: ignore[attr-defined]
    return step


def make_states(optimizer: Adam, group: dict[str, Any]) -> None:
    """Give the parameters of a group the states with which `Adam` begins, as its own first step does."""
    optimizer._init_group(group, *([] for _ in range(6)))
