"""Reading a recording, and refusing one that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from longlag.task import Array, DataError
from longlag_tasks._packages import SOUNDFILE

SUFFIXES = frozenset({".wav", ".flac", ".sph", ".ogg", ".aiff"})
STREAMED = (0, 0xFFFFFFFF)
"""Sizes in a WAV header that say it is not known."""


def read_audio(path: Path, rate: int) -> Array:
    """The samples of a recording in one channel, float64, -1 to 1: WAV, NIST SPHERE, FLAC and what libsndfile reads.

    Raises:
        DataError: where it is missing, cut off, empty, of another rate, in several channels, or not finite.
    """
    soundfile = SOUNDFILE.load()
    try:
        promised, there = _promised(path), path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if promised > there:
        raise DataError(f"{path}: is cut off: its header promises {promised} bytes, it has {there}")
    try:
        with soundfile.SoundFile(path) as sound:
            if sound.samplerate != rate:
                raise DataError(f"{path}: is recorded at {sound.samplerate} Hz, not at {rate} (task.rate)")
            if sound.channels != 1:
                raise DataError(f"{path}: has {sound.channels} channels, not one")
            samples: Array = sound.read(dtype="float64")
            if len(samples) < sound.frames:
                raise DataError(
                    f"{path}: is cut off: its header promises {sound.frames} samples, it has {len(samples)}"
                )
    except soundfile.SoundFileError as error:
        raise DataError(f"{path}: is no recording that libsndfile reads, or is cut off: {error}") from None
    if not len(samples):
        raise DataError(f"{path}: holds no samples")
    bad = np.flatnonzero(~np.isfinite(samples))
    if len(bad):
        raise DataError(f"{path}: sample {bad[0] + 1} of {len(samples)} is {samples[bad[0]]}")
    return samples


def _promised(path: Path) -> int:
    """Bytes that the file should have by its header; 0 where it does not say. libsndfile does not mind."""
    with path.open("rb") as file:
        head = file.read(1024)
    if head[:4] == b"RIFF" and len(head) >= 8:
        size = int.from_bytes(head[4:8], "little")
        return 0 if size in STREAMED else size + 8
    if head[:7] == b"NIST_1A":
        found = dict(re.findall(r"(\w+) -i (\d+)", head.decode("latin-1")))
        length = re.match(r"NIST_1A\s+(\d+)", head.decode("latin-1"))
        numbers = [int(found.get(name, 0)) for name in ("sample_count", "sample_n_bytes", "channel_count")]
        coded = re.search(r"sample_coding -s\d+ (\S+)", head.decode("latin-1"))
        if length and (coded is None or coded[1] == "pcm"):
            return int(length[1]) + numbers[0] * numbers[1] * max(numbers[2], 1)
    return 0
