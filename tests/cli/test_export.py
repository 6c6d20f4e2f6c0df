"""``longlag export``: the folder, what can be done with it, and how it is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from longlag import files
from longlag.errors import UserError
from longlag.export import place
from tests.cli.conftest import Done, Longlag

FILES = {"README.md", "curves.json", "curves.parquet", "environment.json", "longlag-export.json", "model.onnx",
         "predictions.csv", "result.json", "spec.json", "weights.safetensors"}  # fmt: skip
TIMES = {"wall_seconds", "cpu_seconds"}


def trained(longlag: Longlag, options: list[str], home: Path, cell: str = "lstm") -> dict[str, object]:
    done = longlag("run", "adding", "--cell", cell, *options, "--home", str(home), "--json")
    assert done.code == 0, done.err
    return dict(json.loads(done.out))


def test_the_folder_holds_the_run(longlag: Longlag, tiny_options: list[str], shared_home: Path, tmp_path: Path) -> None:
    run = trained(longlag, tiny_options, shared_home)
    key, folder = str(run["run_key"]), tmp_path / "shared"
    done = longlag("export", key[:12], "--to", str(folder), "--home", str(shared_home))
    assert done.code == 0, done.err
    assert "model.onnx agrees with the run's own network" in done.out
    assert {path.name for path in folder.iterdir()} == FILES

    table = pq.read_table(folder / "curves.parquet").to_pandas()
    loss = table[table.metric == "train/loss"]
    assert list(loss.step) == [1, 2, 4]
    said = json.loads((folder / "curves.json").read_text())
    assert said["train/loss"]["last"] == {"step": 4, "value": float(loss.value.iloc[-1])}
    assert said["test/mse"]["last"]["value"] == run["test"]["mse"]  # type: ignore[index]
    assert json.loads((folder / "environment.json").read_text())["torch"]
    readme = (folder / "README.md").read_text()
    assert f"run_key `{key}`" in readme and "`[T, B, 2]`" in readme


def test_what_the_readme_says_works(
    longlag: Longlag, tiny_options: list[str], shared_home: Path, tmp_path: Path
) -> None:
    """In a fresh process, in the folder: load and predict, by the harness and by ONNX Runtime; repeat it elsewhere."""
    run = trained(longlag, tiny_options, shared_home)
    folder = tmp_path / "shared"
    assert longlag("export", str(run["run_id"]), "--to", str(folder), "--home", str(shared_home)).code == 0
    readme = (folder / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 2
    compare = "\nimport numpy as np\nprint(float(np.abs(outputs - trained.predict(trained.inputs)['outputs']).max()))"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks) + compare], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 1e-4

    spec = str(folder / "spec.json")
    found = json.loads(longlag("run", "--spec", spec, "--home", str(shared_home), "--json").out)
    assert not found["trained"] and found["run_id"] == run["run_id"]
    other = tmp_path / "other"
    again = json.loads(longlag("run", "--spec", spec, "--home", str(other), "--json").out)
    assert again["trained"] and again["run_key"] == run["run_key"]
    for name in set(run) - TIMES - {"run_id", "experiment", "tracking_uri", "trained"}:
        assert again[name] == run[name], name
    assert longlag("export", str(run["run_key"]), "--to", str(tmp_path / "twin"), "--home", str(other)).code == 0
    mine, theirs = (load_file(tmp_path / name / "weights.safetensors") for name in ("shared", "twin"))
    assert mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_a_cell_without_an_onnx_form(longlag: Longlag, tiny_options: list[str], shared_home: Path) -> None:
    run = trained(longlag, tiny_options, shared_home, "mgu")
    done = longlag("export", str(run["run_id"]), "--home", str(shared_home), "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["folder"] == f"adding-mgu-{str(run['run_key'])[:8]}"
    assert "no operator for the cell MGU" in said["no_onnx_because"] and "model.onnx" not in said["files"]
    assert "There is no model.onnx: ONNX has no operator" in (Path(said["folder"]) / "README.md").read_text()


def test_the_best_run_of_a_study(longlag: Longlag, tiny_options: list[str], shared_home: Path, tmp_path: Path) -> None:
    study = ["sweep", "adding", "--cell", "rnn,gru", "--name", "pair", "--seeds", "0,1"]
    done = longlag(*study, *tiny_options, "--home", str(shared_home), "--json")
    assert done.code == 0, done.err
    trials = json.loads(done.out)["trials"]
    scores = [run["validation"]["mse"] for run in trials[0]["runs"]]
    assert longlag("export", "pair:best", "--to", str(tmp_path / "b"), "--home", str(shared_home)).code == 0
    result = json.loads((tmp_path / "b" / "result.json").read_text())
    assert result["run_key"] == trials[0]["runs"][scores.index(min(scores))]["run_key"]
    assert "the best run of the study `pair`" in (tmp_path / "b" / "README.md").read_text()

    refused = {
        "pair:bets": "only pair:best can be named; did you mean 'best'?",
        "pair": "did you mean 'pair:best'?",
        "par:best": "did you mean 'pair'?",
        "0" * 32: "there is no run",
        "abc": "4 or more letters of a run_key",
    }
    for name, said in refused.items():
        wrong = longlag("export", name, "--home", str(shared_home))
        assert wrong.code == 2 and said in wrong.err and "Traceback" not in wrong.err, (name, wrong.err)


@pytest.fixture
def exported(longlag: Longlag, tiny_options: list[str], shared_home: Path) -> Longlag:
    """``exported(folder, ...)`` exports one run into a folder."""
    run = str(trained(longlag, tiny_options, shared_home)["run_id"])

    def export(*arguments: str) -> Done:
        return longlag("export", run, "--home", str(shared_home), "--to", *arguments)

    return export


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_earlier_export_is_replaced_only_with_force(exported: Longlag, tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()  # nothing is in it that could be lost
    assert exported("once").code == 0
    first = everything(tmp_path / "once")
    listed = json.loads(first["longlag-export.json"])["files"]
    assert listed == {n: hashlib.sha256(data).hexdigest() for n, data in first.items() if n in listed}
    assert listed.keys() == FILES - {"longlag-export.json"}
    again = exported("once")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "once is there already; --force replaces an earlier export: name another folder by --to" in again.err
    (tmp_path / "once" / "curves.json").unlink()  # what the user no longer has is no loss either
    assert exported("once", "--force").code == 0
    assert everything(tmp_path / "once").keys() == first.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["once"], "nothing is left beside it"


def foreign_file(folder: Path) -> None:
    (folder / "thesis.txt").write_text("years of work")


def foreign_folder(folder: Path) -> None:
    (folder / "notes").mkdir()


def foreign_link(folder: Path) -> None:
    (folder / "data").symlink_to(folder.parent)


def changed_file(folder: Path) -> None:
    (folder / "README.md").write_text("my notes on this run")


def file_become_link(folder: Path) -> None:
    (folder / "README.md").rename(folder.parent / "mine.md")
    (folder / "README.md").symlink_to(folder.parent / "mine.md")


def no_marker(folder: Path) -> None:
    (folder / "longlag-export.json").unlink()


def false_marker(folder: Path) -> None:
    """The list names a file more, but nobody corrected its checksum."""
    foreign_file(folder)
    marker = folder / "longlag-export.json"
    fields = json.loads(marker.read_text())
    fields["files"]["thesis.txt"] = hashlib.sha256(b"years of work").hexdigest()
    marker.write_text(json.dumps(fields))


def home(folder: Path) -> None:
    (folder / "home.json").write_text('{"layout": 1}')


def repository(folder: Path) -> None:
    (folder / ".git").write_text("gitdir: elsewhere")


NOT_OURS: dict[Callable[[Path], None], str] = {
    foreign_file: "it holds thesis.txt, which no export wrote",
    foreign_folder: "it holds notes, which no export wrote",
    foreign_link: "it holds data, which no export wrote",
    changed_file: "README.md in it was changed since it was exported",
    file_become_link: "README.md in it was changed since it was exported",
    no_marker: "it holds no longlag-export.json, so no export wrote it",
    false_marker: "its longlag-export.json is damaged (its checksum differs)",
    home: "it is a longlag home",
    repository: "it is a git repository",
}


@pytest.mark.fault
def test_a_folder_with_anything_that_no_export_wrote_stays_as_it_is(exported: Longlag, tmp_path: Path) -> None:
    assert exported("whole").code == 0
    for change, what in NOT_OURS.items():
        folder = tmp_path / change.__name__
        shutil.copytree(tmp_path / "whole", folder)
        change(folder)
        with pytest.raises(UserError) as refused:
            place.refuse(folder, force=True)
        sentence = f"{folder} cannot be replaced by an export: {what}; name another folder by --to"
        assert str(refused.value) == sentence
    before = everything(tmp_path)
    done = exported("foreign_file", "--force")
    what = NOT_OURS[foreign_file]
    sentence = f"error: foreign_file cannot be replaced by an export: {what}; name another folder by --to"
    assert (done.code, done.err.strip()) == (2, sentence)
    assert everything(tmp_path) == before


@pytest.mark.fault
def test_where_the_user_is_nothing_is_replaced(
    exported: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "project" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    (here / "spec.json").write_text("{}")  # enough, once, to delete everything beside it
    (here / "link").symlink_to(tmp_path)
    (here / "file").write_text("mine")
    before = everything(tmp_path)
    current = "the current folder is it, or in it"
    for to, what in {"..": current, "": current, "link": "it is a link", "file": "it is a file"}.items():
        with pytest.raises(UserError, match=f"cannot be replaced by an export: {what}; name another folder by --to"):
            place.refuse(Path(to), force=True)
    done = exported(".", "--force")
    assert done.code == 2 and f". cannot be replaced by an export: {current}; name another" in done.err
    assert everything(tmp_path) == before


@pytest.mark.fault
def test_an_export_that_fails_leaves_the_earlier_one(
    exported: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the last file; a file is added at the last moment."""
    assert exported("mine").code == 0
    before = everything(tmp_path)

    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "flush", full)
        done = exported("mine", "--force")
    assert (done.code, done.err.strip()) == (2, "error: mine cannot be written: No space left on device")
    assert everything(tmp_path) == before

    def mark(folder: Path, run_key: str, mark: Any = place.mark) -> None:
        mark(folder, run_key)
        foreign_file(tmp_path / "mine")

    monkeypatch.setattr(place, "mark", mark)
    done = exported("mine", "--force")
    assert done.code == 2 and "it holds thesis.txt, which no export wrote" in done.err
    assert everything(tmp_path) == {**before, "mine/thesis.txt": b"years of work"}


def test_no_home(longlag: Longlag) -> None:
    done = longlag("export", "quickstart:best")
    assert done.code == 2 and "no such folder" in done.err


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra(
    longlag: Longlag, tiny_options: list[str], shared_home: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    run = str(trained(longlag, tiny_options, shared_home)["run_id"])
    monkeypatch.setitem(sys.modules, missing, None)
    said = json.loads(longlag("export", run, "--to", missing, "--home", str(shared_home), "--json").out)
    assert "pip install 'longlag[onnx]'" in said["no_onnx_because"]
