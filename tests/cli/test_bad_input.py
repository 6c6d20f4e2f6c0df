"""Mistakes: one clear sentence, exit code 2, no traceback, and nothing damaged."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Done, Longlag

STUDY: dict[str, Any] = {
    "name": "mine",
    "base": {"task": "adding", "cell": "lstm"},
    "space": {"model.depth": [1, 2]},
    "sampler": {"name": "grid"},
}
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9)
)


@dataclass(frozen=True)
class Bad:
    """A command line, what stands in ``file`` in the current folder, and what the sentence should say."""

    command: str
    says: str
    file: bytes | dict[str, Any] | None = None


def study(**changes: Any) -> dict[str, Any]:
    return {**STUDY, **changes}


RUN = "run adding --cell lstm --updates 2"
SWEEP = "sweep adding --cell lstm --updates 2"
BAD = {
    # names
    "unknown command": Bad("swep adding", "did you mean 'sweep'"),
    "unknown command of many words": Bad(f"{'x' * 500}", f"no such command '{'x' * 49}…"),
    "bytes that are no text": Bad("report \udcff", "'.udcff' is not UTF-8 text".replace(".", "\\")),
    "storage on a host with a long name": Bad(
        f"list studies --storage postgresql://{'x' * 300}/x", "the study storage postgresql+psycopg://xxx"
    ),
    "tracking server with a long address": Bad(
        f"{RUN} --tracking-uri http://127.0.0.1:9/{'x' * 300}", f"http://127.0.0.1:9/{'x' * 31}…{'x' * 29} does not"
    ),
    "database on a host with a long name": Bad(
        f"{RUN} --tracking-uri postgresql://{'x' * 300}", "cannot be used: encoding with 'idna' codec failed"
    ),
    "probe of a long name": Bad(f"probe a{'x' * 300}", f"longlag probe a{'x' * 49}…{'x' * 29} --cell"),
    "pages into a file": Bad(
        "reproduce le-2015 --write file.yaml/below", "file.yaml is no folder; name a folder of yours", b"x"
    ),
    "unknown option": Bad("run adding --cel lstm", "there is no option --cel; did you mean '--cell'?"),
    "unknown task": Bad("run addin --cell lstm", "there is no task named 'addin'; did you mean 'adding'?"),
    "unknown cell": Bad("run adding --cell lstmm", "there is no cell named 'lstmm'; did you mean 'lstm'?"),
    "unknown cell among several": Bad("sweep adding --cell rnn,gur", "there is no cell named 'gur'"),
    "unknown field": Bad(f"{RUN} --set model.hiden_size=3", "did you mean 'hidden_size'?"),
    "unknown section": Bad(f"{RUN} --set modle.depth=3", "no field 'modle'; did you mean 'model'?"),
    "two unknown fields": Bad(
        f"{RUN} --set norm=1 --set clip.norn=1",
        "no field 'clip.norn'; did you mean 'norm'?; no field 'norm'; it has task, cell, model",
    ),
    "unknown option of a cell": Bad(f"{RUN} --set cell.forgetbias=1", "did you mean 'forget_bias'?"),
    "unknown option of a task": Bad(f"{RUN} --set task.lenght=9", "did you mean 'length'?"),
    "unknown optimizer": Bad(f"{RUN} --optimizer adm", "there is no optimizer named 'adm'; did you mean 'adam'?"),
    "unknown name to show": Bad("show lstn", "there is no component or study named 'lstn'; did you mean 'lstm'?"),
    "unknown schema": Bad("schema runs", "did you mean 'run'?"),
    "nothing to list": Bad("list", "longlag list tasks"),
    "unknown list": Bad("list task", "did you mean 'tasks'"),
    "no such study or task": Bad("sweep quikstart", "did you mean 'quickstart'?"),
    "no such file": Bad("sweep fil.yaml", "there is no file fil.yaml; did you mean 'file.yaml'?", study()),
    "no such spec": Bad("run --spec nowhere.yaml", "cannot read nowhere.yaml: No such file or directory"),
    "study not begun": Bad("report quickstart", "no study named 'quickstart'"),
    "ui of nothing": Bad("ui quickstart", "no study named 'quickstart'"),
    # what is missing
    "no task": Bad("run", "which task?"),
    "no cell": Bad("run adding", "which cell?"),
    "no cells": Bad("sweep adding --depth 1,2", "which cells?"),
    "no study": Bad("sweep", "missing argument"),
    # values
    "wrong type": Bad("run adding --cell lstm --depth two", "--depth"),
    "wrong type in a setting": Bad(f"{RUN} --set model.depth=two", "model.depth: Input should be a valid integer"),
    "no depth": Bad(f"{RUN} --depth 0", "model.depth: Input should be greater than 0"),
    "negative length": Bad(f"{RUN} --set task.length=-5", "length should be at least 2"),
    "too short": Bad(f"{RUN} --set task.length=1", "length should be at least 2"),
    "negative seed": Bad(f"{RUN} --seed=-1", "seed: "),
    "learning rate 0": Bad(f"{RUN} --lr 0", "lr: Input should be greater than 0"),
    "not a number": Bad(f"{RUN} --lr nan", "lr: "),
    "no such device": Bad(f"{RUN} --device cuda:7", "there is no 'cuda:7' on this machine"),
    "misspelt device": Bad(f"{RUN} --device gpu", "training.device: "),
    "no threads": Bad(f"{RUN} --threads 0", "--threads"),
    "more threads than any machine": Bad(f"{RUN} --threads 100000", "Input should be less than or equal to 1024"),
    "threads beyond 64 bits": Bad(f"{RUN} --threads 1{'0' * 20}", "Input should be less than or equal to 1024"),
    "more workers than any machine": Bad(
        "sweep quickstart --workers 100000", "--workers: should be a number from 1 to 1024, or auto, not '100000'"
    ),
    "heartbeat of ages": Bad("sweep quickstart --heartbeat-seconds 1" + "0" * 20, "less than or equal to 31536000"),
    "checkpoints of ages": Bad("sweep quickstart --checkpoint-seconds 1e20", "less than or equal to 31536000"),
    "negative resources": Bad(
        "sweep quickstart --executor dask --scheduler tcp://127.0.0.1:9 --resources GPU=-1",
        "resources.GPU: Input should",
    ),
    "nesterov without momentum": Bad(
        f"{RUN} --optimizer sgd --set optimizer.nesterov=true", "needs a momentum above 0"
    ),
    "setting without value": Bad(f"{RUN} --set task.length", "should be path.to.field=value"),
    "setting without path": Bad(f"{RUN} --set =3", "should be path.to.field=value"),
    "setting with a hole": Bad(f"{RUN} --set task..length=3", "should be path.to.field=value"),
    "setting through a number": Bad(f"{RUN} --set seed=1 --set seed.x=3", "seed is a int, so seed.x cannot be set"),
    "setting that is no YAML": Bad(f"{RUN} --set task.length=[1", "--set task.length, line 1: not valid YAML"),
    "long value": Bad(f"{RUN} --cell {'x' * 5000}", f"there is no cell named '{'x' * 49}…{'x' * 28}' ("),
    "bad port": Bad("ui --port 99999", "--port"),
    # files
    "folder as file": Bad("run --spec folder", "cannot read folder: it is a folder, not a file"),
    "pipe as spec of a run": Bad("run --spec pipe.yaml", "cannot read pipe.yaml: it is a pipe, not a file"),
    "pipe as study": Bad("sweep pipe.yaml", "cannot read pipe.yaml: it is a pipe, not a file"),
    "pipe as paper study": Bad("reproduce pipe.yaml", "cannot read pipe.yaml: it is a pipe, not a file"),
    "pipe as measurements": Bad("report pipe.json", "cannot read pipe.json: it is a pipe, not a file"),
    "pipe as data of horizons": Bad("horizon --from pipe.json", "cannot read pipe.json: it is a pipe, not a file"),
    "pipe as page": Bad("reproduce --summary pipe.yaml", "cannot read pipe.yaml: it is a pipe, not a file"),
    "pipe as data": Bad("run characters --cell lstm --set task.path=pipe.json", "pipe.json: it is a pipe, not a file"),
    "device as spec of a run": Bad("run --spec /dev/zero", "cannot read /dev/zero: it is a device, not a file"),
    "device as study": Bad("sweep /dev/zero", "cannot read /dev/zero: it is a device, not a file"),
    "file that says it is empty": Bad("run --spec /proc/self/pagemap", "it is larger than 1,000,000 bytes"),
    "root as corpus": Bad(
        "run speech-corpus --cell lstm --set task.path=/", "/: is the root of the file system; name the folder"
    ),
    "home of nobody": Bad("run characters --cell lstm --set task.path=~nobody9/x", "~nobody9/x: there is no such file"),
    "unreadable file": Bad("run --spec secret.yaml", "cannot read secret.yaml: Permission denied"),
    "invalid YAML": Bad("sweep file.yaml", "file.yaml, line 3: not valid YAML", b"a: 1\nb: [1, 2\n"),
    "YAML bomb": Bad("sweep file.yaml", "more than 100,000 values after its aliases are expanded", BOMB.encode()),
    "recursive alias": Bad("sweep file.yaml", "an alias refers to itself", b"a: &a [*a]\n"),
    "nested without end": Bad("sweep file.yaml", "nested too deeply", b"a: " + b"[" * 9000),
    "not a mapping": Bad("sweep file.yaml", "it holds a list", b"- 1\n"),
    "empty file": Bad("sweep file.yaml", "it holds nothing", b""),
    "not UTF-8": Bad("sweep file.yaml", "file.yaml is not UTF-8 text (byte 6)", b"name: \xff\xfe\n"),
    "NUL in a file": Bad("sweep file.yaml", "not valid YAML", b"name: \x00\n"),
    "huge file": Bad("sweep file.yaml", "cannot read file.yaml: it is larger than 1,000,000 bytes", b"#" * 1_000_001),
    "key twice": Bad("sweep file.yaml", "line 2: not valid YAML: 'name' stands twice", b"name: a\nname: b\n"),
    "code in YAML": Bad("sweep file.yaml", "not valid YAML", b"name: !!python/object/apply:os.abort []\n"),
    "spec of a run as study": Bad("sweep file.yaml", "no field 'task'", {"task": "adding", "cell": "lstm"}),
    "base that is a number": Bad("sweep adding --cell rnn --set base=5", "base: should be a mapping of fields, not 5"),
    "space that is a number": Bad(
        "sweep file.yaml --set space=7 --set model.depth=1", "space: should be a mapping of fields, not 7", study()
    ),
    "points that are a number": Bad(
        "sweep file.yaml --set enqueue=5 --enqueue {}", "enqueue: should be a list of points, not 5", study()
    ),
    "name that is a number": Bad("sweep file.yaml", "line 1: not valid YAML: '7' is no name", b"{7: 8}\n"),
    "target of 5,000 letters": Bad(f"sweep {'x' * 5000}", f"named '{'x' * 49}…{'x' * 28}'"),
    "study as spec of a run": Bad("run --spec file.yaml", "which task?", study()),
    # studies
    "axis without values": Bad("sweep file.yaml", "space.cell: has no values", study(space={"cell": []})),
    "axis of an unknown field": Bad("sweep file.yaml", "no field 'model.dept'", study(space={"model.dept": [1]})),
    "same value twice": Bad("sweep adding --cell rnn,rnn", "space.cell: the value rnn stands twice"),
    "low above high": Bad(
        "sweep file.yaml", "low (3) is above high (1)", study(space={"model.depth": {"low": 3, "high": 1}})
    ),
    "logarithm of 0": Bad(
        "sweep file.yaml",
        "a logarithmic range starts above 0",
        study(space={"optimizer.lr": {"low": 0, "high": 1, "log": True}}),
    ),
    "grid over an open range": Bad(
        "sweep file.yaml",
        "a grid needs a list of values, or a range with a step",
        study(space={"optimizer.lr": {"low": 0.1, "high": 1.5}}),
    ),
    "grid without end": Bad(
        "sweep file.yaml", "has 1,000,000,000 points", study(space={"data.seed": {"low": 1, "high": 10**9}})
    ),
    "seed as an axis": Bad("sweep file.yaml", "seeds of a study go into its field 'seeds'", study(space={"seed": [1]})),
    "no trials": Bad("sweep file.yaml --trials 0", "trials: Input should be greater than 0", study()),
    "how many trials": Bad("sweep file.yaml --sampler tpe", "how many points should the tpe sampler try?", study()),
    "unknown sampler": Bad(
        "sweep file.yaml --sampler gird", "there is no sampler named 'gird'; did you mean 'grid'?", study()
    ),
    "seeds twice": Bad("sweep file.yaml --seeds 0,0", "seeds stand twice: [0, 0]", study()),
    "name with slashes": Bad("sweep file.yaml --name ../../etc", "name: String should match pattern", study()),
    "cell for a file": Bad("sweep file.yaml --cell gru", "--cell: only with a task", study()),
    "setting under an axis": Bad(
        "sweep file.yaml --set model.depth=3", "the study varies 'model.depth'; set space.model.depth instead", study()
    ),
    "setting through a list": Bad(
        "sweep file.yaml --set base.task=[1] --set task.length=3", "base.task is a list", study()
    ),
    # where results are kept
    "home is a file": Bad(f"{RUN} --home file.yaml", "file.yaml is a file, not a folder", b"not a home"),
    "home from a newer version": Bad(f"{RUN} --home newer", "was made by longlag 99.0"),
    "damaged home": Bad(f"{RUN} --home damaged", "home.json is damaged"),
    "no tracking server": Bad(
        f"{RUN} --tracking-uri http://127.0.0.1:9", "the tracking server http://127.0.0.1:9 does not answer"
    ),
    "no tracking database": Bad(
        f"{RUN} --tracking-uri postgresql://127.0.0.1:9/x",
        "the tracking database postgresql://127.0.0.1:9/x cannot be reached (connection failed: ",
    ),
    "tracking database without its driver": Bad(
        f"{RUN} --tracking-uri mysql://127.0.0.1:9/x", "needs the package MySQLdb: pip install mysqlclient"
    ),
    "storage in no folder": Bad(f"{SWEEP} --storage sqlite:///nodir/x.db", "there is no folder "),
    "storage that is a pipe": Bad(f"{SWEEP} --storage sqlite:///pipe.yaml", "pipe.yaml: it is a pipe, not a file"),
    "storage at no port": Bad(
        f"{SWEEP} --storage postgresql://h:abc/x", "cannot be read: it should be postgresql://host:5432/name"
    ),
    "tracking in a database with options": Bad(
        f"{RUN} --tracking-uri sqlite:///f.db?mode=ro", "the address of a SQLite database ends before the ?"
    ),
    "name too long for a file": Bad(
        f"{RUN} --set task=characters --set task.path={'x' * 300}", f"{'x' * 50}…{'x' * 29}: File name too long"
    ),
    "folder with a name too long": Bad(
        f"{RUN} --set task=pen-strokes --set task.path={'x' * 300}", f"{'x' * 50}…{'x' * 29}: File name too long"
    ),
    "sequence too long": Bad(
        "probe adding --cell lstm --length 1000000000000000", "there is not enough memory for this"
    ),
    "no such tracking scheme": Bad(f"{RUN} --tracking-uri gopher://x", "gopher"),
}


def snapshot(folder: Path) -> dict[str, Any]:
    """Every file with its content, apart from what an interpreter or a log leaves."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if os.access(path, os.R_OK) else None
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "longlag-home" not in path.parts
    }


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "folder").mkdir()
    secret = tmp_path / "secret.yaml"
    secret.write_text("task: adding")
    secret.chmod(0)
    for name in ("pipe.yaml", "pipe.json"):
        os.mkfifo(tmp_path / name)
    for name, text in (("newer", json.dumps({"layout": 999, "longlag": "99.0"})), ("damaged", '{"layout": 1')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "home.json").write_text(text)
    yield tmp_path
    secret.chmod(stat.S_IRUSR | stat.S_IWUSR)


def one_sentence(done: Done, says: str) -> None:
    assert done.code == 2, done.err
    assert says in done.err
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
    assert "Traceback" not in done.out + done.err
    assert done.out == ""


@pytest.mark.parametrize("bad", [pytest.param(bad, id=name) for name, bad in BAD.items()])
def test_a_mistake_is_one_sentence_and_damages_nothing(bad: Bad, longlag: Longlag, folder: Path) -> None:
    if "secret" in bad.command and os.geteuid() == 0:
        pytest.skip("root may read every file")
    if bad.file is not None:
        content = bad.file if isinstance(bad.file, bytes) else yaml.safe_dump(bad.file).encode()
        (folder / "file.yaml").write_bytes(content)
    before = snapshot(folder)
    one_sentence(longlag(*bad.command.split()), bad.says)
    assert snapshot(folder) == before


def test_there_are_at_least_thirty_kinds() -> None:
    assert len(BAD) >= 30


def test_a_home_that_cannot_be_written(longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    if os.geteuid() == 0:  # root may write everywhere, but not into what is no file system for files
        one_sentence(longlag(*RUN.split(), "--home", "/proc/longlag"), "/proc/longlag")
    else:
        locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
        one_sentence(longlag(*RUN.split(), "--home", str(locked / "home")), str(locked / "home"))


def test_a_port_in_use(longlag: Longlag, shared_home: Path, tiny_options: list[str]) -> None:
    assert longlag("run", "adding", "--cell", "rnn", *tiny_options, "--home", str(shared_home)).code == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        one_sentence(longlag("ui", "--no-open", "--port", port, "--home", str(shared_home)), port)


@pytest.mark.parametrize("command", ["report", "ui"])
def test_a_study_that_was_never_begun_names_the_nearest(
    command: str, longlag: Longlag, shared_home: Path, tiny_options: list[str]
) -> None:
    begin = ["sweep", "adding", "--cell", "rnn", "--name", "nearest", *tiny_options, "--home", str(shared_home)]
    assert longlag(*begin).code == 0
    one_sentence(longlag(command, "nearst", "--home", str(shared_home)), "did you mean 'nearest'?")


def test_the_same_name_for_another_search(longlag: Longlag, shared_home: Path, tiny_options: list[str]) -> None:
    begin = ["sweep", "adding", "--cell", "rnn", "--name", "same", *tiny_options, "--home", str(shared_home)]
    assert longlag(*begin).code == 0
    before = longlag("report", "same", "--home", str(shared_home), "--json").out
    one_sentence(longlag(*begin, "--depth", "1,2"), "there is already a study named 'same', with another space")
    assert longlag("report", "same", "--home", str(shared_home), "--json").out == before
