"""The home folder: what opens, and what every mistake is answered with."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from longlag.errors import UserError
from longlag.tracking.home import Home


@pytest.mark.parametrize("name", ["plain", "with space", "ünï-çödé 😀", "a#b%20c", "x" * 100, "it's"])
def test_a_home_opens_again_under_any_name(tmp_path: Path, name: str) -> None:
    made = Home.open(tmp_path / name)
    assert json.loads((tmp_path / name / "home.json").read_text())["layout"] == 1
    assert Home.open(str(tmp_path / name), create=False) == made
    assert [path.name for path in made.root.iterdir()] == ["home.json"]


def test_the_databases_are_two_files_with_absolute_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = Home.open("relative/../home")
    assert home.root == tmp_path / "home"
    assert home.tracking_uri == f"sqlite:///{tmp_path}/home/mlflow.db"
    assert home.optuna_url != home.tracking_uri


def test_the_variable_names_the_home_and_the_argument_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LONGLAG_HOME", raising=False)
    assert Home.open().root == tmp_path / "longlag-home"
    monkeypatch.setenv("LONGLAG_HOME", str(tmp_path / "variable"))
    assert Home.open().root == tmp_path / "variable"
    assert Home.open(tmp_path / "argument").root == tmp_path / "argument"


def home_with(path: Path, marker: str) -> Path:
    path.mkdir()
    (path / "home.json").write_text(marker)
    return path


def test_a_newer_layout_is_refused_and_left_alone(tmp_path: Path) -> None:
    marker = '{"layout": 2, "longlag": "9.1"}'
    path = home_with(tmp_path / "home", marker)
    with pytest.raises(
        UserError, match=r"was made by longlag 9\.1 with layout 2; this longlag knows layout 1: upgrade"
    ):
        Home.open(path)
    assert [entry.name for entry in path.iterdir()] == ["home.json"]
    assert (path / "home.json").read_text() == marker


@pytest.mark.parametrize(
    "marker", ["", "{", "[]", "{}", '{"layout": "1"}', '{"layout": 0}', '{"layout": true}', "null"]
)
def test_a_damaged_marker_is_named(tmp_path: Path, marker: str) -> None:
    path = home_with(tmp_path / "home", marker)
    with pytest.raises(UserError, match=r"home\.json is damaged"):
        Home.open(path)
    assert (path / "home.json").read_text() == marker


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("mine")
    with pytest.raises(UserError, match="is a file, not a folder"):
        Home.open(tmp_path / "home")
    with pytest.raises(UserError, match="cannot be"):
        Home.open(tmp_path / "home" / "below")
    assert (tmp_path / "home").read_text() == "mine"


@pytest.mark.parametrize("path", ["/proc/longlag-home", "/sys/longlag-home", "/dev/null/home", "/tmp/" + "x" * 300])
def test_where_nothing_can_be_written(path: str) -> None:
    with pytest.raises(UserError, match=r"cannot be (written|read)"):
        Home.open(path)


@pytest.mark.fault
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("call", ["flock", "lockf"])
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_a_file_system_without_locks_is_one_sentence(
    exists: bool, call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    if exists:
        Home.open(tmp_path / "home")
    monkeypatch.setattr(fcntl, call, missing)
    with pytest.raises(UserError) as refused:
        Home.open(tmp_path / "home")
    said = f"the file system of {tmp_path / 'home'} has no file locks ({os.strerror(number)}), and without them two "
    assert str(refused.value).startswith(said)
    assert [path.name for path in (tmp_path / "home").iterdir()] == (["home.json"] if exists else [])
    monkeypatch.undo()
    Home.open(tmp_path / "home")


def test_a_missing_home_is_not_made_for_reading(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no longlag home at .*; run a sweep first or give --home"):
        Home.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_question_mark_would_end_a_database_address(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'\?'"):
        Home.open(tmp_path / "why?")


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, longlag.tracking.home as h; print([m for m in ('mlflow', 'torch', 'numpy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
