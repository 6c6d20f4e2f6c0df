"""Synthesis: from phones, their durations and a voice to the frames that the synthetic speaker would say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import ceil, exp, log, sqrt
from typing import Any, Literal

import numpy as np
from pydantic import Field

from longlag.task import Answer, Array, Baseline, Batch, MappingKind, Metric, Mixed, NoInput, Options, Signature, Task
from longlag_tasks._speaker import NAMES, RATE, SLOTS, Plan, pack, plan
from longlag_tasks._speech import sketch, wrapped
from longlag_tasks._voice import SCALE, render

VOICE = 3
"""Numbers that describe a voice: vocal tract, loudness, slope."""
ONE_HOT = np.eye(len(NAMES) + 1, dtype=np.float32)
"""Of every class, and of none."""
TENTHS = 10
"""Durations are told in tenths of a second, to have numbers of about one."""
SYLLABLE = 58
"""Frames of the longest syllable with its pause, at the usual rate."""
COUNTED = 5_000
"""Words that the mean frame and its spread are measured on."""
DECIBELS = 10 / log(10) / SCALE
"""Of one unit of a frame."""
SOLVED_SHARE = 0.1


class SpeechSynthesisOptions(Options):
    """Options of `SpeechSynthesis`."""

    source: Literal["vector", "phones"] = Field(
        "vector",
        description="vector: the word as one context vector (generation); phones: as a sequence of phones with their "
        "durations, the voice as context (translation)",
    )
    syllables: int = Field(1, ge=1, description="of a word")
    bands: int = Field(16, ge=4, description="log-mel bands of a frame")
    solved_distortion: float = Field(
        2.0, gt=0, description=f"dB: solved when below, and the MSE below {SOLVED_SHARE:g} of the baseline"
    )


class SpeechSynthesis(Task[SpeechSynthesisOptions]):
    """The other direction of `speech-frames`: what to say, how long each phone lasts and in which voice, to frames.

    A word has S syllables of the same grammar, and the speaker the same vocal tracts, loudness and rates; there is
    no accent, no noise and no randomness left: the frames follow from what is told. As in parametric speech synthesis
    (Zen et al. 2013) durations are given, and the model has to find formants, how they glide, voicing and bursts.

    vector (default)
        Generation. The context ``[B, 105 S + 3]``: for each of the S times 5 slots (two onset phones, vowel, coda,
        pause) one of 20 classes, one-hot, all zero if empty, and its duration in tenths of a second; then the voice.
    phones
        Translation. The phones and pauses as tokens ``[T, B]``, beside each its duration; the voice is the context.

    Targets float32 ``[U, B, bands]``; the loss is the mean squared error of a frame's bands given the true frames
    before it. Neighbouring frames are alike, so that repeating the last one comes close in MSE: what the model can
    say on its own, reading back its own frames, is its `distortion`.
    """

    version = 2
    metrics = (
        Metric("mse", "min", "squared units of log power / 3", "of the next frame, given the true ones before it"),
        Metric("distortion", "min", "dB", "root of the mean squared log-spectral distance of free answers"),
    )

    @property
    def signature(self) -> Signature:
        bands, slots = self.options.bands, SLOTS * self.options.syllables
        most = ceil(SYLLABLE * self.options.syllables * exp(RATE)) + slots
        if self.options.source == "phones":
            reading = Mixed(1, len(NAMES))
            return Signature(reading, bands, MappingKind.TRANSLATION, "mse", context=VOICE, max_steps=most)
        size = slots * (len(NAMES) + 1) + VOICE
        return Signature(NoInput(), bands, MappingKind.GENERATION, "mse", context=size, max_steps=most)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        count = self.options.syllables
        said = plan(rng, size, count, count)
        voice = np.concatenate([said.tract[:, None], said.loudness], 1).astype(np.float32)
        heard = voice.astype(np.float64)  # the float32 values that the model reads
        said = replace(said, tract=heard[:, 0], loudness=heard[:, 1:])
        lasts = (said.frames / TENTHS).astype(np.float32)
        if self.options.source == "phones":
            present = said.frames > 0
            phones, lengths = pack(said.phones, present)
            frames = pack(said.frames, present)[0]
            batch = Batch(
                (frames / TENTHS).astype(np.float32)[..., None], phones, lengths, tokens=phones, context=voice
            )  # fmt: skip
        else:
            classes = np.where(said.frames > 0, said.phones, len(NAMES))  # the last, of an empty slot, is overwritten
            slots = ONE_HOT.take(classes.T, 0)
            slots[..., -1] = lasts.T
            context = np.concatenate([slots.reshape(size, -1), voice], 1)
            batch = Batch(np.zeros((0, size, 0), np.float32), said.phones, context=context)
        targets = render(said, self.options.bands)
        return Batch(batch.inputs, targets, batch.lengths, None, batch.tokens, batch.context, said.lengths)

    def read(self, batch: Batch) -> Plan:
        """What the inputs tell to say."""
        assert batch.context is not None
        slots = batch.context[:, :-VOICE].reshape(batch.size, -1, len(NAMES) + 1).swapaxes(0, 1)
        phones, lasts = slots[..., :-1].argmax(-1), slots[..., -1]
        if batch.tokens is not None:
            phones, lasts = batch.tokens, batch.inputs[..., 0]
        voice = batch.context[:, -VOICE:].astype(np.float64)
        frames = np.rint(lasts.astype(np.float64) * TENTHS).astype(np.int64)
        return Plan(phones, phones, frames, np.zeros(batch.size, np.int64), voice[:, 0], voice[:, 1:])

    def speak(self, batch: Batch) -> tuple[Array, Array]:
        """The frames ``[U, B, bands]`` that the inputs ask for, and how many they are."""
        said = self.read(batch)
        return render(said, self.options.bands), said.lengths

    @property
    def criterion(self) -> str:
        limit = SOLVED_SHARE * self.baseline().value
        return f"distortion below {self.options.solved_distortion:g} dB, and mse below {limit:.3g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        near = metrics["mse"] < SOLVED_SHARE * self.baseline().value
        return bool(near and metrics["distortion"] < self.options.solved_distortion)

    def baseline(self) -> Baseline:
        _, variance = _moments(self.options.syllables, self.options.bands)
        formula = f"mean variance of the bands over {COUNTED} words of a seed of their own; there is no closed form"
        return Baseline(variance, "always the mean frame", formula)

    def trivial(self, batch: Batch) -> Array:
        mean, _ = _moments(self.options.syllables, self.options.bands)
        return np.broadcast_to(mean, (*batch.targets.shape[:2], len(mean))).copy()

    def oracle(self, batch: Batch) -> Array:
        return self.speak(batch)[0]

    def oracle_answer(self, batch: Batch) -> Answer:
        return Answer(*self.speak(batch))

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        exists = batch.answered()
        return {"mse": float(np.mean((outputs.astype(np.float64) - batch.targets)[exists] ** 2))}

    def judge(self, answer: Answer, batch: Batch) -> Mapping[str, float]:
        steps = len(batch.targets)
        values = np.zeros_like(batch.targets)
        values[: len(answer.values)] = answer.values[:steps]
        square = np.mean((values.astype(np.float64) - batch.targets)[batch.answered()] ** 2)
        return {"distortion": float(sqrt(square) * DECIBELS)}

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {"asked": [self._request(batch, b) for b in range(batch.size)]}
        if answer is not None and batch.target_lengths is not None:
            apart = [
                float(np.sqrt(np.mean((answer.values[:n, b] - batch.targets[:n, b]) ** 2)) * DECIBELS)
                for b, n in enumerate(batch.target_lengths)
            ]
            columns["distortion, dB"] = apart
        return columns

    def draw(self, axes: Any, outputs: Array, answer: Answer | None, batch: Batch, index: int) -> bool:
        """The frames that were asked for, and on top of them those that the model said freely."""
        assert batch.target_lengths is not None
        length = int(batch.target_lengths[index])
        said = outputs if answer is None else answer.values
        gap = np.full((length, 1), np.nan)
        axes.imshow(np.concatenate([batch.targets[:length, index], gap, said[:length, index]], 1).T, origin="lower")
        axes.set_aspect("auto")
        axes.set_yticks([self.options.bands / 2, self.options.bands * 1.5], ["target", "answer"])
        axes.set_xlabel("frame of 10 ms")
        axes.set_title(self._request(batch, index), fontsize="small")
        return True

    def _request(self, batch: Batch, index: int) -> str:
        said = self.read(batch)
        lasting = zip(said.phones[:, index], said.frames[:, index], strict=True)
        return " ".join(f"{NAMES[phone]}×{frames}" for phone, frames in lasting if frames)

    def describe(self, batch: Batch, index: int) -> str:
        assert batch.target_lengths is not None and batch.context is not None
        tract, gain, slope = batch.context[index, -VOICE:]
        return "\n".join(
            [
                *wrapped("asked    ", self._request(batch, index)),
                f"voice    formants × {exp(tract):.2f}, loudness {gain:+.2f}, slope {slope:+.2f}",
                *sketch(batch.targets[: batch.target_lengths[index], index]),
            ]
        )


@cache
def _moments(syllables: int, bands: int) -> tuple[Array, float]:
    """The mean frame, and the variance of the bands around it, in the mean over the bands."""
    said = plan(np.random.default_rng(0), COUNTED, syllables, syllables)
    frames = render(said, bands)
    exists = np.arange(len(frames))[:, None] < said.lengths
    spoken = frames.swapaxes(0, 1)[exists.T].astype(np.float64)
    return spoken.mean(0).astype(np.float32), float(spoken.var(0).mean())
