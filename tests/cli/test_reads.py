"""What a spec of somebody else reads on this machine is shown before it runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from longlag import registry
from longlag.cli import execute, horizon_study, papers
from longlag.cli.terminal import announce
from longlag.spec import TaskSpec
from tests.cli.conftest import Longlag
from tests.papers.example import FIELDS

TEXT = "the quick brown fox jumps over the lazy dog. " * 100


def paths() -> list[tuple[str, str]]:
    """Every option of a built-in task that names a file or a folder."""
    return [
        (name, option)
        for name in registry.names("task")
        if registry.origin("task", name).startswith("longlag ")
        for option, field in registry.load("task", name).Options.model_fields.items()
        if "str" in str(field.annotation)
        and re.search(r"\b(file|folder|captions in JSON|npz)\b", field.description or "")
        if option not in ("column", "sha256", "source", "target")
    ]


@pytest.mark.parametrize(("task", "option"), paths())
def test_every_option_that_names_a_file_is_among_what_is_read(task: str, option: str) -> None:
    options = registry.load("task", task).Options
    assert options().reads == ()
    assert any("somewhere" in name for name in options.model_construct(**{option: "/somewhere/x"}).reads)


def test_what_longlag_brings_and_data_sets_of_the_hub() -> None:
    assert registry.load("task", "chorales").Options.model_construct(path="music21").reads == ()
    hub = TaskSpec.model_validate({"name": "parallel-corpus", "hub": "somebody/pairs", "unit": "words"})
    assert hub.reads == ("the data set somebody/pairs of the Hugging Face hub",)


@pytest.mark.parametrize("command", ["run", "sweep", "horizon", "reproduce"])
def test_files_are_shown_in_one_line_before_a_command_runs(
    command: str, longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    task: Any = {"name": "characters", "path": "text.txt", "length": 9}
    other = {**task, "path": "other.txt"}
    (tmp_path / "other.txt").write_text(TEXT)
    for place, name in ((execute, "one_run"), (execute, "study"), (horizon_study, "horizon"), (papers, "costs")):
        monkeypatch.setattr(place, name, begun)
    base = {**FIELDS["base"], "task": task}
    specs: dict[str, Any] = {
        "run": {**base, "data": {"beyond": {"other": other}}},
        "sweep": {"name": "s", "base": base, "space": {"task": [task, other]}, "sampler": {"name": "grid"}},
        "reproduce": {**FIELDS, "base": base, "arms": {**FIELDS["arms"], "lstm": {"set": {"task": other}}}},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(specs.get(command)))
    words = {"run": ["--spec", "spec.yaml"], "horizon": ["characters", "--cell", "rnn", "--parameters", "500"]}
    settings = ["--longest", "20", "--set", "task.path=text.txt"] if command == "horizon" else []
    done = longlag(command, *words.get(command, ["spec.yaml"]), *settings)
    files = [tmp_path / "text.txt", *([] if command == "horizon" else [tmp_path / "other.txt"])]
    assert f"reads {', '.join(map(str, files))}\n" in done.err
    assert done.err.endswith("error: it would begin here\n"), done.err


def begun(*arguments: Any, **options: Any) -> Any:
    from longlag.errors import UserError

    raise UserError("it would begin here")


@pytest.mark.parametrize(
    ("reads", "line"),
    [
        ([], ""),
        (["/a", "/b"], "reads /a, /b\n"),
        (["/a\x1b[2J"], "reads /a\\x1b[2J\n"),
        ([f"/{n}" for n in range(25)], f"reads {', '.join(f'/{n}' for n in range(20))} and 5 more\n"),
    ],
)
def test_the_line(reads: Sequence[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    announce(reads)
    assert capsys.readouterr().err == line
