"""Japanese Vowels: which of nine men said the two vowels?"""

from __future__ import annotations

import hashlib
from functools import cache, cached_property
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from longlag.task import Answer, Array, Baseline, Batch, DataError, Metric, Package
from longlag_tasks._classes import log_likelihood
from longlag_tasks._draws import uniform_noise
from longlag_tasks._local import local
from longlag_tasks._packages import SKTIME
from longlag_tasks._recognition import RecognitionOptions, RecognitionTask
from longlag_tasks._speech import sketch
from longlag_tasks._ts import Series, read
from longlag_tasks._utterances import Ragged, first, places

SPEAKERS, CEPSTRA, EACH = 9, 12, 30
DIGESTS = {
    "TRAIN": "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
    "TEST": "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
}
"""SHA-256 of the files that sktime 1.2.0 and aeon 1.6.0 bring."""


class JapaneseVowelsOptions(RecognitionOptions):
    """Options of `JapaneseVowels`."""

    path: str | None = Field(
        None, description="folder of JapaneseVowels_TRAIN.ts and _TEST.ts; none: the package sktime (extra vowels)"
    )
    held_out: int = Field(
        5, ge=1, lt=EACH, description=f"of each speaker's {EACH} training utterances, the last so many validate"
    )
    noise: float = Field(
        0.5,
        ge=0,
        description="standard deviation of the uniform noise added to training utterances, in standard deviations of "
        "each coefficient: 225 utterances are soon known by heart. None is added in evaluation",
    )
    solved_accuracy: float = Field(0.95, gt=0, le=1, description="solved when so large a share is right")

    @classmethod
    def files(cls, path: str) -> list[str]:
        return [str(Path(path) / f"JapaneseVowels_{part}.ts") for part in DIGESTS]


class JapaneseVowels(RecognitionTask[JapaneseVowelsOptions]):
    """Nine men said ``a-e``; 7 to 29 frames of 12 LPC cepstrum coefficients; after the last, who was it?

    Kudo, Toyama and Shimbo (1999), UCI archive: 270 utterances to train, 30 of each man, and 370 to test, 24 to 88 of
    each. Training is without the utterances that validate; the test set is the published one.

    Shapes: inputs float32 ``[T, B, 12]``, as recorded; targets int64 ``[B]``. The loss is the cross-entropy in nats.
    """

    version = 2
    features, classes = CEPSTRA, SPEAKERS
    metrics = (
        Metric("cross_entropy", "min", "nats", "of the speaker"),
        Metric("accuracy", "max", "share", "utterances whose speaker is recognised", best=1.0),
    )

    @property
    def needs(self) -> tuple[Package, ...]:
        return (SKTIME,) if self.options.path is None else ()

    @property
    def _recorded(self) -> dict[str, tuple[Ragged, Array]]:
        return _recorded(self.options)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        utterances, speakers = self._recorded["training"]
        rows = rng.integers(0, len(utterances), size)
        values, lengths = utterances.joined(rows)
        if self.options.noise:
            heard = values[:-1]
            noise = uniform_noise(1, rng, np.empty_like(heard))
            noise *= self._spread
            heard += noise
        return Batch(values.take(places(lengths), 0), speakers[rows], lengths)

    @cached_property
    def _spread(self) -> Array:
        """Of the noise, in each coefficient."""
        values = self._recorded["training"][0].values
        spread: Array = (self.options.noise * values.std(0)).astype(np.float32)
        return spread

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        utterances, speakers = self._recorded[name]
        rows = first(len(utterances), size, name)
        inputs, lengths = utterances.pick(rows)
        return Batch(inputs, speakers[rows], lengths)

    def baseline(self) -> Baseline:
        return Baseline(log(SPEAKERS), "every speaker equally likely", "ln 9")

    def trivial(self, batch: Batch) -> Array:
        return np.zeros((batch.size, SPEAKERS), np.float32)

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        likelihood = np.exp(log_likelihood(outputs, batch.targets))
        return {
            "speaker": (batch.targets + 1).tolist(),
            "recognised": (outputs.argmax(-1) + 1).tolist(),
            "probability of the speaker": likelihood.round(3).tolist(),
        }

    def describe(self, batch: Batch, index: int) -> str:
        assert batch.lengths is not None
        length = int(batch.lengths[index])
        shown = sketch(batch.inputs[:length, index], rows=CEPSTRA)
        return "\n".join([*shown, f"speaker  {batch.targets[index] + 1} of {SPEAKERS} ({length} frames)"])


@cache
def _recorded(options: JapaneseVowelsOptions) -> dict[str, tuple[Ragged, Array]]:
    """Utterances and speakers of the three splits."""
    held_out = options.held_out
    train, test = (_series(path) for path in (local(options) if options.path else _packaged()))
    order = np.arange(len(train.classes))
    rank = np.array([np.sum(train.classes[:n] == speaker) for n, speaker in enumerate(train.classes)])
    of_speaker = np.bincount(train.classes, minlength=SPEAKERS)[train.classes]
    last = rank >= of_speaker - held_out
    if last.all() or len(np.unique(train.classes[~last])) < SPEAKERS:
        raise DataError(f"held_out: {held_out} utterances of each speaker leave some speaker nothing to train on")

    def chosen(series: Series, rows: Array) -> tuple[Ragged, Array]:
        return Ragged.of([series.values[row] for row in rows]), series.classes[rows]

    return {
        "training": chosen(train, order[~last]),
        "validation": chosen(train, order[last]),
        "test": chosen(test, np.arange(len(test.classes))),
    }


def _series(path: Path) -> Series:
    """A file of Japanese Vowels."""
    series = read(path, CEPSTRA)
    if len(series.names) != SPEAKERS:
        raise DataError(f"{path}: names {len(series.names)} classes, not the {SPEAKERS} speakers")
    return series


def _packaged() -> list[Path]:
    """The files in sktime. The package is looked for, not imported: that would take seconds.

    Raises:
        DataError: where it is missing, or its files are not those known.
    """
    folder = SKTIME.folder() / "datasets" / "data" / "JapaneseVowels"
    paths = [Path(file) for file in JapaneseVowelsOptions.files(str(folder))]
    for path, expected in zip(paths, DIGESTS.values(), strict=True):
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise DataError(f"{path} is not the file that was published: its SHA-256 is not {expected}")
    return paths
