"""SCAN: the grammar's commands, and the published splits to the last command."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Answer, Task
from longlag_tasks.scan import commands, published


def scan(**options: object) -> Task:
    return TaskSpec(name="scan", **options).build()


def test_the_grammar_has_20910_commands_of_up_to_48_actions() -> None:
    every = commands()
    assert len(every) == 20_910
    assert max(map(len, every.values())) == 48
    assert max(len(command.split()) for command in every) == 9
    assert len({word for command in every for word in command.split()}) == 13


@pytest.mark.parametrize(
    ("command", "actions"),
    [  # the examples of the paper's figure 1 and of the data set's README
        ("jump", "I_JUMP"),
        ("jump left", "I_TURN_LEFT I_JUMP"),
        ("jump around right", "I_TURN_RIGHT I_JUMP I_TURN_RIGHT I_JUMP I_TURN_RIGHT I_JUMP I_TURN_RIGHT I_JUMP"),
        ("turn left twice", "I_TURN_LEFT I_TURN_LEFT"),
        ("jump thrice", "I_JUMP I_JUMP I_JUMP"),
        ("jump opposite left and walk thrice", "I_TURN_LEFT I_TURN_LEFT I_JUMP I_WALK I_WALK I_WALK"),
        (
            "jump opposite left after walk around left",
            "I_TURN_LEFT I_WALK I_TURN_LEFT I_WALK I_TURN_LEFT I_WALK I_TURN_LEFT I_WALK "
            "I_TURN_LEFT I_TURN_LEFT I_JUMP",
        ),
    ],
)
def test_published_examples(command: str, actions: str) -> None:
    assert commands()[command] == tuple(actions.split())


@pytest.mark.parametrize(
    ("split", "training", "test", "primitive", "copies"),
    [
        ("simple", 16_728, 4_182, None, 0),
        ("length", 16_990, 3_920, None, 0),
        ("add-jump", 14_670, 7_706, "jump", 1_467),
        ("turn-left", 21_890, 1_208, "turn left", 2_189),
        ("around-right", 15_225, 4_476, None, 0),
    ],
)
def test_splits_have_the_published_sizes(
    split: str, training: int, test: int, primitive: str | None, copies: int
) -> None:
    shown, held = published(split)
    assert (len(shown), len(held)) == (training, test)
    assert not set(shown) & set(held)
    repeated = {command: times for command, times in Counter(shown).items() if times > 1}
    assert repeated == ({primitive: copies} if primitive else {})
    if primitive:
        assert copies / training == pytest.approx(0.1, abs=1e-4)


def test_what_the_splits_hold_out() -> None:
    every = commands()
    shown, held = published("length")
    assert max(len(every[command]) for command in shown) == 22
    assert {len(every[command]) for command in held} <= set(range(24, 49))
    for split, words in (("add-jump", "jump"), ("turn-left", "turn left")):
        shown, held = published(split)
        assert {command for command in shown if words in command} == {words}
        assert all(words in command for command in held)
    shown, held = published("around-right")
    assert not any("around right" in command for command in shown)
    assert all("around right" in command for command in held)


@pytest.mark.parametrize("split", ["simple", "length", "add-jump", "turn-left", "around-right"])
def test_evaluation_is_on_the_test_commands_alone(split: str) -> None:
    task = scan(split=split)
    shown, held = published(split)
    rng = np.random.default_rng(0)
    drawn = task.sample(rng, 3000)
    trained = {task.source_text(drawn, b) for b in range(3000)}
    assert trained <= set(shown)
    validation, test = (task.split(name, rng, 10_000) for name in ("validation", "test"))
    read = [{task.source_text(batch, b) for b in range(batch.size)} for batch in (validation, test)]
    assert not read[0] & read[1]
    assert read[0] | read[1] == set(held)


def test_the_lone_primitive_is_a_tenth_of_what_is_drawn() -> None:
    task = scan(split="add-jump")
    batch = task.sample(np.random.default_rng(0), 20_000)
    alone = np.mean([task.source_text(batch, b) == "jump" for b in range(20_000)])
    assert abs(alone - 0.1) < 4 * (0.09 / 20_000) ** 0.5


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    few, many = (set(scan(share=share).corpus.rows["training"].tolist()) for share in (0.01, 0.04))
    assert (len(few), len(many)) == (209, 836)
    assert few < many
    assert np.array_equal(scan(share=0.01).corpus.rows["test"], scan().corpus.rows["test"])


def test_one_wrong_action_or_a_missing_one_is_a_wrong_sequence() -> None:
    task = scan()
    batch = task.split("test", np.random.default_rng(0), 4)
    answer = task.oracle_answer(batch)
    assert answer is not None
    assert task.judge(answer, batch) == {"sequence_accuracy": 1.0}
    wrong = answer.values.copy()
    wrong[0, 0] = wrong[0, 0] % 6 + 1
    assert task.judge(Answer(wrong, answer.lengths), batch) == {"sequence_accuracy": 0.75}
    shorter = answer.lengths - np.array([0, 1, 0, 1])
    assert task.judge(Answer(answer.values, shorter), batch) == {"sequence_accuracy": 0.5}
    endless = np.concatenate([answer.values, np.ones((20, 4), int)])
    assert task.judge(Answer(endless, answer.lengths + 20), batch) == {"sequence_accuracy": 0.0}


def test_bad_options() -> None:
    with pytest.raises(UserError, match=r"^task 'scan': .*share is for the simple split"):
        TaskSpec(name="scan", split="length", share=0.1)
    with pytest.raises(UserError, match=r"^task 'scan': split: .*'simple', 'length'"):
        TaskSpec(name="scan", split="jump")
