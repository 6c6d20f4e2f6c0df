"""A password in an address is used, and appears nowhere: not on the screen, in a file, a tag or a log."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from longlag.credentials import bare, basic, masked
from longlag.errors import UserError
from longlag.tracking import connection
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import loop
from longlag.workers import runner
from longlag.workers.requests import WorkerConfig
from tests.cli.conftest import Longlag
from tests.servers.tracker import Tracker

SECRET = "s3cr3t%21"
AS_TYPED = ("s3cr3t", "czNjcjN0")  # and in base64, at the beginning of a word of three letters


def left_behind(folder: Path) -> list[str]:
    """The files under a folder that hold the password."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(word.encode() in path.read_bytes() for word in AS_TYPED)]


def test_a_server_that_needs_a_login_is_used_and_nothing_shows_the_password(
    longlag: Longlag, tracker: Tracker, tiny_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = tracker.with_login("me", SECRET)
    tracker.login = ("me", "s3cr3t!")
    place = ["--tracking-uri", uri, "--home", str(tmp_path / "home")]
    run, sweep = (["-v", command, "adding", *tiny_options, *place] for command in ("run", "sweep"))
    said = [longlag(*run, "--cell", "rnn")]
    assert f"--tracking-uri {masked(uri)}" in said[0].out
    said.append(longlag(*sweep, "--cell", "rnn", "--name", "a"))
    said.append(longlag("report", "a", "--json", *place))
    said.append(longlag("doctor", *place))
    said.append(longlag("ui", "a", "--no-open", *place))
    assert said[-1].out.startswith(f"{tracker.url}/#/experiments/")

    def leaks(*_: object, **__: object) -> None:
        raise RuntimeError(f"API request to {uri}/api failed: password={SECRET}")

    with monkeypatch.context() as broken:
        broken.setattr(loop.Run, "evaluate", leaks)  # in a run
        said.append(longlag(*sweep, "--cell", "gru,rnn", "--depth", "2", "--name", "b"))
        broken.setattr(runner, "find", leaks)  # outside of runs
        said.append(longlag(*run, "--cell", "rnn", "--seed", "7"))
    tracker.lost = lambda call: call != "health"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said.append(longlag(*run, "--cell", "rnn", "--seed", "8"))
    assert f"error: the tracking server {masked(uri)} does not answer any more; what is finished" in said[-1].err
    tracker.lost = lambda call: False
    tracker.login = ("me", "another")
    said.append(longlag(*run, "--cell", "rnn"))
    last = said[-1].err.splitlines()[-1]
    assert last == f"error: the tracking server {masked(uri)} refuses the user name or the password"
    assert [done.code for done in said] == [0, 0, 0, 0, 0, 1, 1, 2, 2]
    for done in said:
        assert not any(word in done.out + done.err for word in AS_TYPED), done
    logs = sorted((tmp_path / "home" / "logs").iterdir())
    assert len(logs) == 4 and {path.stat().st_mode & 0o777 for path in logs} == {0o600}
    assert all("Traceback" in path.read_text() for path in logs)
    assert any("password=***" in path.read_text() for path in logs), "what was raised is kept, and masked"
    assert left_behind(tmp_path) == [] and left_behind(tracker.folder) == []
    with closing(sqlite3.connect(tracker.folder / "mlflow.db")) as database:
        (reason,) = database.execute("SELECT value FROM tags WHERE key = 'reason' AND value LIKE '%API%'").fetchone()
    assert reason == f"RuntimeError: API request to {masked(uri)}/api failed: password=***"


def test_a_server_whose_login_was_not_given_says_how(
    longlag: Longlag, tracker: Tracker, tiny_options: list[str]
) -> None:
    tracker.with_login("me", "s3cr3t")
    done = longlag("run", "adding", "--cell", "rnn", *tiny_options, "--tracking-uri", tracker.url)
    assert done.code == 2 and done.err == (
        f"error: the tracking server refuses this user (UNAUTHENTICATED): {connection.LOGIN}; what is finished is "
        "kept, and the same command continues\n"
    )


@pytest.mark.parametrize(
    "password", ["plain", "it's", 'a"b', "a/b", "a@b@c", "a b", "5000", "5000/x", "ü<&>?#", "%40%2F"]
)
def test_whatever_a_password_holds_it_is_masked(password: str) -> None:
    for text in ("http://me:{}@host:5000/x", "see 'postgresql+psycopg://me:{}@host/db' (gone)", "sqlite+x://:{}@/y z"):
        assert masked(text.format(password)) == text.format("***"), text
    assert masked("postgresql://me@host/db?sslpassword=a&x=1&token=b") == (
        "postgresql://me@host/db?sslpassword=***&x=1&token=***"
    )


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000 does not answer; write to me@host",
        "a database (http://host:5000, sqlite:///x.db, postgresql://me@host/db)",
        "--set task.tokens=5 pad_token=0",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert masked(text) == text


def test_the_parts_of_an_address() -> None:
    assert bare("https://me:a%40b@host:1/x") == "https://host:1/x"
    assert bare("sqlite:////tmp/x@y.db") == "sqlite:////tmp/x@y.db"
    assert basic("http://me:a%40b@host") == "Basic bWU6YUBi"
    assert basic("http://me@host") is None and basic("http://host") is None


@pytest.mark.parametrize(
    "uri", ["http://me:a/b@host", "http://me:5/b@host", "http://me:a b@host", "http://me:a#b@host"]
)
def test_a_password_that_cannot_be_read_is_refused_with_how_to_write_it(uri: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^tracking URI 'http://me:\*\*\*@host' cannot be read: .* %2F for /"
    ) as refused:
        Store.open(Home.open(tmp_path), uri)
    assert refused.value.__cause__ is None


def test_dask_which_logs_what_its_tasks_are_given_is_given_no_password_to_log(tmp_path: Path) -> None:
    config = WorkerConfig(
        home=tmp_path, tracking_uri="http://me:s3cr3t@host", experiment="1", parent=None, name="x", host="y"
    )
    task_spec = pytest.importorskip("dask._task_spec")
    assert "s3cr3t" not in repr(task_spec.Task("key", print, config, "x"))
    assert "s3cr3t" in config.model_dump_json(), "a worker is told"


def test_a_worker_that_dies_of_an_exception_prints_no_password() -> None:
    script = (
        "import sys; from longlag import crash; sys.excepthook = crash.print_traceback\n"
        "raise OSError('http://me:s3cr3t@host')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "OSError: http://me:***@host" in done.stderr and "s3cr3t" not in done.stderr.replace(script, "")
