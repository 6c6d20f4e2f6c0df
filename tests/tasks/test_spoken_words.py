"""Spoken words: unheard voices, labels that stand where the sound is, the same samples every time."""

from __future__ import annotations

import hashlib
import json
import sys
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Task
from longlag_tasks import spoken_words
from longlag_tasks._espeak import say
from longlag_tasks._mel import log_mel
from longlag_tasks._speech import runs

pytest.importorskip("espeakng_loader")
SMALL = {"voices": 2, "utterances": 12, "words": 6}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken_words, "HELD_OUT", 2)
    monkeypatch.setenv("LONGLAG_CACHE", str(tmp_path_factory.getbasetemp() / "prepared"))


def words(**options: object) -> Task:
    return TaskSpec(name="spoken-words", **{**SMALL, **options}).build()


def test_no_voice_is_in_two_splits() -> None:
    voices = [*spoken_words.TRAINING, *spoken_words.VALIDATION, *spoken_words.TEST]
    assert len(set(voices)) == len(voices) == 44
    jobs = spoken_words._jobs("words", "en-us", 3, 32, 2, 0.0)
    heard = {split: {voice for part, voice, *_ in jobs if part == split} for split in ("training", "test")}
    assert not heard["training"] & heard["test"] and len(heard["training"]) == 32


def test_what_is_said_is_words() -> None:
    assert len(set(spoken_words.WORDS)) == len(spoken_words.WORDS) == 127
    assert all(word.isalpha() and word.islower() for word in spoken_words.WORDS)


def test_the_phonemes_of_a_word_stand_where_it_sounds() -> None:
    (said,) = say([("en-us+m1", 175, "sea")])
    names = [name for _, name in said.phonemes if name]
    assert names == ["s", "i:"]
    frames = log_mel(said.samples, said.rate, 26)
    begin = {name: first / said.rate * 100 for first, name in said.phonemes}
    hiss = frames[int(begin["s"]) + 2 : int(begin["i:"]) - 2]
    vowel = frames[int(begin["i:"]) + 3 : int(begin["i:"]) + 12]
    assert hiss[:, 20:].mean() > vowel[:, 20:].mean() + 1
    assert vowel[:, :8].mean() > hiss[:, :8].mean() + 3


def test_the_same_words_sound_the_same_in_another_process() -> None:
    jobs = [("en-us+f2", 175, "two dogs"), ("de+m3", 200, "412")]
    for one, other in zip(say(jobs), say(jobs), strict=True):
        assert np.array_equal(one.samples, other.samples) and one.phonemes == other.phonemes


def test_the_test_does_not_change_with_what_is_trained_on() -> None:
    one, other = (words(voices=voices).split("test", np.random.default_rng(0), 100) for voices in (2, 3))
    assert one.size == 16 and np.array_equal(one.lengths, other.lengths)
    names = [words(voices=voices).names for voices in (2, 3)]
    told = [[n[k] for k in batch.targets[:60, 0]] for n, batch in zip(names, (one, other), strict=True)]
    assert told[0] == told[1]


def test_what_is_said_by_default_is_what_earlier_runs_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """All jobs, in order: eSpeak's samples depend on every one before."""
    monkeypatch.setattr(spoken_words, "HELD_OUT", 25)
    jobs = json.dumps(spoken_words._jobs("words", "en-us", 3, 24, 40, 0.0))
    assert (
        hashlib.sha256(jobs.encode()).hexdigest() == "e541efc68a744b45697bd22aef9567f3450f121737ecf731dcee4bb36df2bfc3"
    )


def test_sixty_words_are_thousands_of_frames_with_every_phoneme_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken_words, "HELD_OUT", 1)
    task = words(words=60, voices=1, utterances=2)
    batch = task.sample(np.random.default_rng(0), 4)
    assert batch.steps > 1500 and batch.inputs.shape == (batch.steps, 4, 26)
    said = words(words=60, voices=1, utterances=2, labels="sequence").sample(np.random.default_rng(0), 4)
    assert np.array_equal(batch.lengths, said.lengths)
    for b, (steps, count) in enumerate(zip(batch.lengths, said.target_lengths, strict=True)):
        heard, spoken = runs(batch.targets[:steps, b].tolist()), said.targets[:count, b].tolist()
        assert 150 < count < 300
        # a phoneme shorter than a frame has no label, and one that is repeated has one run
        assert (
            sum(block.size for block in SequenceMatcher(None, heard, spoken, False).get_matching_blocks())
            > 0.95 * count
        )


def test_frames_are_scaled_and_labels_follow_the_delay() -> None:
    task = words()
    values = task.speech.scaled["training"].values
    assert np.abs(values.mean(0)).max() < 1e-3 and np.abs(values.std(0) - 1).max() < 1e-3
    now, late = (words(delay=d).split("test", np.random.default_rng(0), 5) for d in (0, 4))
    assert np.array_equal(late.targets[4:], now.targets) and not late.counted[:4].any()


def test_noise_raises_what_was_quiet_and_is_drawn_anew() -> None:
    clean, noisy = words(), words(snr=0.0)
    quiet = clean.split("validation", np.random.default_rng(0), 8)
    loud = noisy.split("validation", np.random.default_rng(0), 8)
    exists = quiet.exists()
    assert (loud.inputs >= quiet.inputs - 1e-3)[exists].all() and (loud.inputs > quiet.inputs + 1)[exists].any()
    again = noisy.split("validation", np.random.default_rng(1), 8)
    assert not np.array_equal(again.inputs, loud.inputs)


def test_tempo_changes_how_long_it_takes() -> None:
    lengths = [words(tempo=tempo).split("test", np.random.default_rng(0), 100).lengths for tempo in (0.0, 0.5)]
    ratio = lengths[1] / lengths[0]
    assert ratio.min() < 0.9 and ratio.max() > 1.1


def test_numbers_are_spoken_in_other_languages() -> None:
    task = words(content="numbers", language="de", labels="sequence")
    batch = task.sample(np.random.default_rng(0), 4)
    assert batch.target_lengths.min() >= 6
    assert "ts" in task.names


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"language": "de"}, "the words are English: for 'de' set content=numbers"),
        ({"labels": "sequence", "delay": 2}, "CTC chooses itself"),
        ({"voices": 99}, "voices: .*less than or equal to 32"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'spoken-words': .*{sentence}"):
        words(**options)


def test_a_language_that_espeak_does_not_know() -> None:
    with pytest.raises(UserError, match=r"eSpeak NG has no voice 'klingon.*'"):
        words(content="numbers", language="klingonese").sample(np.random.default_rng(0), 1)


def test_the_extra_is_named_where_the_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"espeakng_loader.*longlag\[speech\]"):
        list(say([("en", 175, "one")]))


def test_a_pure_tone_is_in_its_band() -> None:
    rate = 22_050
    samples = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    frames = log_mel(samples, rate, 40)
    assert frames.shape == (100, 40)
    centres = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 8000 / 700), 42)[1:-1]
    wanted = np.abs(centres - 2595 * np.log10(1 + 1000 / 700)).argmin()
    assert (frames[5:-5].argmax(1) == wanted).all()
    assert np.log(0.1) < frames[5:-5].max() < np.log(1.0), "a sine of amplitude 1 has power 1/2"
