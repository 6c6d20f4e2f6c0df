"""eSpeak NG from Python: text to samples and to its phonemes in time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from longlag.task import Array, DataError
from longlag_tasks._packages import ESPEAK

USUAL = 175
"""eSpeak's own rate, words a minute."""
STRESS = "',%=|"
WORKER = Path(__file__).with_name("_espeak_worker.py")


@dataclass(frozen=True)
class Said:
    """One utterance.

    Args:
        samples: float32, -1 to 1.
        rate: Hz.
        phonemes: the sample where each begins, and its name without marks of stress; pauses have the empty name.
    """

    samples: Array
    rate: int
    phonemes: tuple[tuple[int, str], ...]


def say(jobs: Sequence[tuple[str, int, str]]) -> Iterator[Said]:
    """Speak (voice, words a minute, text) one after another. What is said depends on all jobs up to it.

    Raises:
        DataError: where the package is missing, or eSpeak knows no such voice.
    """
    loader = ESPEAK.load()
    request = {"library": loader.get_library_path(), "data": loader.get_data_path(), "jobs": jobs}
    with TemporaryFile() as question, TemporaryFile() as complaint:
        question.write(json.dumps(request).encode())
        question.seek(0)
        command = [sys.executable, "-P", str(WORKER)]
        process = subprocess.Popen(command, stdin=question, stdout=subprocess.PIPE, stderr=complaint)
        assert process.stdout is not None
        try:
            for _ in jobs:
                line = process.stdout.readline()
                ended = not line.endswith(b"\n")
                reply: dict[str, Any] = {"error": _ended(process, complaint)} if ended else json.loads(line)
                if "error" in reply:
                    raise DataError(reply["error"])
                data = process.stdout.read(2 * reply["samples"])
                if len(data) != 2 * reply["samples"]:
                    raise DataError(_ended(process, complaint))
                samples = np.frombuffer(data, np.int16).astype(np.float32) / 32768
                phonemes = tuple((first, _plain(name)) for first, name in reply["phonemes"])
                yield Said(samples, reply["rate"], phonemes)
        finally:
            process.stdout.close()
            process.kill()
            process.wait()


def _ended(process: subprocess.Popen[bytes], complaint: IO[bytes]) -> str:
    complaint.seek(0)
    last = complaint.read().decode(errors="replace").strip().splitlines()[-1:]
    return f"eSpeak NG ended before it had said everything (exit code {process.wait()}): {' '.join(last)}"


def _plain(name: str) -> str:
    return "" if name.startswith("_") else name.lstrip(STRESS)
