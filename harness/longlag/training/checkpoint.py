"""Checkpoints: what a killed run needs to end with the numbers of an undisturbed one, bit for bit.

A checkpoint is two files named for the update, ``00000120.safetensors`` (parameters, buffers, optimizer, generators,
arrays of the callbacks) and ``00000120.json`` (everything else, and both checksums). The JSON comes last, so that a
checkpoint without it does not exist. The last two are kept: should the newest be damaged, the one before it is taken.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from longlag import files, locks
from longlag.log import log

FORMAT = 3
SECONDS = 30.0
STATES_ON_DISK = 2
HARMLESS = ("longlag", "python", "cores", "git_commit")
"""Parts of the environment that may differ. A run's bits depend on all others: where one differs, it starts again."""
UNUSABLE = (OSError, ValueError, KeyError, TypeError)
"""What reading a checkpoint raises that is damaged, or was written by another version."""


@dataclass(frozen=True)
class Checkpoint:
    """A run between two updates.

    Args:
        update: updates made.
        body: JSON values.
        tensors: on the CPU.
    """

    update: int
    body: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


@dataclass
class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Args:
        folder: made with the first of them.
        seconds: between two of them; 0 writes one after every update.
    """

    folder: Path
    seconds: float = SECONDS
    _next: float = 0.0

    def begin(self) -> None:
        """The clock runs from here."""
        self._next = time.monotonic() + self.seconds

    def due(self) -> bool:
        return time.monotonic() >= self._next

    def write(self, checkpoint: Checkpoint) -> None:
        """Write one, and remove all but the last two.

        Raises:
            OSError: when the disk is full or cannot be written; what was there before stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = f"{checkpoint.update:08d}"
        data = save({name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()})
        body = {**checkpoint.body, "format": FORMAT, "update": checkpoint.update, "tensors": files.digest(data)}
        files.write(self.folder / f"{stem}.safetensors", data)
        files.write(self.folder / f"{stem}.json", json.dumps(files.sealed(body)).encode())
        for old in self._stems()[:-STATES_ON_DISK]:
            self.remove(old)
        for left in self.folder.glob(".*"):  # by a process that was killed while it wrote
            left.unlink(missing_ok=True)
        self.begin()

    def read(self) -> Checkpoint | None:
        """The newest that is whole, or None."""
        for stem in reversed(self._stems()):
            try:
                return self._read(stem)
            except UNUSABLE as error:
                log.warning("checkpoint %s cannot be used: %s", self.folder / f"{stem}.json", error, exc_info=True)
        return None

    def states(self) -> dict[str, str | None]:
        """Why each cannot be used, by the name of its files, the newest last; None for one that is whole."""
        found: dict[str, str | None] = {}
        for stem in self._stems():
            try:
                self._read(stem)
                found[stem] = None
            except UNUSABLE as error:
                if (self.folder / f"{stem}.json").exists():  # else it was removed meanwhile, after a newer one
                    found[stem] = str(error)
        return found

    def remove(self, stem: str) -> None:
        """Remove one."""
        for suffix in (".json", ".safetensors"):  # the JSON first: what is left of it is no checkpoint
            (self.folder / f"{stem}{suffix}").unlink(missing_ok=True)

    def _read(self, stem: str) -> Checkpoint:
        body, verified = files.unsealed((self.folder / f"{stem}.json").read_bytes())
        if not verified:
            raise files.Damaged("it has no checksum")
        if body["format"] != FORMAT:
            raise ValueError(f"it has format {body['format']}, and this longlag reads format {FORMAT}")
        data = (self.folder / f"{stem}.safetensors").read_bytes()
        if body["tensors"] != files.digest(data):
            raise files.Damaged(f"the checksum of {stem}.safetensors differs")
        return Checkpoint(body["update"], body, load(data))

    def _stems(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("????????.json"))


@contextmanager
def claimed(root: Path, run_key: str, seconds: float | None = SECONDS) -> Iterator[Checkpoints | None]:
    """The checkpoints of a run while this process alone may train it; waits for another one that does.

    The claim is given back when the process dies.

    Args:
        root: folder of all runs' checkpoints.
        run_key: the run's identity.
        seconds: between two of them; None writes none, and gives none.
    """
    root.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(root / f"{run_key}.lock"):
        yield None if seconds is None else Checkpoints(root / run_key, seconds)


def forget(root: Path, run_key: str) -> None:
    """Remove the checkpoints of a run that needs none any more."""
    shutil.rmtree(root / run_key, ignore_errors=True)


# -- what is in it ----------------------------------------------------------------------------------------------------


def generators(network: nn.Module) -> dict[str, torch.Generator]:
    """The generators that modules hold, of dropout or of teacher forcing, by name."""
    return {
        f"{name}.{key}": value
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Generator)
    }


def take(network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of a network, of its generators and of its optimizer: tensors, and the JSON values of the optimizer."""
    tensors = {f"network/{name}": value.clone() for name, value in network.state_dict().items()}
    tensors |= {f"generator/{name}": value.get_state() for name, value in generators(network).items()}
    plain: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value.clone()
            else:
                plain[f"{index}/{key}"] = value
    return tensors, plain


def put(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> None:
    """Undo `take` on a network and an optimizer that were built from the same spec."""
    network.load_state_dict(_section(tensors, "network/"))
    states = _section(tensors, "generator/")
    for name, generator in generators(network).items():
        generator.set_state(states[name])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for place, value in {**plain, **_section(tensors, "optimizer/")}.items():
        index, _, key = place.partition("/")
        like = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == like.shape and key != "step":
            value = torch.empty_like(like, dtype=value.dtype).copy_(value)  # laid out in memory as its parameter is
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def split(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A callback's state as arrays and JSON values."""
    arrays = {key: torch.from_numpy(value) for key, value in state.items() if isinstance(value, np.ndarray)}
    return arrays, {key: value for key, value in state.items() if key not in arrays}
