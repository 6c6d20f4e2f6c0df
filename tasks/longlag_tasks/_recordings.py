"""Tasks on recorded speech: the utterances of three splits in memory, drawing a batch is indexing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import TypeVar

from longlag.task import Array, Batch
from longlag_tasks._speech import SpeechOptions, SpeechTask, delayed
from longlag_tasks._utterances import Ragged, first


@dataclass(frozen=True)
class Utterances:
    """One split.

    Args:
        frames: log power, ``[T, bands]`` each.
        phones: the classes in order, without silence.
        labels: the class of every frame; None where the recordings have no such labels.
    """

    frames: Ragged
    phones: Ragged
    labels: Ragged | None = None


@dataclass(frozen=True)
class Speech:
    """Recorded speech.

    Args:
        names: of the classes; the first is silence, or the blank.
        splits: ``training``, ``validation``, ``test``.
    """

    names: tuple[str, ...]
    splits: Mapping[str, Utterances]

    @cached_property
    def scale(self) -> tuple[Array, Array]:
        """Mean and standard deviation of every band over the training frames."""
        frames = self.splits["training"].frames.values
        mean: Array = frames.mean(0, dtype=np.float64).astype(np.float32)
        return mean, np.maximum(frames.std(0, dtype=np.float64), 1e-3).astype(np.float32)

    @cached_property
    def scaled(self) -> dict[str, Ragged]:
        """The frames of each split with mean 0 and standard deviation 1, of the training frames."""
        mean, spread = self.scale
        return {
            name: Ragged((split.frames.values - mean) / spread, split.frames.starts)
            for name, split in self.splits.items()
        }

    @cached_property
    def loudness(self) -> Array:
        """Mean power of every band over the training frames."""
        power: Array = np.exp(self.splits["training"].frames.values, dtype=np.float64).mean(0)
        return power.astype(np.float32)


class RecordedOptions(SpeechOptions):
    """What every task on recordings can be asked for, as in `SpeechOptions`."""

    if TYPE_CHECKING:
        bands: int
        delay: int
        snr: float | None


RecordedOptionsT_co = TypeVar("RecordedOptionsT_co", bound=RecordedOptions, default=RecordedOptions, covariant=True)


class RecordedTask(SpeechTask[RecordedOptionsT_co]):
    """A speech task on recordings."""

    @property
    @abstractmethod
    def speech(self) -> Speech:
        """The recordings; prepared once."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.speech.names

    @property
    def bands(self) -> int:
        return int(self.options.bands)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        return self._batch("training", rng.integers(0, len(self.speech.splits["training"].frames), size), rng)

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        return self._batch(name, first(len(self.speech.splits[name].frames), size, name), rng)

    def _batch(self, name: str, rows: Array, rng: np.random.Generator) -> Batch:
        speech = self.speech
        split = speech.splits[name]
        if self.options.snr is None:
            inputs, lengths = speech.scaled[name].pick(rows)
        else:
            inputs, lengths = split.frames.pick(rows)
            exists = np.arange(len(inputs))[:, None] < lengths
            inputs[exists] = self._noisy(inputs[exists], self.options.snr, rng)
        if self.by_frame:
            assert split.labels is not None
            return delayed(inputs, split.labels.pick(rows)[0], lengths, self.options.delay)
        phones, count = split.phones.pick(rows)
        return Batch(inputs, phones, lengths, target_lengths=count)

    def _noisy(self, frames: Array, snr: float, rng: np.random.Generator) -> Array:
        """Scaled frames ``[N, bands]`` under noise with the spectrum of speech, its power drawn anew in every band.

        The power of Gaussian noise in a band that few bins make up is near a gamma distribution of shape 2.
        """
        mean, spread = self.speech.scale
        level = self.speech.loudness * np.float32(10 ** (-snr / 10) / 2)
        noise = rng.standard_exponential((2, *frames.shape), dtype=np.float32).sum(0)
        power = np.exp(frames) + level * noise
        noisy: Array = (np.log(power) - mean) / spread
        return noisy

    def frequencies(self) -> Array:
        labels = self.speech.splits["training"].labels
        assert labels is not None
        counts = np.bincount(labels.values, minlength=len(self.names))
        frequencies: Array = counts / counts.sum()
        return frequencies
