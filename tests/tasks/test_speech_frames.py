"""The synthetic speaker: its grammar, its accents, its labels in time; scores of frames and of sequences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, MappingKind, Reals, Task
from longlag_tasks._speaker import CODAS, NAMES, ONSETS, SLOTS, TRACT, VOWELS, plan, tables
from longlag_tasks._speech import error_rate, runs
from longlag_tasks._voice import CLOSURE, HIGHEST, LOWEST, mel, render


def frames(**options: object) -> Task:
    return TaskSpec(name="speech-frames", **options).build()


def draw(task: Task, size: int = 200, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def test_syllables_are_those_of_the_grammar() -> None:
    said = plan(np.random.default_rng(0), 2000, 2, 4)
    words = np.where(said.frames > 0, said.phones, -1).reshape(4, SLOTS, -1)
    counts = (words[:, 2] > 0).sum(0)
    assert set(counts) == {2, 3, 4}
    seen_onsets, seen_codas = set(), set()
    for b in range(words.shape[2]):
        for s in range(counts[b]):
            onset = "".join(NAMES[k] for k in words[s, :2, b] if k >= 0)
            coda = NAMES[words[s, 3, b]] if words[s, 3, b] >= 0 else ""
            seen_onsets.add(onset)
            seen_codas.add(coda)
            assert NAMES[words[s, 2, b]] in VOWELS
            if coda and s + 1 < counts[b]:
                assert words[s, 3, b] != words[s + 1, 0, b]
        assert (words[counts[b] :, :, b] == -1).all()
        assert words[counts[b] - 1, 4, b] == -1, "no pause after the last syllable"
    assert seen_onsets == set(ONSETS) and seen_codas == set(CODAS)


def test_labels_are_the_phones_for_as_long_as_they_last() -> None:
    said = plan(np.random.default_rng(1), 50, 1, 5, accents=2, pause=7)
    labels = said.labels()
    for b, length in enumerate(said.lengths):
        assert labels[:length, b].tolist() == np.repeat(said.phones[:, b], said.frames[:, b]).tolist()
        assert not labels[length:, b].any()
    phones, counts = said.spoken()
    for b in range(50):
        spoken = [k for k, n in zip(said.phones[:, b], said.frames[:, b], strict=True) if k and n]
        assert phones[: counts[b], b].tolist() == spoken and not phones[counts[b] :, b].any()


def test_the_hum_alone_tells_the_accents_apart() -> None:
    """What sounds alike in two accents is labelled apart, and differs in the opening only."""
    first = plan(np.random.default_rng(2), 30, 3, 3, accents=2, pause=20)
    vowel = (first.phones >= 1) & (first.phones <= len(VOWELS))
    accent = first.sounds[0] - len(NAMES)
    assert set(accent) == {0, 1}
    moved = (first.phones - 1 - accent) % len(VOWELS) + 1
    assert np.array_equal(first.sounds[1:], np.where(vowel, moved, first.phones)[1:])
    hum = first.sounds.copy()
    hum[0] = len(NAMES) + 1 - accent
    other = replace(first, sounds=hum)
    after = np.arange(int(first.lengths.max()))[:, None] >= first.opening
    one, two = render(first, 16), render(other, 16)
    assert np.array_equal(one[after], two[after])
    assert np.abs(one[~after] - two[~after]).max() > 0.5


def test_an_utterance_sounds_the_same_in_any_company() -> None:
    said = plan(np.random.default_rng(5), 40, 1, 5, accents=2, pause=7)
    together = render(said, 16)
    for b, length in enumerate(said.lengths):
        alone = replace(
            said,
            **{name: getattr(said, name)[:, b : b + 1] for name in ("phones", "sounds", "frames")},
            **{name: getattr(said, name)[b : b + 1] for name in ("opening", "tract", "loudness")},
        )
        assert np.array_equal(render(alone, 16)[:, 0], together[:length, b])
        assert not together[length:, b].any()


def test_noise_has_its_spread_and_comes_on_top() -> None:
    said = plan(np.random.default_rng(6), 300, 3, 5)
    clean, noisy = render(said, 16), render(said, 16, noise=0.15, rng=np.random.default_rng(0))
    exists = np.arange(len(clean))[:, None] < said.lengths
    noise = (noisy - clean)[exists].astype(np.float64)
    assert not noisy[~exists].any()
    assert noise.mean() == pytest.approx(0, abs=4 * 0.15 / np.sqrt(noise.size))
    assert noise.std() == pytest.approx(0.15, rel=0.005)
    assert np.abs(noise).max() <= 0.15 * np.sqrt(3) + 1e-6


@pytest.mark.parametrize(("phone", "hertz"), [("i", 280), ("a", 750), ("o", 480), ("m", 250)])
def test_the_first_formant_is_where_it_belongs(phone: str, hertz: float) -> None:
    said = plan(np.random.default_rng(3), 400, 1, 1)
    quiet = replace(said, tract=np.zeros(400), loudness=np.zeros((400, 2)))
    spoken = quiet.labels() == NAMES.index(phone)
    centres = np.linspace(float(mel(100)), float(mel(7500)), 40)
    spectrum = render(quiet, 40, glide=0)[spoken].mean(0)
    low = centres < float(mel(1.35 * hertz + 100))
    assert abs(centres[low][spectrum[low].argmax()] - float(mel(hertz))) < 90


def test_all_resonances_and_noise_are_between_the_lowest_and_the_highest_band() -> None:
    formants, noise = tables()[2][:, :2], tables()[2][:, 4]
    for hertz in (formants * np.exp(-TRACT), formants * np.exp(TRACT), noise):
        assert mel(hertz).min() > LOWEST and mel(hertz).max() < HIGHEST


def test_a_plosive_is_a_closure_and_a_burst() -> None:
    said = plan(np.random.default_rng(7), 400, 1, 1)
    frames = render(replace(said, tract=np.zeros(400), loudness=np.zeros((400, 2))), 16)
    t = NAMES.index("t")
    for b in np.flatnonzero((said.phones[0] == t) & (said.frames[1] == 0)):
        power = frames[: said.frames[0, b], b, 8:].max(-1)  # the noise of a t is high
        burst = round(said.frames[0, b] * (1 - CLOSURE))
        # means over three frames: a burst shows one frame early, and is whole in its middle only
        assert power[: -burst - 1].max(initial=-9) < power[-burst:].min() - 0.5


def test_labels_come_later_with_a_delay_and_the_opening_does_not_count() -> None:
    now, late = draw(frames()), draw(frames(delay=5))
    assert np.array_equal(late.inputs[:-5], now.inputs) and not late.inputs[-5:].any()
    assert np.array_equal(late.targets[5:], now.targets)
    assert np.array_equal(late.lengths, now.lengths + 5)
    assert np.array_equal(late.counted[5:], now.counted) and not late.counted[:5].any()
    before = now.counted.argmax(0)
    assert before.min() >= 10 + 2, "the hum and the pause"
    assert not now.targets[np.arange(len(now.targets))[:, None] < before].any()


def test_utterances_are_never_drawn_twice() -> None:
    batches = [draw(frames(), 300, seed) for seed in (0, 1)]
    assert len({batch.inputs[:60, b].tobytes() for batch in batches for b in range(300)}) == 600


def edit_distance(one: list[int], other: list[int]) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def test_the_phone_error_rate_is_the_edit_distance_over_the_true_phones() -> None:
    rng = np.random.default_rng(4)
    wanted = [rng.integers(1, 12, rng.integers(1, 9)).tolist() for _ in range(60)]
    said = [rng.integers(1, 12, rng.integers(0, 9)).tolist() for _ in range(60)]
    errors = sum(edit_distance(a, b) for a, b in zip(wanted, said, strict=True))
    assert error_rate(wanted, said) == pytest.approx(errors / sum(map(len, wanted)))


def test_best_path_merges_repetitions_and_drops_blanks() -> None:
    assert runs([0, 3, 3, 0, 3, 5, 5, 0]) == [3, 3, 5]
    task = frames(labels="sequence")
    batch = Batch(np.zeros((6, 1, 16), np.float32), np.array([[3], [5]]), np.array([5]), target_lengths=np.array([2]))
    logits = np.eye(20)[[[0], [3], [3], [0], [6], [9]]]  # the last frame is padding
    assert task.measure(logits, batch) == {"phone_error_rate": 0.5, "sequences_right": 0.0}
    assert task.table(logits, None, batch) == {"spoken": ["a u"], "recognised": ["a p"]}


def test_signatures() -> None:
    by_frame, by_sequence = frames(bands=12).signature, frames(labels="sequence").signature
    assert (by_frame.input, by_frame.outputs, by_frame.loss) == (Reals(12), 20, "cross-entropy")
    assert (by_sequence.mapping, by_sequence.loss) == (MappingKind.LABELLING, "ctc")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": "sequence", "delay": 3}, "CTC chooses itself"),
        ({"labels": "words"}, "labels: .*'frames' or 'sequence'"),
        ({"accents": 9}, "accents: .*less than or equal to 5"),
        ({"syllables": 0}, "syllables: .*greater than or equal to 1"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'speech-frames': .*{sentence}"):
        frames(**options)
