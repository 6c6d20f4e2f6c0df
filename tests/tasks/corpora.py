"""Small corpora on disk: every label is a tone of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
PHONES = ("h#", "sh", "iy", "hv", "ae", "dcl", "d", "q", "ax-h", "h#")
TEXTS = ("she had", "a dark suit", "in greasy", "wash water", "all year", "do not ask", "me to carry", "an oily rag")


def tones(labels: tuple[str, ...], each: int, seed: int) -> np.ndarray:
    """A tone a label, `each` samples long, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(each) / RATE
    pitch = [200 + 90 * (sum(map(ord, label)) % 40) for label in labels]
    sound = np.concatenate([np.sin(2 * np.pi * f * time) for f in pitch])
    return 0.3 * sound + 0.01 * rng.standard_normal(len(sound))


def timit(folder: Path, speakers: int = 6, sentences: int = 2) -> Path:
    """``TRAIN`` and ``TEST`` with some speakers of some sentences each, as NIST SPHERE."""
    for part, count in (("TRAIN", speakers), ("TEST", 2)):
        for speaker in range(count):
            place = folder / part / "DR1" / f"F{part[:2]}{speaker}"
            place.mkdir(parents=True)
            for sentence in range(sentences):
                each = 800 + 160 * (speaker + sentence)
                middle = tuple(np.roll(PHONES[1:-1], speaker + sentence).tolist())
                phones = (PHONES[0], *middle, PHONES[-1])
                sphere(place / f"SX{sentence}.WAV", tones(phones, each, speaker))
                lines = [f"{k * each} {(k + 1) * each} {phone}" for k, phone in enumerate(phones)]
                (place / f"SX{sentence}.PHN").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def sphere(path: Path, samples: np.ndarray) -> None:
    """A NIST SPHERE file as on TIMIT's disc."""
    values = (samples * 32767).astype("<i2")
    facts = f"sample_rate -i {RATE}\nsample_count -i {len(values)}\nsample_n_bytes -i 2\nsample_byte_format -s2 01\n"
    head = f"NIST_1A\n   1024\nchannel_count -i 1\n{facts}sample_sig_bits -i 16\nend_head\n"
    path.write_bytes(head.encode().ljust(1024) + values.tobytes())


def transcripts(folder: Path, texts: tuple[str, ...] = TEXTS, copies: int = 3) -> Path:
    """WAV files, the text of each in ``metadata.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["file_name,transcription"]
    for n, text in enumerate(texts * copies):
        soundfile.write(folder / f"{n:02}.wav", tones(tuple(text), 640, n), RATE)
        rows.append(f"{n:02}.wav,{text}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


MAKERS = {"timit": timit, "transcripts": transcripts}
