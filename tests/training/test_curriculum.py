"""Curricula over a length, the protocols of lengths, and accuracy by length, in a run and in a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longlag
from longlag.analysis.pictures import by_length
from longlag.cells import Composition, Stack
from longlag.errors import UserError
from longlag.spec import load_run
from longlag.tracking import accuracy, figures
from longlag.training import curriculum, train
from longlag.training.lengths import AccuracyByLength
from tests.training.test_loop import TINY, Notes

PARITY: dict[str, Any] = {**TINY, "task": {"name": "parity", "length": 7, "solved_accuracy": 0.3}}


def course(**fields: Any) -> curriculum.Curriculum:
    spec = load_run({**PARITY, "data": {"curriculum": fields}})
    return curriculum.build(spec, spec.task.build(), None)


def test_uniform_lengths_are_all_of_them_equally_often() -> None:
    made, rng = course(name="uniform", low=2, step=2), np.random.default_rng(0)
    drawn = [made.task(0.5, rng).sample(rng, 1).steps for _ in range(400)]
    counts = np.bincount(drawn, minlength=8)
    assert set(np.flatnonzero(counts)) == {2, 4, 6, 7}, "the task's own length is one of them"
    assert counts.max() < 140


def test_lengths_grow_when_solved_and_are_logged() -> None:
    """At so low a criterion every evaluation solves the task at the present length."""
    notes, training = Notes(), {"updates": 40, "eval_every": 10, "batch_size": 4, "stop_when_solved": False}
    data = {"validation": 40, "test": 8, "curriculum": {"name": "growing", "low": 3, "step": 2}}
    train(load_run({**PARITY, "training": training, "data": data}), [notes])
    assert [value for _, name, value in notes.values if name == "train/length"] == [3, 5, 7, 7]
    unsolved = {**PARITY, "task": {**PARITY["task"], "solved_accuracy": 1.0}}
    notes = Notes()
    train(load_run({**unsolved, "training": training, "data": data}), [notes])
    assert [value for _, name, value in notes.values if name == "train/length"] == [3, 3, 3, 3]


def test_fixed_is_no_curriculum() -> None:
    plain = load_run(PARITY)
    for written in ("fixed", {"name": "fixed"}):
        assert load_run({**PARITY, "data": {**PARITY["data"], "curriculum": written}}).run_key == plain.run_key


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"curriculum": {"name": "growing", "low": 8}}, "length should be a whole number of at least 8 in the task"),
        ({"curriculum": {"name": "uniform", "option": "size"}}, "size should be a whole number"),
        ({"protocol": "z"}, "data.protocol: should be one of x, y, not 'z'"),
    ],
)
def test_what_does_not_fit_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_run({**PARITY, "data": data})


def test_a_protocol_is_the_fields_that_it_stands_for() -> None:
    x = load_run({"task": "parity", "cell": "lstm", "data": {"protocol": "x"}})
    assert x.task.options["least"] == 3 and x.task.options["length"] == 40
    assert x.data.beyond == {"long": {"least": 40, "length": 256}}
    written = {"task": {"name": "parity", "least": 3, "length": 40}, "data": {"beyond": x.data.beyond}}
    assert load_run({**written, "cell": "lstm"}).run_key == x.run_key
    y = load_run({"task": {"name": "parity", "length": 12}, "cell": "lstm", "data": {"protocol": "y", "test": 9}})
    assert y.lengths == [{"length": length} for length in range(1, 13)] and y.data.test == 9
    assert y.data.beyond == {"long": {"least": 41, "length": 500}}


def test_accuracy_by_length_is_the_mean_of_the_sequences_of_each_length() -> None:
    task = load_run({**PARITY, "task": {"name": "parity", "length": 5, "least": 2}}).task.build()
    rng, found, lengths, right = np.random.default_rng(0), AccuracyByLength(), [], []
    for _ in range(2):
        batch = task.sample(rng, 50)
        outputs = rng.normal(size=(50, 2))
        found.add(task, outputs, batch)
        lengths += task.lengths(batch).tolist()
        right += (outputs.argmax(1) == batch.targets).tolist()
    for length, share, count in found.points():
        own = [correct for at, correct in zip(lengths, right, strict=True) if at == length]
        assert count == len(own) and share == pytest.approx(np.mean(own))
    assert [length for length, _, _ in found.points()] == [2, 3, 4, 5]


def test_a_study_draws_accuracy_by_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for picture in ("through_time", "predictions"):
        monkeypatch.setattr(figures, picture, lambda *_, **__: None)
    data = {"validation": 8, "test": 40, "beyond": {"long": {"least": 8, "length": 12}}}
    base = {**{k: v for k, v in PARITY.items() if k != "cell"}, "data": data}
    base["training"] = {"updates": 2, "eval_every": 2, "batch_size": 4, "stop_when_solved": False}
    study = {"name": "lengths", "base": base, "space": {"cell": ["rnn", "gru"]}, "seeds": [0, 1]}
    result = longlag.sweep({**study, "sampler": {"name": "grid"}}, home=tmp_path)
    rows = by_length(result)
    assert {cell: len(runs) for cell, runs in rows["parity"].items()} == {"rnn": 2, "gru": 2}
    for run in rows["parity"]["rnn"]:
        assert [length for length, _, _ in run.by_length] == [7, 8, 9, 10, 11, 12]
        beyond = sum(share * count for _, share, count in run.by_length[1:]) / 40
        assert run.beyond["long"]["accuracy"] == pytest.approx(beyond)
    assert (tmp_path / "reports" / "lengths" / "accuracy.png").exists()
    assert len(list(tmp_path.rglob("accuracy_by_length.png"))) == 4
    assert not accuracy.of_run(result.trials[0].runs[0].model_copy(update={"by_length": ()}), tmp_path / "none.png")


@pytest.mark.parametrize(
    ("cell", "size"),
    [
        ("feedforward", 0),  # outputs depend on the same step alone
        ("gru", 8),
        ("lstm", 16),
        ({"name": "transformer", "context": 5, "heads": 1}, 2 * 3 * 8),  # a key and a value of each step so far
        ({"name": "transformer", "context": 2, "heads": 1}, 2 * 2 * 8),  # but no more than it attends to
        ({"name": "tcn", "levels": 1, "kernel_size": 3}, 2 * 4 + 2 * 8),  # two past inputs of each convolution
        ({"name": "deltanet", "heads": 2, "convolution": False}, 2 * 4 * 4),  # a matrix for each head
    ],
)
def test_the_state_size_is_what_is_kept_after_some_steps(cell: Any, size: int) -> None:
    made = load_run({"task": "parity", "cell": cell}).cell.build()
    assert Stack(made, 4, 8).state_size(3) == size
    assert Stack(made, 8, 8, 2, None, Composition(bidirectional=True)).state_size(3) == 4 * size or size == 24
