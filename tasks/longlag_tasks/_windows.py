"""One long recording cut into windows, in the order of time: first what is trained on, last what is tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longlag.task import Array, DataError


@dataclass(frozen=True)
class Windows:
    """Windows of `length` steps: in one from s the input of step i is value ``s + i``, its target ``s + i + ahead``.

    The last ``held_out / 2`` of the values are for the test, as many before them for validation, those before for
    training, inputs and targets alike. A held-out target is foretold with the `length` values before it at hand, be
    they held out or not, as they would be in life; each counts in one window.

    Args:
        count: values of the recording.
        length: steps of a window.
        ahead: steps from an input to its target.
        warmup: first steps of a window that do not count.
        held_out: share of the values.
        name: of the recording, for messages.
    """

    count: int
    length: int
    ahead: int
    warmup: int
    held_out: float
    name: str

    def __post_init__(self) -> None:
        least = self.length + self.ahead
        if self._starts < 1:
            raise DataError(
                f"{self.name}: leaves {self.training} values to train on, fewer than the {least} of one window; "
                "set a shorter length"
            )
        if min(len(self.part(name)) for name in ("validation", "test")) < 1:
            raise DataError(f"{self.name}: {self.count} values are too few to hold out {self.held_out:g} of them")

    @property
    def training(self) -> int:
        """Values for training: the first so many."""
        return self.count - 2 * round(self.count * self.held_out / 2)

    @property
    def _starts(self) -> int:
        return self.training - self.length - self.ahead + 1

    def part(self, name: str) -> range:
        """The targets of a split."""
        middle = (self.training + self.count) // 2
        return range(self.training, middle) if name == "validation" else range(middle, self.count)

    def draw(self, rng: np.random.Generator, size: int) -> Array:
        """Where training windows start, ``[B]``."""
        return rng.integers(0, self._starts, size)

    def weights(self) -> Array:
        """How often each value of the training part is a target that counts, over all windows; they sum to 1."""
        starts = np.ones(self._starts)
        counted = np.convolve(starts, np.ones(self.length - self.warmup))
        weights = np.zeros(self.training)
        weights[self.ahead + self.warmup :] = counted
        return np.asarray(weights / weights.sum())

    def fixed(self, name: str, size: int) -> tuple[Array, Array]:
        """The windows of a split.

        Returns:
            Starts ``[B]`` of at most `size` windows, evenly chosen, and which targets count ``[T, B]``.
        """
        part, stride = self.part(name), self.length - self.warmup
        ends = np.arange(part.stop, part.start, -stride)[::-1]
        if len(ends) > size:
            ends = ends[np.linspace(0, len(ends) - 1, size).round().astype(int)]
        starts = ends - self.length - self.ahead
        step = np.arange(self.length)[:, None]
        return starts, (step >= self.warmup) & (starts + step + self.ahead >= part.start)

    def steps(self, starts: Array) -> Array:
        """Places of the inputs, ``[T, B]``."""
        return np.asarray(starts + np.arange(self.length)[:, None])

    def counted(self, size: int) -> Array | None:
        """Which targets of training windows count, ``[T, B]``; None for all."""
        if not self.warmup:
            return None
        return np.broadcast_to(np.arange(self.length)[:, None] >= self.warmup, (self.length, size)).copy()
