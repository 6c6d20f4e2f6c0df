"""The idx files of MNIST (LeCun et al. 1998): images and their labels as bytes behind a short header."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from longlag.task import Array, DataError, opened
from longlag_tasks._textfiles import LARGEST, reason

MNIST = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
LABELS = 10


def read_idx(path: Path, axes: int) -> Array:
    """The bytes of an idx file, uint8, in its shape; one that ends in ``.gz`` is unpacked.

    Raises:
        DataError: where it is missing, damaged, or has other axes.
    """
    try:
        with opened(path, LARGEST) as file:
            data = file.read()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path}: the archive is truncated or damaged") from None
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None
    header = 4 + 4 * axes
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) < header:
        raise DataError(f"{path}: is no idx file of bytes with {axes} axes (it begins with {data[:4].hex(' ')})")
    shape = struct.unpack(f">{axes}I", data[4:header])
    wanted = int(np.prod(shape, dtype=np.int64))
    if len(data) - header != wanted:
        raise DataError(f"{path}: holds {len(data) - header} bytes where its header says {wanted}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_mnist(files: Sequence[Path]) -> tuple[Array, Array, Array, Array]:
    """Pixels ``[N, T]``, float32 in 0 ... 1, and labels ``[N]``, int64: to train on, then to test on.

    Args:
        files: those of `MNIST`, in that order.
    """
    pixels, labels = [], []
    for images_file, labels_file in (files[:2], files[2:]):
        images, classes = read_idx(images_file, 3), read_idx(labels_file, 1)
        if len(images) != len(classes):
            raise DataError(f"{labels_file}: has {len(classes)} labels for the {len(images)} images of {images_file}")
        if not len(images) or images.shape[1] != images.shape[2]:
            raise DataError(f"{images_file}: holds {' x '.join(map(str, images.shape))} pixels, no square images")
        if classes.max() >= LABELS:
            row = int(np.argmax(classes >= LABELS))
            raise DataError(f"{labels_file}, label {row + 1}: {classes[row]} is no digit")
        pixels.append((images.reshape(len(images), -1) / np.float32(255)).astype(np.float32))
        labels.append(classes.astype(np.int64))
    if pixels[0].shape[1] != pixels[1].shape[1]:
        raise DataError(f"{files[2]}: its images have another size than those of {files[0]}")
    return pixels[0], labels[0], pixels[1], labels[1]
