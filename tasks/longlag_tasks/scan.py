"""SCAN: commands in a small language to the actions they stand for, with the published splits."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag_tasks._accuracy import AccuracyOptions
from longlag_tasks._pairs import ENDING, Coded, Corpus, PairTask, symbols_of
from longlag_tasks._scores import CROSS_ENTROPY, SEQUENCE_ACCURACY, TOKEN_ACCURACY

SplitName = Literal["simple", "length", "add-jump", "turn-left", "around-right"]
SPLIT_SEED = 0
"""Of every draw that fixes a split: the same commands on every machine, whatever the run's seed."""

LONGEST_IN_TRAINING = 22
SIMPLE_SHARE = 16_728 / 20_910
OVERSAMPLED = 0.1
"""The share of the training set that copies of the lone primitive make up."""


class ScanOptions(AccuracyOptions):
    """Options of `Scan`."""

    split: SplitName = Field(
        "simple",
        description="simple: a random 80%; length: up to 22 actions, longer ones for the test; add-jump, turn-left: "
        "the primitive alone, all that contains it for the test (Lake and Baroni 2018); around-right: no "
        "'around right' (Loula et al. 2018)",
    )
    share: float = Field(
        0.8, gt=0, le=0.8, description="simple: share of all commands that is trained on (paper: 0.01 ... 0.64, 0.8)"
    )
    solved_accuracy: float = Field(
        0.99, gt=0, le=1, description="solved when so large a share of the validation commands is right throughout"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.split != "simple" and self.share != 0.8:
            raise ValueError(f"the split {self.split!r} has its own training set: share is for the simple split")
        return self


class Scan(PairTask[ScanOptions]):
    """Commands such as ``jump twice after walk left`` to ``I_TURN_LEFT I_WALK I_JUMP I_JUMP``.

    All 20,910 commands of the grammar (Lake and Baroni 2018, figures 6 and 7)::

        C -> S and S | S after S | S      [[x and y]] = [[x]] [[y]],  [[x after y]] = [[y]] [[x]]
        S -> V twice | V thrice | V       two, three times the actions
        V -> D[1] opposite D[2] | D[1] around D[2] | D | U
        D -> U left | U right | turn left | turn right
        U -> walk | look | run | jump

    ``u left`` turns left and does u; ``u opposite left`` turns twice; ``u around left`` turns and does u four times.

    Shapes: inputs int64 ``[T, B]``, up to 9 words of 13; targets int64 ``[U, B]``, up to 48 of 6 actions and the end.
    The loss is the cross-entropy in nats a symbol.
    """

    metrics = (CROSS_ENTROPY, TOKEN_ACCURACY, SEQUENCE_ACCURACY)

    @property
    def corpus(self) -> Corpus:
        return prepared(self.options.split, self.options.share)


@cache
def commands() -> dict[str, tuple[str, ...]]:
    """Every command of the grammar with its actions."""
    plain = {"walk": "I_WALK", "look": "I_LOOK", "run": "I_RUN", "jump": "I_JUMP"}
    verbs: dict[str, tuple[str, ...]] = {word: (action,) for word, action in plain.items()}
    doing: dict[str, tuple[str, ...]] = {**verbs, "turn": ()}
    for side, (word, act) in itertools.product(("left", "right"), doing.items()):
        turn = (f"I_TURN_{side.upper()}",)
        verbs[f"{word} {side}"] = turn + act
        verbs[f"{word} opposite {side}"] = turn * 2 + act
        verbs[f"{word} around {side}"] = (turn + act) * 4
    sentences = {
        verb + ending: actions * times
        for verb, actions in verbs.items()
        for ending, times in (("", 1), (" twice", 2), (" thrice", 3))
    }
    found = dict(sentences)
    for (one, first), (other, second) in itertools.product(sentences.items(), repeat=2):
        found[f"{one} and {other}"] = first + second
        found[f"{one} after {other}"] = second + first
    return found


def published(split: SplitName) -> tuple[list[str], list[str]]:
    """The training commands, copies included, and the test commands of a split, each in the grammar's order."""
    every = list(commands())
    if split == "simple":
        order = np.random.default_rng(SPLIT_SEED).permutation(len(every))
        count = round(SIMPLE_SHARE * len(every))
        return [every[n] for n in order[:count]], [every[n] for n in order[count:]]
    if split == "length":
        long = {command for command, actions in commands().items() if len(actions) > LONGEST_IN_TRAINING}
        return [c for c in every if c not in long], [c for c in every if c in long]
    if split == "around-right":
        without = [c for c in every if "around right" not in c]
        return without, [c for c in every if "around right" in c and "turn around right" not in c]
    primitive = {"add-jump": "jump", "turn-left": "turn left"}[split]
    without = [command for command in every if primitive not in command]
    copies = round(len(without) * OVERSAMPLED / (1 - OVERSAMPLED))
    return without + [primitive] * copies, [c for c in every if primitive in c and c != primitive]


@cache
def prepared(split: SplitName, share: float) -> Corpus:
    """The coded commands. A quarter of the test commands is for validation, the rest for the test."""
    every = {command: row for row, command in enumerate(commands())}
    sources, targets = [command.split() for command in every], list(commands().values())
    training, test = published(split)
    if split == "simple":
        training = training[: round(share * len(every))]
    rows = np.array([every[command] for command in test])
    rows = rows[np.random.default_rng(SPLIT_SEED + 1).permutation(len(rows))]
    quarter = len(rows) // 4
    return Corpus(
        Coded.of(sources, symbols_of(sources), end=False),
        Coded.of(targets, symbols_of(targets, ENDING), end=True),
        {
            "training": np.array([every[command] for command in training]),
            "validation": rows[:quarter],
            "test": rows[quarter:],
        },
    )
