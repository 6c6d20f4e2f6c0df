"""Series classification: one recorded series, read to its end; which class is it of?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Answer, Array, Baseline, Batch, DataError, Metric, Package
from longlag_tasks._classes import log_likelihood
from longlag_tasks._local import local
from longlag_tasks._packages import SKTIME_SERIES
from longlag_tasks._recognition import RecognitionOptions, RecognitionTask
from longlag_tasks._speech import sketch
from longlag_tasks._ts import Series, read
from longlag_tasks._utterances import Ragged, first

TRAIN, TEST = "_TRAIN.ts", "_TEST.ts"
Packaged = Literal["ACSF1", "ArrowHead", "GunPoint", "OSULeaf", "PLAID"]
DIGESTS = {
    "ACSF1_TRAIN.ts": "0646b90dc4843e02baed6b2ba345c5601a4991b6796565489cef1b2d92a7537b",
    "ACSF1_TEST.ts": "93e8aaeb44a10af181d24a156e60da7021193cd990ca28f263fccf3b905bfebf",
    "ArrowHead_TRAIN.ts": "a83c470aaf611a5f5284377cce27a5fc9f6292bc3d110257b0fd4905ced5ee72",
    "ArrowHead_TEST.ts": "5417dab42626d41df5e435bb22458c2df40dfad4bcd3b59559bbe72e20e84904",
    "GunPoint_TRAIN.ts": "f842401779fd9800d247d8b33121a1a4643710a19b24917dbdd9a060ca8630d5",
    "GunPoint_TEST.ts": "79332750788a6227b325b96bd0d70130c8eb707b9731f8d7dec62b7a7d36017e",
    "OSULeaf_TRAIN.ts": "86b9d6e860414ffd26cebc62fff84ffb37fa588ef3e5bf79e4094a437c36ddfc",
    "OSULeaf_TEST.ts": "6c549dd354f9e42d5985fa5fab75321ca9acefc7873457e71467fc8a31f107ce",
    "PLAID_TRAIN.ts": "40deb3bc6bd1e1aa0e6db6e6bfd3cecc4a23bf57f6a6d6ab90fb75e4a2c72344",
    "PLAID_TEST.ts": "aa6da0dc1461e8d374e068a940ce37d1b0bb1a9844596d818920c8af696d656d",
}
"""SHA-256 of the files that sktime 1.2.0 brings; aeon 1.6.0 has the same, but for PLAID, which it lacks."""


class SeriesClassificationOptions(RecognitionOptions):
    """Options of `SeriesClassification`."""

    series: Packaged = Field(
        "ACSF1", description="which of the data sets of the UCR archive that the package sktime brings (extra vowels)"
    )
    path: str | None = Field(
        None, description=f"a file NAME{TRAIN} of that archive's format instead; NAME{TEST} is beside it"
    )
    held_out: float = Field(0.2, gt=0, lt=1, description="share of each class's training series that validates")
    noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of the noise added to training series, which have 1. None is added in "
        "evaluation",
    )
    solved_accuracy: float = Field(0.9, gt=0, le=1, description="solved when so large a share is right")

    @classmethod
    def files(cls, path: str) -> list[str]:
        if not path.endswith(TRAIN):
            raise ValueError(f"path: should be a file NAME{TRAIN}, with NAME{TEST} beside it")
        return [path, path.removesuffix(TRAIN) + TEST]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path is not None and self.changed("series"):
            raise ValueError("series is for what a package brings: leave it out beside a path")
        return self


@dataclass(frozen=True)
class Data:
    """Series and classes of the three splits, as `splits[name]`, and the names of the classes."""

    splits: dict[str, tuple[Ragged, Array]]
    names: tuple[str, ...]

    @property
    def shares(self) -> Array:
        """Of the classes among the training series."""
        counts = np.bincount(self.splits["training"][1], minlength=len(self.names))
        return np.asarray(counts / counts.sum())


class SeriesClassification(RecognitionTask[SeriesClassificationOptions]):
    """A recorded series step by step; after the last, which class is it of?

    Data sets of the UCR archive (Dau et al. 2019) with the split into training and test that it comes with: power drawn
    by household appliances (``ACSF1``, 1460 steps, and ``PLAID``, 100 to 1344), outlines of leaves (``OSULeaf``, 427)
    and of arrowheads (``ArrowHead``, 251), the way of a hand (``GunPoint``, 150). Or any two files of that archive's
    format, with one or several dimensions. Series are scaled to mean 0 and standard deviation 1 over the training part,
    in each dimension.

    Shapes: inputs float32 ``[T, B, D]``; targets int64 ``[B]``. The loss is the cross-entropy in nats.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "of the class"),
        Metric("accuracy", "max", "share", "series whose class is recognised", best=1.0),
    )

    @property
    def needs(self) -> tuple[Package, ...]:
        return (SKTIME_SERIES,) if self.options.path is None else ()

    @property
    def _data(self) -> Data:
        return _recorded(self.options)

    @property
    def features(self) -> int:
        return int(self._data.splits["training"][0].values.shape[1])

    @property
    def classes(self) -> int:
        return len(self._data.names)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        batch = self._batch("training", rng.integers(0, len(self._data.splits["training"][0]), size))
        if self.options.noise:
            noise = self.options.noise * rng.standard_normal(batch.inputs.shape, dtype=np.float32)
            exists = batch.exists()
            batch.inputs[...] += noise if exists is None else noise * exists[..., None]
        return batch

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        return self._batch(name, first(len(self._data.splits[name][0]), size, name))

    def _batch(self, name: str, rows: Array) -> Batch:
        series, classes = self._data.splits[name]
        inputs, lengths = series.pick(rows)
        return Batch(inputs, classes[rows], None if (lengths == len(inputs)).all() else lengths)

    def baseline(self) -> Baseline:
        shares = self._data.shares
        shares = shares[shares > 0]
        return Baseline(
            float(-np.sum(shares * np.log(shares))),
            "every class by its share of the training series",
            "the entropy of these shares, counted",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = np.log(np.maximum(self._data.shares, 1e-9)).astype(np.float32)
        return np.broadcast_to(logits, (batch.size, len(logits))).copy()

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        names = self._data.names
        return {
            "class": [names[k] for k in batch.targets],
            "recognised": [names[k] for k in outputs.argmax(-1)],
            "probability of the class": np.exp(log_likelihood(outputs, batch.targets)).round(3).tolist(),
        }

    def draw(self, axes: Any, outputs: Array, answer: Answer | None, batch: Batch, index: int) -> bool:
        names = self._data.names
        axes.plot(self._series(batch, index))
        axes.set_title(f"class {names[batch.targets[index]]}, recognised as {names[outputs[index].argmax()]}")
        axes.set_xlabel("step")
        return True

    def describe(self, batch: Batch, index: int) -> str:
        """Rows of bars for one dimension, shades for several; then the class."""
        values, name = self._series(batch, index), self._data.names[batch.targets[index]]
        if values.shape[1] > 1:
            rows = sketch(values, rows=values.shape[1])
        else:
            low, high = values.min(), values.max()
            levels = np.rint((values[:, 0] - low) / max(high - low, 1e-9) * 7).astype(int)
            bars = "".join("▁▂▃▄▅▆▇█"[level] for level in levels)
            rows = [f"step {start:>6}  {bars[start : start + 80]}" for start in range(0, len(bars), 80)]
        return "\n".join([*rows, f"class  {name} of {', '.join(self._data.names)} ({len(values)} steps)"])

    def _series(self, batch: Batch, index: int) -> Array:
        """One example without its padding, ``[T, D]``."""
        return batch.inputs[: batch.steps if batch.lengths is None else int(batch.lengths[index]), index]


@cache
def _recorded(options: SeriesClassificationOptions) -> Data:
    """The three splits. What validates is the same on every machine, whatever the run's seed."""
    train, test = _read(*(local(options) if options.path is not None else _packaged(options.series)))
    tested = {series.tobytes() for series in test.values}
    apart = np.array([series.tobytes() not in tested for series in train.values])
    held = np.zeros(len(apart), bool)
    order = np.random.RandomState(0).permutation(len(apart))
    for k in range(len(train.names)):
        rows = order[(apart & (train.classes == k))[order]]
        held[rows[: round(options.held_out * len(rows))]] = True
    kept = apart & ~held
    if not held.any() or len(np.unique(train.classes[kept])) < len(np.unique(train.classes)):
        raise DataError(
            f"held_out: {options.held_out:g} of each class's training series leaves no series to "
            f"{'train on in some class' if held.any() else 'validate'}"
        )
    steps = np.concatenate([train.values[n] for n in np.flatnonzero(kept)]).astype(np.float64)
    mean, spread = steps.mean(0), np.maximum(steps.std(0), 1e-9)

    def part(series: Series, rows: Array) -> tuple[Ragged, Array]:
        values = [((series.values[n] - mean) / spread).astype(np.float32) for n in np.flatnonzero(rows)]
        return Ragged.of(values), series.classes[rows]

    splits = {"training": part(train, kept), "validation": part(train, held)}
    return Data({**splits, "test": part(test, np.ones(len(test.values), bool))}, train.names)


def _read(train_file: Path, test_file: Path) -> tuple[Series, Series]:
    """What is trained on and what is tested on."""
    train = read(train_file)
    test = read(test_file, train.values[0].shape[1])
    if train.names != test.names:
        raise DataError(f"{test_file}: has the classes {', '.join(test.names)}, not {', '.join(train.names)}")
    return train, test


def _packaged(name: Packaged) -> tuple[Path, Path]:
    """The files in sktime. The package is looked for, not imported: that would take seconds.

    Raises:
        DataError: where its files are not those known.
    """
    folder = SKTIME_SERIES.folder() / "datasets" / "data" / name
    paths = (folder / f"{name}{TRAIN}", folder / f"{name}{TEST}")
    for path in paths:
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != DIGESTS[path.name]:
            raise DataError(f"{path} is not the file that is known: its SHA-256 should be {DIGESTS[path.name]}")
    return paths
