"""Synthesis: what is told is enough to say it, in both forms; errors in decibels."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from longlag.spec import TaskSpec
from longlag.task import Answer, Batch, MappingKind, Task


def synthesis(**options: object) -> Task:
    return TaskSpec(name="speech-synthesis", **options).build()


def draw(task: Task, size: int = 100, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


@pytest.mark.parametrize("syllables", [1, 3])
def test_both_forms_ask_for_the_same_frames(syllables: int) -> None:
    vector, phones = draw(synthesis(syllables=syllables)), draw(synthesis(syllables=syllables, source="phones"))
    assert np.array_equal(vector.targets, phones.targets)
    assert np.array_equal(vector.target_lengths, phones.target_lengths)
    assert vector.inputs.shape == (0, 100, 0)
    assert np.array_equal(vector.context[:, -3:], phones.context)
    lasting = (phones.inputs[..., 0] * 10).round().sum(0)
    assert np.array_equal(lasting, phones.target_lengths)


@pytest.mark.parametrize("source", ["vector", "phones"])
def test_no_word_is_longer_than_a_free_answer_may_be(source: str) -> None:
    task = synthesis(source=source)
    assert len(draw(task, 5000).targets) <= task.signature.max_steps


def test_mappings() -> None:
    assert synthesis().signature.mapping is MappingKind.GENERATION
    assert synthesis(source="phones").signature.mapping is MappingKind.TRANSLATION


def test_distortion_is_in_decibels_and_looks_at_existing_frames_only() -> None:
    task = synthesis()
    batch = draw(task, 5)
    steps = task.signature.max_steps
    values = np.full((steps, 5, 16), 7, np.float32)
    values[: len(batch.targets)] = np.where(batch.answered()[..., None], batch.targets + 0.1, 7)
    found = task.judge(Answer(values, np.full(5, steps)), batch)["distortion"]
    assert found == pytest.approx(0.1 * 3 * 10 / log(10), rel=1e-5)  # a unit is a third of a neper of power
    assert found == pytest.approx(task.table(values, Answer(values, np.full(5, steps)), batch)["distortion, dB"][0])


def test_repeating_the_last_frame_does_not_solve_it() -> None:
    task = synthesis()
    batch = draw(task, 1000)
    repeated = np.concatenate([np.zeros_like(batch.targets[:1]), batch.targets[:-1]])
    scores = task.measure(repeated, batch)
    assert not task.solved({**scores, "distortion": 0.0})
    assert task.solved({"mse": 0.0, "distortion": 0.0})
