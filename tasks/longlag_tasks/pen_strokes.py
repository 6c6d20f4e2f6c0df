"""Handwriting: where will the pen go next, and can it write what it is told?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import e, log, pi
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Answer, Array, Baseline, Batch, DataError, MappingKind, Metric, NoInput, Reals, Signature, Task
from longlag_tasks import _letters as letters
from longlag_tasks import _pen as pen
from longlag_tasks._ink import cut, read_ink
from longlag_tasks._local import LocalOptions, local, matching
from longlag_tasks._mixture import SURE, expected, gaussian, nats
from longlag_tasks._textfiles import place
from longlag_tasks._utterances import Ragged, first

COUNTED = 20_000
"""Words that means and deviations of the generated strokes are taken over."""

DISTANCE = Metric("distance", "min", "heights of an x", "mean between the points of the written and the true drawing")
POINT_ERROR = Metric("point_error", "min", "standard deviations", "mean distance of the next point from where expected")


class PenStrokesOptions(LocalOptions):
    """Options of `PenStrokes`."""

    form: Literal["prediction", "synthesis"] = Field(
        "prediction",
        description="prediction: at every point, the next one (labelling); synthesis: the whole word from its letters "
        "and the hand that is to write it (generation)",
    )
    path: str | None = Field(
        None,
        description="prediction: a folder (or one file) of strokes in the XML of the IAM on-line database; none: "
        "strokes are generated",
    )
    letters: int = Field(3, ge=1, le=20, description="generated: letters of a word, drawn at random from a to z")
    jitter: float = Field(
        0.1, ge=0.01, description="generated: standard deviation of the noise on every offset, in those of offsets"
    )
    steps: int = Field(200, ge=3, description="path: recordings are cut into pieces of at most so many points")
    held_out: float = Field(0.2, gt=0, lt=1, description="path: share of the files, half for validation, half to test")
    mixtures: int = Field(20, ge=1, description="Gaussians of the mixture; 20 in the paper")
    solved_score: float = Field(
        0.2, gt=0, lt=1, description="solved when the score (0: the reference, 1: trivial) is at most this"
    )

    @classmethod
    def files(cls, path: str) -> list[str]:
        return [path] if place(path).is_file() else matching(path, "*.xml")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path is not None and self.form == "synthesis":
            raise ValueError("synthesis needs to know the letters, and recorded strokes come without: leave out path")
        if self.path is not None and self.changed("letters", "jitter"):
            raise ValueError("letters and jitter are for generated strokes: leave them out beside a path")
        if self.path is None and self.changed("steps", "held_out"):
            raise ValueError("steps and held_out are for recorded strokes: they need a path")
        return self


class PenStrokes(Task[PenStrokesOptions]):
    """A pen's way as offsets from point to point, and where it is lifted, under a mixture of Gaussians.

    Graves (2013), sections 4 (prediction) and 5 (synthesis, here without its attention over the text). The strokes
    are generated: letters as curves through a few points, a slant, width and size for each word, noise on every
    offset. Recorded strokes take their place by `path`.

    prediction (default): labelling; from points 1 ... t, the offset to point t + 1.
    synthesis: generation; the context is the letters, one-hot, and the hand (slant, width, size, each in -1 ... 1).

    Shapes: inputs float32 ``[T, B, 3]`` (none for synthesis): x and y in standard deviations, and 1 where the pen is
    lifted behind the point; targets the same, one point later. The loss is -ln of the density, nats a point.
    """

    version = 2
    hindsight = True

    def __init__(self, options: PenStrokesOptions | None = None) -> None:
        super().__init__(options)
        self._synthesis = self.options.form == "synthesis"
        density = Metric("mixture_density", "min", "nats", "a point: -ln of its density", best=self._best)
        self.metrics = density, DISTANCE if self._synthesis else POINT_ERROR

    @property
    def _best(self) -> float:
        """The reference: of generated strokes the noise's differential entropy, below which no model can be on
        average; of recorded ones, the next point known to one unit of the recording, both ways."""
        if self.options.path is None:
            return log(2 * pi * e) + 2 * log(self.options.jitter)
        return float(-np.sum(np.log(self._scale.deviation)))

    @property
    def signature(self) -> Signature:
        options, context = self.options, len(letters.ALPHABET) * self.options.letters + 3
        if not self._synthesis:
            return Signature(Reals(3), 3, MappingKind.LABELLING, "mixture-density", mixtures=options.mixtures)
        return Signature(
            NoInput(), 3, MappingKind.GENERATION, "mixture-density",
            context=context, max_steps=letters.longest(options.letters), mixtures=options.mixtures,
        )  # fmt: skip

    @property
    def _threshold(self) -> float:
        best: float = self._best
        return best + float(self.options.solved_score) * (self.baseline().value - best)

    @property
    def criterion(self) -> str:
        # the density that this is takes seconds to count: what only names the criterion does not wait for it
        return f"mixture_density at a score of {self.options.solved_score:g} or below"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["mixture_density"] <= self._threshold)

    @property
    def _scale(self) -> pen.Scale:
        return _recorded(self.options)[0] if self.options.path is not None else _generated(self.options.letters)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        if self.options.path is not None:
            return self._recorded("training", rng.integers(0, len(_recorded(self.options)[1]["training"]), size))
        words = rng.integers(0, len(letters.ALPHABET), (size, self.options.letters))
        hands = letters.hands(rng, size)
        offsets, lengths = letters.write(words, hands)
        exists = np.arange(len(offsets))[:, None] < lengths
        points = self._scale.scaled(offsets)
        noise = rng.standard_normal(points[..., :2].shape, np.float32)
        noise *= np.float32(self.options.jitter)
        for axis in (0, 1):
            points[..., axis] += noise[..., axis]
        points[~exists] = 0
        if not self._synthesis:
            return _shifted(points, lengths)
        low, high = np.array([letters.SLANT, letters.WIDTH, letters.SIZE]).T
        context = [np.eye(len(letters.ALPHABET))[words].reshape(size, -1), 2 * (hands - low) / (high - low) - 1]
        no_inputs = np.zeros((0, size, 0), np.float32)
        return Batch(no_inputs, points, context=np.concatenate(context, 1, dtype=np.float32), target_lengths=lengths)

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        if self.options.path is None:
            return self.sample(rng, size)
        return self._recorded(name, first(len(_recorded(self.options)[1][name]), size, name))

    def _recorded(self, name: str, rows: Array) -> Batch:
        return _shifted(*_recorded(self.options)[1][name].pick(rows))

    def baseline(self) -> Baseline:
        return Baseline(
            _trivial_nats(self.options),
            "one Gaussian with the training offsets' means, deviations and correlation; their share of liftings",
            "measured on "
            + (f"{COUNTED} generated words" if self.options.path is None else "the pieces that are trained on"),
        )

    def trivial(self, batch: Batch) -> Array:
        scale, shape = self._scale, batch.targets.shape[:2]
        lifted = float(np.clip(scale.lifted, 1e-6, 1 - 1e-6))
        lift = np.full(shape, log(lifted / (1 - lifted)))
        return gaussian(np.zeros((*shape, 2)), np.zeros(2), scale.correlation, lift, self.options.mixtures)

    def oracle(self, batch: Batch) -> Array:
        """From the targets, as sure of them as the reference is."""
        lift = np.where(batch.targets[..., 2] > 0.5, SURE, -SURE)
        deviation = np.full(2, (self._best - log(2 * pi)) / 2)
        return gaussian(batch.targets[..., :2], deviation, 0.0, lift, self.options.mixtures)

    def oracle_answer(self, batch: Batch) -> Answer | None:
        return Answer(batch.targets, _lengths(batch)) if self._synthesis else None

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        exists = np.arange(len(batch.targets))[:, None] < _lengths(batch)
        given, wanted = outputs[exists], batch.targets[exists]
        found = {"mixture_density": float(nats(given, wanted).mean())}
        if not self._synthesis:
            found["point_error"] = float(np.hypot(*(expected(given) - wanted[:, :2]).T).mean())
        return found

    def judge(self, answer: Answer, batch: Batch) -> Mapping[str, float]:
        return {"distance": float(self._distances(answer, batch).mean())} if self._synthesis else {}

    def _distances(self, answer: Answer, batch: Batch) -> Array:
        """Between what was written, cut where the true word ends, and the true drawing, ``[B]``."""
        steps = len(batch.targets)
        values = np.pad(answer.values, [(0, max(0, steps - len(answer.values))), (0, 0), (0, 0)])[:steps]
        drawn = [np.cumsum(self._scale.unscaled(each)[..., :2], axis=0) for each in (values, batch.targets)]
        return pen.distance(drawn[0], drawn[1], np.arange(steps)[:, None] < _lengths(batch))

    def word(self, batch: Batch, index: int) -> str:
        """What a synthesis is asked to write."""
        assert batch.context is not None
        return "".join(
            letters.ALPHABET[k] for k in batch.context[index, :-3].reshape(self.options.letters, -1).argmax(-1)
        )

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        exists = np.arange(len(batch.targets))[:, None] < _lengths(batch)
        each = np.where(exists, nats(outputs, batch.targets), 0).sum(0) / exists.sum(0)
        columns: dict[str, list[Any]] = {"points": _lengths(batch).tolist(), "nats a point": each.round(3).tolist()}
        if not self._synthesis or answer is None:
            return columns
        words = [self.word(batch, b) for b in range(batch.size)]
        return {"word": words, **columns, "distance": self._distances(answer, batch).round(3).tolist()}

    def draw(self, axes: Any, outputs: Array, answer: Answer | None, batch: Batch, index: int) -> bool:
        """The true strokes in grey; over them what was written, or where each next point was expected."""
        length = int(_lengths(batch)[index])
        true = self._scale.unscaled(batch.targets[:length, index])
        pen.plot(axes, true, "0.6", "true")
        if self._synthesis and answer is not None:
            pen.plot(axes, self._scale.unscaled(answer.values[:length, index]), "tab:red", "written")
            axes.set_title(self.word(batch, index))
        else:
            before = np.cumsum(true[:, :2], axis=0) - true[:, :2]
            guess = expected(outputs[:length, index]) * self._scale.deviation + self._scale.mean
            axes.plot(*(before + guess).T, ".", color="tab:red", label="expected", markersize=3)
        axes.set_aspect("equal")
        axes.legend(loc="upper right", fontsize="small")
        return True

    def describe(self, batch: Batch, index: int) -> str:
        """The strokes, drawn with characters."""
        length = int(_lengths(batch)[index])
        true = self._scale.unscaled(batch.targets[:length, index])
        aim = f"write {self.word(batch, index)!r}" if self._synthesis else "after every point: the next"
        return "\n".join([*pen.sketch(true), f"asked for  {aim} ({length} points)"])


def _lengths(batch: Batch) -> Array:
    """Points of the targets, ``[B]``."""
    lengths = batch.lengths if batch.target_lengths is None else batch.target_lengths
    return np.full(batch.size, len(batch.targets)) if lengths is None else lengths


def _shifted(points: Array, lengths: Array) -> Batch:
    """Points, zero behind a trace's end, and, as targets, the ones after them."""
    inputs = points.copy()
    inputs[lengths - 1, np.arange(len(lengths))] = 0  # nothing comes after the last
    return Batch(inputs[:-1], points[1:], lengths - 1)


@cache
def _generated(count: int) -> pen.Scale:
    """Of words of so many letters, from a seed of their own."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, len(letters.ALPHABET), (COUNTED, count))
    offsets, lengths = letters.write(words, letters.hands(rng, COUNTED))
    return pen.Scale.of(offsets[np.arange(len(offsets))[:, None] < lengths], "generated strokes")


@cache
def _recorded(options: PenStrokesOptions) -> tuple[pen.Scale, dict[str, Ragged]]:
    """Files in three splits, drawn at random (the same on every machine), in units of the training part."""
    files = local(options)
    lines = [read_ink(file) for file in files]
    order = np.random.RandomState(0).permutation(len(files))
    held = max(2, round(len(files) * options.held_out))
    if len(files) < 3 or held >= len(files):
        raise DataError(f"{options.path}: holds {len(files)} files, too few to hold {held} out of them")
    parts = {"validation": order[: held // 2], "test": order[held // 2 : held], "training": order[held:]}
    scale = pen.Scale.of(np.concatenate([lines[n] for n in parts["training"]]), str(options.path))
    pieces = {
        name: Ragged.of([scale.scaled(piece) for piece in cut([lines[n] for n in rows], options.steps)])
        for name, rows in parts.items()
    }
    return scale, pieces


@cache
def _trivial_nats(options: PenStrokesOptions) -> float:
    """What the trivial predictor scores on training data."""
    task, rng = PenStrokes(options), np.random.default_rng(1)
    if options.path is None:
        batch = task.sample(rng, COUNTED)
    else:
        batch = task._recorded("training", np.arange(len(_recorded(options)[1]["training"])))
    return float(task.measure(task.trivial(batch), batch)["mixture_density"])
