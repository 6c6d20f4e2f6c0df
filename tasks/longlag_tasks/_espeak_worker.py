"""Speaks with eSpeak NG, in a process of its own: the library keeps one voice and one state for all its callers.

Reads ``{"library": ..., "data": ..., "jobs": [[voice, words a minute, text], ...]}`` from standard input. For every
job, in order, it writes a line of JSON, ``{"rate": Hz, "samples": n, "phonemes": [[first sample, name], ...]}``, and n
samples of 16 bits; or ``{"error": ...}`` and ends. The same jobs in the same order give the same samples; it is run as
a file, and imports nothing of longlag.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

RETRIEVAL = 1
"""Samples are handed back, not played."""
PHONEMES, LIST_END = 7, 0
"""Types of events."""
OPTIONS = 0x8001
"""Phoneme events; and do not exit where something is missing."""
RATE = 1
"""The parameter that is words a minute."""
UTF8 = 1


class Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class Event(ctypes.Structure):
    """``espeak_EVENT`` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", Id),
    )


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def main() -> None:
    request = json.load(sys.stdin)
    out = sys.stdout.buffer

    def tell(line: dict[str, Any]) -> None:
        out.write(json.dumps(line).encode() + b"\n")

    library = ctypes.CDLL(request["library"])
    rate = library.espeak_Initialize(RETRIEVAL, 500, str(Path(request["data"]).parent).encode(), OPTIONS)
    if rate <= 0:
        return tell({"error": f"eSpeak NG does not start with the data in {request['data']}"})
    audio: list[bytes] = []
    phonemes: list[tuple[int, str]] = []

    def heard(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            audio.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while events[index].type != LIST_END:
            if events[index].type == PHONEMES:
                phonemes.append((events[index].sample, events[index].id.string.decode("utf-8", "replace")))
            index += 1
        return 0

    callback = CALLBACK(heard)
    library.espeak_SetSynthCallback(callback)
    seed = library.espeak_ng_SetRandSeed
    seed.argtypes = [ctypes.c_long]
    for number, (voice, words, text) in enumerate(request["jobs"]):
        seed(number + 1)  # breath and flutter are random; by default, seeded by the clock
        audio.clear()
        phonemes.clear()
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            return tell({"error": f"eSpeak NG has no voice {voice!r}"})
        library.espeak_SetParameter(RATE, words, 0)
        data = text.encode() + b"\0"
        if library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, UTF8, None, None) != 0:
            return tell({"error": f"eSpeak NG does not say {text!r}"})
        library.espeak_Synchronize()
        sound = b"".join(audio)
        tell({"rate": rate, "samples": len(sound) // 2, "phonemes": phonemes})
        out.write(sound)


if __name__ == "__main__":
    main()
