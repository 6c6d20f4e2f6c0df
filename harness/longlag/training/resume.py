"""A run as a checkpoint, and back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from longlag.log import log
from longlag.models import Model
from longlag.spec import RunSpec
from longlag.training import checkpoint
from longlag.training.checkpoint import Checkpoint
from longlag.training.curriculum import Curriculum
from longlag.training.result import RunCallback

FIELDS = ("update", "losses", "clipped", "solved_at", "validation", "probed")
"""What a run remembers besides its network and generators."""


class Resumable(Protocol):
    """What a checkpoint is made of: the parts of a run in the making."""

    spec: RunSpec
    callbacks: Sequence[RunCallback]
    network: Model
    optimizer: torch.optim.Optimizer
    data: np.random.Generator
    curriculum: Curriculum
    environment: dict[str, str]
    update: int
    wall: float
    cpu: float


def snapshot(run: Resumable) -> Checkpoint:
    """The run between two updates."""
    tensors, optimizer = checkpoint.take(run.network, run.optimizer)
    callbacks = {}
    for name, callback in _named(run.callbacks):
        arrays, callbacks[name] = checkpoint.split(callback.saved())
        tensors |= {f"callback/{name}/{key}": value for key, value in arrays.items()}
    body = {
        "run_key": run.spec.run_key,
        "environment": run.environment,
        "optimizer": optimizer,
        "data": run.data.bit_generator.state,
        "callbacks": callbacks,
        "curriculum": run.curriculum.state,
        "seconds": [time.perf_counter() - run.wall, time.process_time() - run.cpu],
        **{name: getattr(run, name) for name in FIELDS},
    }
    return Checkpoint(run.update, body, tensors)


def restore(run: Resumable, saved: Checkpoint) -> None:
    """Continue from a checkpoint of the same run.

    Each callback gets the state that was saved for its class and place among those of its class: the second of two
    gets the second's. Where there are now more or fewer of a class, nobody knows whose state is whose: none of them
    gets one, and a warning says so. The run's numbers do not depend on it.
    """
    checkpoint.put(run.network, run.optimizer, saved.tensors, saved.body["optimizer"])
    run.data.bit_generator.state = saved.body["data"]
    for name in FIELDS:
        setattr(run, name, saved.body[name])
    run.curriculum.state = saved.body.get("curriculum", 0)  # not in a checkpoint of an older longlag
    wall, cpu = saved.body["seconds"]
    run.wall, run.cpu = run.wall - wall, run.cpu - cpu
    states = {name: _state(name, saved) for name in saved.body["callbacks"]}
    states = {name: state for name, state in states.items() if state}
    there, here = _counts(saved.body["callbacks"]), _counts(dict(_named(run.callbacks)))
    for kind in sorted({_kind(name) for name in states}):
        if here[kind] != there[kind]:
            log.warning(
                "%d callbacks of the class %s were saved with the checkpoint of run %s, and %d are there now: their "
                "state is left out", there[kind], kind, run.spec.run_key[:12], here[kind],
            )  # fmt: skip
            states = {name: state for name, state in states.items() if _kind(name) != kind}
    for name, callback in _named(run.callbacks):
        if name in states:
            callback.restored(states[name])


def _named(callbacks: Sequence[RunCallback]) -> list[tuple[str, RunCallback]]:
    """Each callback by its class and its place among those of its class: ``module.Class#0``."""
    seen: Counter[str] = Counter()
    named = []
    for callback in callbacks:
        kind = f"{type(callback).__module__}.{type(callback).__qualname__}"
        named.append((f"{kind}#{seen[kind]}", callback))
        seen[kind] += 1
    return named


def _kind(name: str) -> str:
    return name.rpartition("#")[0]


def _counts(named: Mapping[str, Any]) -> Counter[str]:
    return Counter(map(_kind, named))


def _state(name: str, saved: Checkpoint) -> dict[str, Any]:
    prefix = f"callback/{name}/"
    arrays = {k.removeprefix(prefix): v.numpy() for k, v in saved.tensors.items() if k.startswith(prefix)}
    return {**saved.body["callbacks"][name], **arrays}


def fits(run: Resumable, saved: Checkpoint) -> bool:
    """Whether the run may continue from a checkpoint: it is of this run, and was made where the same bits come out.

    Where it may not, a warning says what differs.
    """
    if saved.body["run_key"] != run.spec.run_key:
        return False
    there, here = saved.body["environment"], run.environment
    deciding = [key for key in {**there, **here} if key not in checkpoint.HARMLESS]
    differ = [key for key in deciding if there.get(key) != here.get(key)]
    if differ:
        changes = "; ".join(f"{key} was {there.get(key, 'not recorded')}, is {here.get(key, 'none')}" for key in differ)
        log.warning(
            "run %s starts again, not from its checkpoint at update %d, because its numbers could differ: %s",
            run.spec.run_key[:12], saved.update, changes,
        )  # fmt: skip
    return not differ
