"""What speech tasks share: a label at every frame, or the phones in order by CTC; scores, pictures, descriptions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from typing_extensions import TypeVar

from longlag.task import Answer, Array, Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task
from longlag_tasks._classes import certain, log_likelihood

Labels = Literal["frames", "sequence"]
BLANK = 0
"""Class 0: silence where every frame has a label, the blank of CTC where the sequence alone is known."""

ACCURACY = Metric("accuracy", "max", "share", "frames with the right label", best=1.0)
CROSS_ENTROPY = Metric("cross_entropy", "min", "nats", "mean over the frames")
ERROR_RATE = Metric(
    "phone_error_rate", "min", "share of the true phones", "substituted, deleted and inserted phones, by jiwer"
)
RIGHT = Metric("sequences_right", "max", "share", "utterances without a wrong phone", best=1.0)


class SpeechOptions(Options):
    """What every speech task can be asked for. Each declares the fields itself: default, description, place."""

    if TYPE_CHECKING:
        labels: Labels | None
        solved_accuracy: float
        solved_error_rate: float


SpeechOptionsT_co = TypeVar("SpeechOptionsT_co", bound=SpeechOptions, default=SpeechOptions, covariant=True)


class SpeechTask(Task[SpeechOptionsT_co]):
    """Frames in; a class a frame (labels: frames), or the phones in order (labels: sequence).

    The second is trained by CTC (Graves et al. 2006) and read off by best path: the likeliest class of every frame,
    repetitions merged, blanks dropped.
    """

    hindsight = True

    def __init__(self, options: SpeechOptionsT_co | None = None) -> None:
        super().__init__(options)
        self.metrics = (ACCURACY, CROSS_ENTROPY) if self.by_frame else (ERROR_RATE, RIGHT)

    @property
    def by_frame(self) -> bool:
        return bool(self.options.labels == "frames")

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The classes by name; the first is silence, or the blank."""

    @property
    @abstractmethod
    def bands(self) -> int:
        """Features of a frame."""

    @abstractmethod
    def frequencies(self) -> Array:
        """How often each class is the label of a frame in training, ``[C]``; asked only where labels: frames."""

    @property
    def mapping(self) -> MappingKind:
        return MappingKind.LABELLING

    @property
    def signature(self) -> Signature:
        loss: Literal["cross-entropy", "ctc"] = "cross-entropy" if self.by_frame else "ctc"
        return Signature(Reals(self.bands), len(self.names), self.mapping, loss)

    @property
    def criterion(self) -> str:
        if self.by_frame:
            return f"accuracy of at least {self.options.solved_accuracy:g}"
        return f"phone_error_rate of at most {self.options.solved_error_rate:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        if self.by_frame:
            return bool(metrics["accuracy"] >= self.options.solved_accuracy)
        return bool(metrics["phone_error_rate"] <= self.options.solved_error_rate)

    def baseline(self) -> Baseline:
        if not self.by_frame:
            return Baseline(1.0, "says nothing", "every phone is deleted, none inserted: 1, exactly")
        frequencies = self.frequencies()
        return Baseline(
            float(frequencies.max()),
            f"always {self.names[int(frequencies.argmax())]!r}, the most frequent class",
            "its share of the training frames, counted",
        )

    def trivial(self, batch: Batch) -> Array:
        if not self.by_frame:
            return certain(np.full((batch.steps, batch.size), BLANK), len(self.names))
        logits = np.log(np.maximum(self.frequencies(), 1e-9)).astype(np.float32)
        return np.broadcast_to(logits, (batch.steps, batch.size, len(logits))).copy()

    def oracle(self, batch: Batch) -> Array:
        """From the targets: what a frame is cannot be told for sure from noisy inputs."""
        if self.by_frame:
            return certain(batch.targets, len(self.names))
        return certain(alignment(batch), len(self.names))

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        if self.by_frame:
            counts = batch.exists() if batch.counted is None else batch.counted
            counts = np.ones(batch.targets.shape, bool) if counts is None else counts
            given, wanted = outputs[counts], batch.targets[counts]
            return {
                "accuracy": float(np.mean(given.argmax(-1) == wanted)),
                "cross_entropy": float(-np.mean(log_likelihood(given, wanted))),
            }
        said, wanted_phones = best_path(outputs, batch), spoken(batch)
        return {
            "phone_error_rate": error_rate(wanted_phones, said),
            "sequences_right": float(np.mean([a == b for a, b in zip(said, wanted_phones, strict=True)])),
        }

    def text(self, classes: Sequence[int]) -> str:
        """Classes by name, runs merged where every frame has one."""
        return " ".join(self.names[k] for k in classes)

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        if self.by_frame:
            given, wanted = outputs.argmax(-1), batch.targets
            return {
                "spoken": [self.text(runs(column)) for column in existing(wanted, batch)],
                "labelled": [self.text(runs(column)) for column in existing(given, batch)],
            }
        return {
            "spoken": [self.text(phones) for phones in spoken(batch)],
            "recognised": [self.text(phones) for phones in best_path(outputs, batch)],
        }

    def draw(self, axes: Any, outputs: Array, answer: Answer | None, batch: Batch, index: int) -> bool:
        """The frames; above them the outputs' classes over time, and the true ones."""
        length = int(existing_steps(batch)[index])
        axes.imshow(batch.inputs[:length, index].T, origin="lower", aspect="auto", cmap="Greys")
        rows = [("output", outputs[:length, index].argmax(-1))]
        if self.by_frame:
            rows.append(("label", batch.targets[:length, index]))
        else:
            axes.set_title(self.text(spoken(batch)[index]), fontsize="small")
        for height, (_, classes) in enumerate(rows, start=1):
            for start, stop, phone in spans(classes):
                if phone != BLANK:
                    at, where = (start + stop - 1) / 2, self.bands + 2 * height - 2
                    axes.text(at, where, self.names[phone], ha="center", va="center", fontsize="x-small")
        axes.set_ylim(-0.5, self.bands + 2 * len(rows) - 0.5)
        ticks = [self.bands / 2, *(self.bands + 2 * height for height in range(len(rows)))]
        axes.set_yticks(ticks, ["band", *(name for name, _ in rows)])
        axes.set_xlabel("frame of 10 ms")
        return True

    def describe(self, batch: Batch, index: int) -> str:
        """The bands' loudness in four rows, highest on top, and below what is said."""
        length = int(existing_steps(batch)[index])
        shown = sketch(batch.inputs[:length, index])
        if not self.by_frame:
            return "\n".join([*shown, *wrapped("says     ", self.text(spoken(batch)[index]))])
        labels = batch.targets[:length, index]
        text = " ".join(f"{self.names[k]}×{stop - start}" for start, stop, k in spans(labels))
        return "\n".join([*shown, *wrapped("targets  ", text)])


def delayed(inputs: Array, labels: Array, lengths: Array, delay: int, opening: Array | int = 0) -> Batch:
    """A batch in which a frame's label is due `delay` frames later; after the last frame the input is zero.

    Args:
        inputs: ``[T, B, bands]``.
        labels: ``[T, B]``.
        lengths: ``[B]``.
        delay: frames.
        opening: frames at the beginning whose labels do not count, one number or ``[B]``.
    """
    if delay:
        inputs = np.pad(inputs, ((0, delay), (0, 0), (0, 0)))
        labels = np.pad(labels, ((delay, 0), (0, 0)))
    step = np.arange(len(labels))[:, None]
    counted = (step >= opening + delay) & (step < lengths + delay)
    return Batch(inputs, labels, lengths + delay, counted)


def sketch(frames: Array, rows: int = 4, columns: int = 90) -> list[str]:
    """Frames ``[T, M]`` as blocks of five shades, highest band on top."""
    steps = np.linspace(0, len(frames), min(columns, len(frames)) + 1).astype(int)
    bands = np.linspace(0, frames.shape[1], min(rows, frames.shape[1]) + 1).astype(int)
    means = np.add.reduceat(np.add.reduceat(frames, steps[:-1], 0), bands[:-1], 1)
    means = means / np.diff(steps)[:, None] / np.diff(bands)
    low, high = means.min(), means.max()
    shade = np.rint((means - low) / max(high - low, 1e-9) * 4).astype(int)
    rows_of = ["".join(" ░▒▓█"[k] for k in shade[:, band]) for band in range(shade.shape[1])]
    return [f"{'frames' if n == 0 else '':9}{row}" for n, row in enumerate(reversed(rows_of))]


def wrapped(title: str, text: str, width: int = 90) -> list[str]:
    """Text in rows of at most `width` characters behind a title."""
    filled = [""]
    for word in text.split(" "):
        if filled[-1] and len(filled[-1]) + len(word) >= width:
            filled.append("")
        filled[-1] += f"{' ' if filled[-1] else ''}{word}"
    return [f"{title if n == 0 else '':{len(title)}}{row}" for n, row in enumerate(filled)]


def existing_steps(batch: Batch) -> Array:
    """Frames of each utterance, ``[B]``."""
    return np.full(batch.size, batch.steps) if batch.lengths is None else batch.lengths


def existing(classes: Array, batch: Batch) -> list[list[int]]:
    """The classes of the frames that exist, by utterance."""
    return [classes[:n, b].tolist() for b, n in enumerate(existing_steps(batch))]


def spans(classes: Array) -> list[tuple[int, int, int]]:
    """Start, stop and class of every run."""
    edges = [0, *(np.flatnonzero(np.diff(classes)) + 1).tolist(), len(classes)]
    return [(a, b, int(classes[a])) for a, b in pairwise(edges) if b > a]


def runs(classes: Sequence[int]) -> list[int]:
    """The classes without repetitions and blanks."""
    return [k for k, _ in groupby(classes) if k != BLANK]


def best_path(outputs: Array, batch: Batch) -> list[list[int]]:
    """What outputs ``[T, B, C]`` say: the likeliest class of every frame, repetitions merged, blanks dropped."""
    return [runs(path) for path in existing(outputs.argmax(-1), batch)]


def spoken(batch: Batch) -> list[list[int]]:
    """The phones of ``targets [U, B]``."""
    lengths = np.full(batch.size, len(batch.targets)) if batch.target_lengths is None else batch.target_lengths
    return [batch.targets[:n, b].tolist() for b, n in enumerate(lengths)]


def alignment(batch: Batch) -> Array:
    """A path ``[T, B]`` that says ``targets``: its phones spread evenly over the frames, blanks between."""
    path = np.full((batch.steps, batch.size), BLANK)
    for b, (phones, length) in enumerate(zip(spoken(batch), existing_steps(batch), strict=True)):
        doubled = [k for phone in phones for k in (phone, BLANK)]
        if len(doubled) > length:  # too fast for a blank after each: only where a phone is repeated
            doubled = [k for n, phone in enumerate(phones) for k in ([BLANK] * (phone in phones[n - 1 : n]) + [phone])]
        path[: len(doubled), b] = doubled
    return path


def error_rate(wanted: Sequence[Sequence[int]], said: Sequence[Sequence[int]]) -> float:
    """Substitutions, deletions and insertions over the number of true phones, all utterances together."""
    import jiwer

    reference, hypothesis = ([" ".join(map(str, phones)) for phones in each] for each in (wanted, said))
    return float(jiwer.wer(reference, hypothesis))
