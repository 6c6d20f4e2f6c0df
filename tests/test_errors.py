"""What a sentence repeats of a user's values, however long they are."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from longlag.errors import LISTED, LONGEST, clipped, explain, listed, quoted, shortened, suggestion
from longlag.spec import RunSpec


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("lstm", "'lstm'"),
        ([1, "a"], "[1, 'a']"),
        ("\x1b[31m", r"'\x1b[31m'"),
        ("x" * 5000, f"'{'x' * 49}…{'x' * 28}'"),
        pytest.param(10**5000, "a number of thousands of digits", id="digits"),
    ],
)
def test_a_value_is_repeated_with_at_most_eighty_characters(value: object, text: str) -> None:
    assert quoted(value) == text
    assert len(quoted(value)) <= LONGEST


def test_long_names_lists_and_messages_are_cut() -> None:
    assert clipped("a" * LONGEST) == "a" * LONGEST
    assert len(clipped("a" * (LONGEST + 1))) == LONGEST
    assert listed(["lstm", "gru"]) == "lstm, gru"
    assert listed(f"cell-{n:04}" for n in range(1000)).endswith("cell-0035 and 964 more")
    assert len(shortened("word " * 1000)) <= LISTED + 3
    assert suggestion("x" * 10_000, ["x" * 9_999]) == ""


def test_many_mistakes_are_counted_and_each_unknown_field_gets_the_hint_of_its_place() -> None:
    fields = {f"field{n}": 1 for n in range(20)} | {"model": {"hiden_size": 1, "readout": {"hiden": []}}}
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate({"task": "adding", "cell": "rnn", **fields})
    sentence = explain(caught.value, "run", RunSpec)
    assert "no field 'model.readout.hiden'; did you mean 'hidden'?" in sentence
    assert "no field 'model.hiden_size'; did you mean 'hidden_size'?" in sentence
    assert sentence.endswith("; and 17 more")
