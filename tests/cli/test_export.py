"""``longlag export``: the folder, what can be done with it, and how it is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from tests.cli.conftest import Longlag

FILES = {"README.md", "curves.json", "curves.parquet", "environment.json", "model.onnx", "predictions.csv",
         "result.json", "spec.json", "weights.safetensors"}  # fmt: skip
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


def test_nothing_is_overwritten_unasked(
    longlag: Longlag, tiny_options: list[str], shared_home: Path, tmp_path: Path
) -> None:
    run = str(trained(longlag, tiny_options, shared_home)["run_id"])
    there = tmp_path / "mine"
    there.mkdir()
    (there / "thesis.txt").write_text("years of work")
    for more in ([], ["--force"]):  # it is no earlier export
        done = longlag("export", run, "--to", str(there), "--home", str(shared_home), *more)
        assert done.code == 2 and "is there already" in done.err
    assert (there / "thesis.txt").read_text() == "years of work"
    assert longlag("export", run, "--to", "once", "--home", str(shared_home)).code == 0
    assert longlag("export", run, "--to", "once", "--home", str(shared_home)).code == 2
    assert longlag("export", run, "--to", "once", "--home", str(shared_home), "--force").code == 0


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
