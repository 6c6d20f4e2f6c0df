"""A synthetic speaker: which phone is it, frame by frame or in order, in an accent heard only at the beginning?"""

from __future__ import annotations

from functools import cache
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Batch
from longlag_tasks._speaker import HUMS, NAMES, Plan, plan
from longlag_tasks._speech import Labels, SpeechOptions, SpeechTask, delayed
from longlag_tasks._voice import render

COUNTED = 20_000
"""Utterances that the share of each phone is counted over."""


class SpeechFramesOptions(SpeechOptions):
    """Options of `SpeechFrames`."""

    labels: Labels = Field(
        "frames", description="frames: the phone at every frame; sequence: the phones in order, trained by CTC"
    )
    syllables: int = Field(5, ge=1, description="the most in an utterance; at least half of them, rounded up")
    accents: int = Field(
        2,
        ge=1,
        le=len(HUMS),
        description="A: in accent a = 0 ... A-1 every vowel sounds as the one a places before it; the opening hum "
        "alone tells which accent is spoken. 1: no such cue",
    )
    pause: int = Field(10, ge=0, description="frames of silence after the hum: the least lag of the cue")
    delay: int = Field(0, ge=0, description="frames: a frame's label is due so many frames later")
    bands: int = Field(16, ge=4, description="log-mel bands of a frame")
    noise: float = Field(
        0.15, ge=0, description="standard deviation of the noise on every band, uniform; speech spans about 3"
    )
    solved_accuracy: float = Field(0.9, gt=0, le=1, description="frames: solved when so large a share is right")
    solved_error_rate: float = Field(0.1, ge=0, lt=1, description="sequence: solved when the error rate is no larger")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.labels == "sequence" and self.delay:
            raise ValueError("CTC chooses itself when it answers: set delay only where labels is 'frames'")
        return self


class SpeechFrames(SpeechTask[SpeechFramesOptions]):
    """Frames of 10 ms from a synthetic speaker: which of 19 phones, or silence, is each?

    Syllables come from a small grammar (onset of up to two consonants, vowel, coda), with durations of their own,
    rendered as log power in mel-spaced bands: two formants that glide between neighbouring phones, voicing, noise for
    fricatives, a closure and a burst for plosives. Every utterance has a speaker: vocal-tract length, loudness,
    spectral slope and speaking rate. So a frame alone is ambiguous: a closure is silent, formants are on their way,
    the speaker is unknown.

    And there is a long lag by design: an utterance opens with a hum and a pause, and the hum tells the *accent*. In
    accent a, vowel k of ``i e a o u`` sounds as vowel ``k - a`` (mod 5) does in accent 0: to the end, no vowel can be
    told without remembering the hum. Frames of opening and pause do not count.

    With `delay` d the label of frame t is due at ``t + d`` (Graves and Schmidhuber 2005); after the last frame the
    input is zero for d steps.

    Shapes: inputs float32 ``[T, B, bands]``; targets int64 ``[T, B]``, the loss being the cross-entropy of the
    counted frames; or ``[U, B]`` for CTC, class 0 being the blank.
    """

    version = 2

    @property
    def names(self) -> tuple[str, ...]:
        return NAMES

    @property
    def bands(self) -> int:
        return int(self.options.bands)

    def plan(self, rng: np.random.Generator, size: int) -> Plan:
        """What is said."""
        most = self.options.syllables
        return plan(rng, size, (most + 1) // 2, most, self.options.accents, self.options.pause)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        said = self.plan(rng, size)
        inputs = render(said, self.bands, noise=self.options.noise, rng=rng)
        if self.by_frame:
            return delayed(inputs, said.labels(), said.lengths, self.options.delay, said.opening)
        phones, count = said.spoken()
        return Batch(inputs, phones, said.lengths, target_lengths=count)

    def frequencies(self) -> Array:
        return _frequencies(self.options.syllables)


@cache
def _frequencies(syllables: int) -> Array:
    """The share of every class among the frames after the opening, over `COUNTED` utterances of a seed of their own."""
    said = plan(np.random.default_rng(0), COUNTED, (syllables + 1) // 2, syllables)
    counts = np.bincount(said.phones.ravel(), said.frames.ravel(), minlength=len(NAMES))
    frequencies: Array = counts / counts.sum()
    return frequencies
