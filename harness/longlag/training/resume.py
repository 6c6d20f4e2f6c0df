"""A run as a checkpoint, and back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from longlag.training import checkpoint
from longlag.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from longlag.training.loop import Run

KEPT = ("update", "losses", "clipped", "solved_at", "validation", "probed")
"""What a run remembers besides its network and generators."""


def snapshot(run: Run) -> Checkpoint:
    """The run as it stands between two updates."""
    tensors, optimizer = checkpoint.take(run.network, run.optimizer)
    callbacks = {}
    for callback in run.callbacks:
        name = type(callback).__name__
        arrays, callbacks[name] = checkpoint.split(callback.saved())
        tensors |= {f"callback/{name}/{key}": value for key, value in arrays.items()}
    body = {
        "run_key": run.spec.run_key,
        "environment": run.environment,
        "optimizer": optimizer,
        "data": run.data.bit_generator.state,
        "callbacks": callbacks,
        "seconds": [time.perf_counter() - run.wall, time.process_time() - run.cpu],
        **{name: getattr(run, name) for name in KEPT},
    }
    return Checkpoint(run.update, body, tensors)


def restore(run: Run, saved: Checkpoint) -> None:
    """Go on from a checkpoint of the same run."""
    checkpoint.put(run.network, run.optimizer, saved.tensors, saved.body["optimizer"])
    run.data.bit_generator.state = saved.body["data"]
    for name in KEPT:
        setattr(run, name, saved.body[name])
    wall, cpu = saved.body["seconds"]
    run.wall, run.cpu = run.wall - wall, run.cpu - cpu
    for callback in run.callbacks:
        name = type(callback).__name__
        prefix = f"callback/{name}/"
        arrays = {k.removeprefix(prefix): v.numpy() for k, v in saved.tensors.items() if k.startswith(prefix)}
        state = {**saved.body["callbacks"].get(name, {}), **arrays}
        if state:
            callback.restored(state)


def fits(run: Run, saved: Checkpoint) -> bool:
    """Whether a checkpoint is of this run, and was made where the run would have come to the same numbers."""
    there = saved.body["environment"]
    same = all(there.get(key) == run.environment[key] for key in checkpoint.DECIDING)
    return same and bool(saved.body["run_key"] == run.spec.run_key)
