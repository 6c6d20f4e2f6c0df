"""Files of a home that were damaged: no number is read from them, one line says so, and `longlag doctor` names them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from longlag import files
from longlag.cli import checks
from longlag.errors import UserError
from longlag.spec import load_run
from longlag.tracking.home import Home
from longlag.tracking.pending import Pending
from longlag.tracking.store import Store
from longlag.tracking.upload import Upload
from longlag.training import train
from longlag.training.checkpoint import Checkpoint, Checkpoints
from longlag.training.trained import load
from longlag.training.weights import packed
from tests.cli.conftest import Done, Longlag
from tests.conftest import TINY
from tests.damage import DAMAGES, damage

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str, Path]:
    """A store with one finished run, its id, and the folder of its files."""
    store = Store.open(Home.open(tmp_path_factory.mktemp("damaged") / "home"))
    callback = store.callback(store.experiment("damaged"))
    train(load_run({**TINY, "probe": {"log_every": 2}}), [callback], cache=store.home.datasets)
    assert callback.run_id is not None
    return store, callback.run_id, store.home.artifacts / callback.run_id / "artifacts"


def another_score(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "score": 0.0}).encode()


def another_run(data: bytes) -> bytes:
    fields, _ = files.unsealed(data)
    return json.dumps(files.sealed({**fields, "run_key": "0" * 64})).encode()


@pytest.mark.parametrize("change", [another_score, another_run, *DAMAGES.values()])
def test_no_number_comes_from_a_damaged_result(
    change: Callable[[bytes], bytes], trained: tuple[Store, str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    store, run_id, folder = trained
    path = folder / "result.json"
    whole = path.read_bytes()
    assert store.get(run_id).result is not None and not caplog.messages
    path.write_bytes(change(whole))
    try:
        assert store.get(run_id).result is None
    finally:
        path.write_bytes(whole)
    (line,) = caplog.messages
    assert line.startswith(f"run {run_id} is left out, its result cannot be read: it")
    assert "LONGLAG_BOMB" not in os.environ


def test_a_run_whose_result_is_damaged_is_trained_again_with_one_line(
    longlag: Longlag, tiny_options: list[str], tmp_path: Path
) -> None:
    words = ["run", "adding", "--cell", "rnn", *tiny_options, "--json"]
    first = json.loads(longlag(*words).out)
    (path,) = tmp_path.rglob("result.json")
    path.write_bytes(another_score(path.read_bytes()))
    done = longlag(*words)
    again = json.loads(done.out)
    assert again["trained"] and (again["score"], again["test"]) == (first["score"], first["test"])
    (line,) = [line for line in done.err.splitlines() if "left out" in line]
    assert line == f"warning: run {first['run_id']} is left out, its result cannot be read: its checksum differs"
    assert not json.loads(longlag(*words).out)["trained"]


@pytest.mark.parametrize("name", [*DAMAGES, "of another run"])
def test_damaged_weights_are_refused_in_a_sentence(name: str, trained: tuple[Store, str, Path]) -> None:
    store, run_id, folder = trained
    path = folder / "weights.safetensors"
    whole = path.read_bytes()
    if name == "of another run":
        spec, weights = store.trained(run_id)
        path.write_bytes(packed(spec.model_copy(update={"seed": 1}), weights))
    else:
        damage(path, name)
    try:
        with pytest.raises(UserError) as refused:
            store.trained(run_id)
    finally:
        path.write_bytes(whole)
    start, end = f"weights.safetensors of run {run_id} cannot be used: it", "`longlag run … --force` trains it again"
    assert str(refused.value).startswith(start) and str(refused.value).endswith(end)
    assert "LONGLAG_BOMB" not in os.environ


@pytest.mark.parametrize("name", [*DAMAGES, "another spec", "no weights"])
def test_a_damaged_export_is_refused_in_a_sentence(name: str, trained: tuple[Store, str, Path], tmp_path: Path) -> None:
    """Spec and weights, as the README of an export loads them."""
    for file in ("spec.json", "weights.safetensors"):
        shutil.copy(trained[2] / file, tmp_path)
    assert load(tmp_path).spec.cell.name == "rnn"
    spec, weights = tmp_path / "spec.json", tmp_path / "weights.safetensors"
    if name == "another spec":
        spec.write_text(spec.read_text().replace('"length":6', '"length":7'))
        sentence = f"{weights} cannot be used: it holds the weights of another run"
    elif name == "no weights":
        weights.unlink()
        sentence = f"cannot read {weights}: No such file or directory"
    else:
        damage(weights, name)
        sentence = f"{weights} cannot be used: it"
    with pytest.raises(UserError, match=sentence):
        load(tmp_path)


@pytest.mark.parametrize("path", ["docs/papers/le-2015.json", "docs/horizon/adding.json"])
def test_a_report_from_changed_measurements_is_refused_in_a_sentence(
    path: str, longlag: Longlag, tmp_path: Path
) -> None:
    file = tmp_path / "x.json"
    text = (ROOT / path).read_text()
    assert '"sha256"' in text
    file.write_text(text.replace('"seed": 1,', '"seed": 7,', 1))
    command = ["report", "x.json"] if "papers" in path else ["horizon", "--from", "x.json", "--page", "page.md"]
    done = longlag(*command)
    kind = "paper" if "papers" in path else "horizon"
    sentence = f"error: x.json holds no measurements of a {kind} study as longlag wrote them: its checksum differs"
    assert (done.code, done.err.strip()) == (2, sentence)
    assert list(tmp_path.iterdir()) == [file]


def test_a_damaged_database_is_one_sentence_and_costs_no_run(
    longlag: Longlag, tiny_options: list[str], tmp_path: Path
) -> None:
    def sweep(home: Path, *options: str) -> Done:
        return longlag("sweep", "adding", "--cell", "rnn", "--name", "s", "--home", str(home), *tiny_options, *options)

    before = sweep(tmp_path / "home", "--json")
    assert before.code == 0, before.err
    for name, change in {"mlflow.db": "cut off", "optuna.db": "foreign"}.items():
        home = tmp_path / name.replace(".", "-")  # this process keeps open the databases that it has used
        shutil.copytree(tmp_path / "home", home, ignore=shutil.ignore_patterns(f"{name}?*"))
        damage(home / name, change)
        for done in (sweep(home), longlag("report", "s", "--home", str(home))):
            assert done.code == 2 and done.err.count("error: ") == 1 and "Traceback" not in done.err
            assert f"{name} cannot be used" in done.err and "restore it from a backup, or move it away" in done.err
        found = json.loads(longlag("doctor", "--home", str(home), "--json").out)
        assert "wrong" in [line["state"] for line in found if line["what"] == name]
        again = shutil.copytree(home, tmp_path / f"{home.name}-again", ignore=shutil.ignore_patterns(f"{name}*"))
        after = sweep(again, "--json")
        assert after.code == 0, after.err
        assert runs(after) == runs(before), "the run was read from its files, not trained again"


def runs(done: Done) -> list[dict[str, Any]]:
    return [run for trial in json.loads(done.out)["trials"] for run in trial["runs"]]


def test_the_doctor_names_every_damaged_file_and_repairs_what_can_be(
    longlag: Longlag, trained: tuple[Store, str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_machine", lambda repair: ())  # it compiles a cell
    home = Home(trained[0].home.root)
    run_id, artifacts = trained[1:]
    for update in (1, 2):
        Checkpoints(home.checkpoints / "abc").write(Checkpoint(update, {}, {"w": torch.ones(3)}))
    record = home.reports / "horizon" / "adding.json"
    record.parent.mkdir(parents=True)
    shutil.copy(ROOT / "docs/horizon/adding.json", record)
    draft = home.datasets / f".x.arrow.{'0' * 32}"
    draft.touch()
    os.utime(draft, (0, 0))
    (tmp_path / "files").mkdir()
    pending = Pending.begin(home.spool, Upload("http://127.0.0.1:9", "0", "run", 1, {}))
    pending.end(tmp_path / "files", "FINISHED", {})
    pending.release()
    (upload,) = home.spool.glob("*/upload.json")
    aside = home.spool / "set-aside" / upload.parent.name
    split = sorted(home.datasets.glob("*.arrow"))[0]

    def found(state: str, *options: str) -> dict[str, str]:
        done = longlag("doctor", "--home", str(home.root), "--json", *options)
        lines = json.loads(done.out)
        assert done.code == any(line["state"] == "wrong" for line in lines)
        return {line["what"]: line["about"] for line in lines if line["state"] == state}

    assert found("wrong") == {}
    differs = "its checksum differs"
    damaged = {
        split: (f"split {split.name}", f"{differs}; it is drawn again when a run needs it"),
        home.checkpoints / "abc" / "00000002.safetensors": (
            "checkpoint abc",
            "at update 1, 0 days old; update 2 is damaged: the checksum of 00000002.safetensors differs",
        ),
        artifacts / "weights.safetensors": (f"run {run_id}", f"weights.safetensors: {differs}"),
        record: (f"report {record}", f"{differs}; the study that wrote it writes it again"),
        upload: (f"spool {upload.parent.name}", f"{differs}; the run's own files are in {aside}"),  # moved meanwhile
    }
    for path in damaged:
        data = path.read_bytes()
        place = data.index(b": 1") + 2 if path.suffix == ".json" else len(data) - 5
        path.write_bytes(data[:place] + bytes([data[place] ^ 2]) + data[place + 1 :])
    assert found("wrong") == dict(damaged.values())
    assert found("note")["splits"] == "1 files that a killed process did not finish"
    repaired = found("repaired", "--repair")
    assert set(repaired) == {"splits", f"split {split.name}", "checkpoint abc", f"run {run_id}"}
    assert not split.exists() and not draft.exists() and not (artifacts / "weights.safetensors").exists()
    assert set(found("wrong")) == {f"report {record}", f"spool {upload.parent.name}"}
    assert "at update 1" in found("note")["checkpoint abc"]

    damage(artifacts / "result.json", "cut off")
    assert found("wrong")[f"run {run_id}"].endswith("; the run is trained again when it is asked for")
    assert f"run {run_id}" in found("repaired", "--repair") and f"run {run_id}" not in found("wrong")
    run = trained[0].client.get_run(run_id)
    assert run.info.status == "FAILED" and run.data.tags["reason"].startswith("result.json: it is cut off")
