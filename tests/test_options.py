"""Options of tasks and cells are typed: the class in brackets is validated, and mypy checks its names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mypy import api
from typing_extensions import TypeVar

from longlag.cells import Cell
from longlag.options import Options
from longlag.task import Task

ROOT = Path(__file__).resolve().parents[1]


class Short(Options):
    length: int = 3


class Long(Short):
    length: int = 300


ShortT_co = TypeVar("ShortT_co", bound=Short, default=Short, covariant=True)


class Plain(Task): ...


class Direct(Task[Short]): ...


class Inherited(Direct): ...


class Family(Task[ShortT_co]): ...


class Unnamed(Family): ...


class Member(Family[Long]): ...


@pytest.mark.parametrize(
    ("definition", "options"),
    [(Plain, Options), (Direct, Short), (Inherited, Short), (Family, Short), (Unnamed, Short), (Member, Long)],
)
def test_the_options_are_those_in_brackets(definition: type[Task], options: type[Options]) -> None:
    assert definition.Options is options


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (lambda: type("Old", (Cell,), {"Options": Short}), "Old: write the options in brackets"),
        (lambda: type("Odd", (Task,), {"__orig_bases__": (Task[int],)}), "Odd: in brackets goes a class derived from"),  # type: ignore[type-var]
    ],
)
def test_a_definition_without_usable_options_is_refused(define: Callable[[], type], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        define()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "option", "class_name"),
    [
        ("adding-a-task.md", "self.options.length", "DigitSumOptions"),
        ("adding-a-cell.md", "self.options.update_bias", "UGRNNOptions"),
    ],
)
def test_mypy_accepts_a_plug_in_and_finds_a_misspelt_option(
    page: str, option: str, class_name: str, tmp_path: Path
) -> None:
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert found is not None and option in found[1]
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(found[1])
    wrong.write_text(found[1].replace(option, f"{option}s"))
    said, errors, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), str(right), str(wrong)])
    attribute = option.rpartition(".")[2]
    assert not errors
    assert "right.py" not in said
    assert re.search(rf'wrong\.py:\d+: error: "{class_name}" has no attribute "{attribute}s"', said)
