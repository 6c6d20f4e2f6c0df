"""Spoken words: eSpeak NG says words or numbers in many voices; the voices of the test were never heard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Package, quoted
from longlag_tasks._espeak import USUAL, say
from longlag_tasks._mel import HOP, log_mel
from longlag_tasks._packages import ESPEAK
from longlag_tasks._prepared import lists, prepared
from longlag_tasks._recordings import RecordedOptions, RecordedTask, Speech, Utterances
from longlag_tasks._speech import Labels
from longlag_tasks._utterances import Ragged

TEST = ("f2", "m3", "Annie", "robert", "linda", "Michael", "klatt4", "steph")
VALIDATION = ("f4", "m7", "Andy", "belinda")
VOICES = """
f1 m1 f3 m2 Alicia adam steph2 m4 Denis f5 klatt2 Gene Lee anika m5 Mario Jacky marcelo shelby Reed travis m6
norbert aunty john klatt3 zac sandro Diogo paul m8 ed
"""
TRAINING = tuple(VOICES.split())
"""Voice variants of eSpeak NG; the first so many of them are trained on."""
HELD_OUT = 25
"""Utterances of every voice that validates or tests."""
HIGHEST = 999
LEXICON = """
apple arm baby bath bear bird blue boat book box boy bread bridge cake chair cheese child church city cloud coat
cold cow cup day dog door dream ear earth egg eye face father fire fish five flower foot four friend fruit game
garden girl glass gold good grass green hair hand hat heart hill horse house ice jump king kitchen lamp leaf leg
light lion measure milk money moon mother mouth music name night nine noise nose ocean one paper pen pleasure queen
rain red ring river road room school sea seven shoe sing six sleep snow song star stone street sugar sun table
teacher thing three thumb toy tree two usual vase voice wall watch water wheel white window wolf wood yellow young
zebra zero
"""
WORDS = tuple(LEXICON.split())


class SpokenWordsOptions(RecordedOptions):
    """Options of `SpokenWords`."""

    labels: Labels = Field(
        "frames", description="frames: the phoneme at every frame; sequence: the phonemes in order, trained by CTC"
    )
    content: Literal["words", "numbers"] = Field(
        "words", description=f"words: of a list of {len(WORDS)} English ones; numbers: 0 ... {HIGHEST}, in any language"
    )
    language: str = Field("en-us", description="as eSpeak NG calls it: en-us, en-gb, de, fr, ja ...")
    words: int = Field(3, ge=1, le=500, description="words or numbers an utterance")
    voices: int = Field(24, ge=1, le=len(TRAINING), description="voices to train on")
    utterances: int = Field(40, ge=1, le=10**5, description="utterances of each voice to train on")
    tempo: float = Field(
        0.0, ge=0, le=0.6, description="r: each utterance's rate is uniform between 1 - r and 1 + r times the usual"
    )
    snr: float | None = Field(
        None,
        description="dB: noise with the spectrum of speech, so far below it, drawn anew in every batch; none: no",
    )
    delay: int = Field(0, ge=0, description="frames: a frame's label is due so many frames later")
    bands: int = Field(26, ge=4, le=80, description="log-mel bands of a frame")
    solved_accuracy: float = Field(0.85, gt=0, le=1, description="frames: solved when so large a share is right")
    solved_error_rate: float = Field(0.15, ge=0, lt=1, description="sequence: solved when the error rate is no larger")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.content == "words" and self.language.partition("-")[0] != "en":
            raise ValueError(f"the words are English: for {quoted(self.language)} set content=numbers")
        if self.labels == "sequence" and self.delay:
            raise ValueError("CTC chooses itself when it answers: set delay only where labels is 'frames'")
        return self


class SpokenWords(RecordedTask[SpokenWordsOptions]):
    """Which phoneme is it, frame by frame or in order, in voices that were never heard?

    eSpeak NG speaks `words` words or numbers drawn at random, by formant synthesis, and tells when each of its
    phonemes begins. The waveform goes through a real front end: a frame every 10 ms, log power in mel bands of a 25 ms
    Hamming window, scaled to mean 0 and variance 1 over the training frames. Class 0 is silence (or CTC's blank), the
    others are the language's phonemes as eSpeak names them, without stress. 4 voices validate and 8 test, 25
    utterances each; none of them is among the up to 32 that are trained on. Words are the same in all splits.

    With `delay` d the label of frame t is due at ``t + d`` (Graves and Schmidhuber 2005).

    Shapes: inputs float32 ``[T, B, bands]``; targets int64 ``[T, B]``, the loss being the cross-entropy of all frames;
    or ``[U, B]`` for CTC.
    """

    @property
    def needs(self) -> tuple[Package, ...]:
        return (ESPEAK,)

    @property
    def speech(self) -> Speech:
        given = self.options
        return _speech(
            given.content, given.language, given.words, given.voices, given.utterances, given.tempo, given.bands
        )


def _jobs(
    content: str, language: str, words: int, voices: int, utterances: int, tempo: float
) -> list[tuple[str, str, int, str]]:
    """Split, voice, words a minute and text of every utterance. What is held out comes first, and never changes."""
    jobs = []
    for split, names, count in (
        ("test", TEST, HELD_OUT),
        ("validation", VALIDATION, HELD_OUT),
        ("training", TRAINING[:voices], utterances),
    ):
        for place, name in enumerate(names):
            rng = np.random.default_rng([("test", "validation", "training").index(split), place])
            for _ in range(count):
                chosen = rng.integers(0, len(WORDS) if content == "words" else HIGHEST + 1, words)
                said = " ".join(WORDS[k] if content == "words" else str(k) for k in chosen)
                pace = 1 + tempo * rng.uniform(-1, 1)
                jobs.append((split, f"{language}+{name}", round(USUAL * pace), said))
    return jobs


@lru_cache(maxsize=4)
def _speech(content: str, language: str, words: int, voices: int, utterances: int, tempo: float, bands: int) -> Speech:
    """The utterances; spoken once for all processes of this user."""
    ESPEAK.require()
    jobs = _jobs(content, language, words, voices, utterances, tempo)
    front = ["spoken-words 1", version("espeakng-loader"), bands, jobs]
    mark = f"spoken-words-{hashlib.sha256(json.dumps(front).encode()).hexdigest()[:24]}"

    def rows() -> Iterator[dict[str, Any]]:
        for (split, *_), said in zip(jobs, say([(voice, pace, text) for _, voice, pace, text in jobs]), strict=True):
            yield {
                "split": split,
                "frames": log_mel(said.samples, said.rate, bands).ravel(),
                "begins": [first / said.rate for first, _ in said.phonemes],
                "phonemes": [name for _, name in said.phonemes],
            }

    columns = {"split": "string", "frames": "[float32]", "begins": "[float64]", "phonemes": "[string]"}
    table = prepared(mark, columns, rows)
    values, starts = lists(table, "frames")
    frames = Ragged(values.reshape(-1, bands), starts // bands)
    return _classed(frames, table["begins"], table["phonemes"], np.array(table["split"]))


def _classed(frames: Ragged, begins: Any, phonemes: Any, split: Array) -> Speech:
    """The utterances with classes for phonemes, by split."""
    names = ("·", *sorted({name for each in phonemes for name in each} - {""}))
    number = {"": 0, **{name: k for k, name in enumerate(names) if k}}
    labels, spoken = [], []
    for n, (starts, said) in enumerate(zip(begins, phonemes, strict=True)):
        classes = np.array([0, *(number[name] for name in said)])
        count = frames.starts[n + 1] - frames.starts[n]
        centres = (np.arange(count) + 0.5) * HOP
        labels.append(classes[np.searchsorted(np.asarray(starts), centres, side="right")])
        spoken.append(classes[classes > 0])

    def part(name: str) -> Utterances:
        rows = np.flatnonzero(split == name)  # one after another
        first, last = int(rows[0]), int(rows[-1]) + 1
        return Utterances(frames.part(first, last), Ragged.of(spoken[first:last]), Ragged.of(labels[first:last]))

    return Speech(names, {name: part(name) for name in ("training", "validation", "test")})
