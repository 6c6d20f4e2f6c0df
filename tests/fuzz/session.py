"""One case of the fuzzer in this process: nothing trains, nothing is served, and what was wrong with the answer."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import longlag
from longlag.analysis import probe
from longlag.cli import execute, horizon_study, papers
from longlag.cli.app import app
from longlag.cli.errors import invoke
from longlag.errors import UserError
from longlag.papers import cost
from longlag.study import dashboard
from longlag.tracking import ui
from longlag.workspace import Workspace
from tests.conftest import TINY
from tests.fuzz.cases import Case
from tests.fuzz.odd import HELD, WIDE

PATIENCE = 120
"""Seconds that a case may take before it hangs; a tenth of one is usual."""
LONGEST = 2000
"""Letters of a sentence."""
MEMORY = 1e9
"""Bytes that one case may add to the largest size of the process."""


class Hangs(BaseException):
    """A case that took too long."""


class Cut(UserError):
    """Where a command would begin to train."""


def stop(*arguments: Any, **options: Any) -> Any:
    raise Cut("here it would begin")


@contextlib.contextmanager
def cut_off(home: Path) -> Iterator[None]:
    """Let no command train or serve, and let all of them find a home that holds one study."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("LONGLAG_", "MLFLOW_"))]:
            patch.delenv(name)
        patch.setenv("LONGLAG_HOME", str(home))
        patch.setenv("LONGLAG_VERBOSE", "0")
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(execute, "one_run", _checked(patch, execute.one_run))
        patch.setattr(execute, "study", _checked(patch, execute.study))
        patch.setattr(horizon_study, "run", _checked(patch, horizon_study.run))
        patch.setattr(cost, "of_run", lambda spec: 1.0)
        patch.setattr(papers, "run", stop)
        patch.setattr(probe, "_probed", stop)
        patch.setattr(ui, "serve", stop)
        patch.setattr(dashboard, "serve", stop)
        yield


def _checked(patch: pytest.MonkeyPatch, command: Any) -> Any:
    """The command up to where it opens its store."""

    def checked(*arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Workspace, "store", stop)
            return command(*arguments, **options)

    return checked


def home(folder: Path) -> None:
    """Make a home with one study that has ended."""
    fields = {**TINY, "cell": "rnn"}
    longlag.sweep(
        {"name": HELD, "base": fields, "space": {"model.depth": [1, 2]}, "sampler": {"name": "grid"}}, home=folder
    )


def furnish(folder: Path) -> None:
    """Files of every kind that is no spec."""
    folder.mkdir()
    (folder / "folder").mkdir()
    for name in ("empty.yaml", "empty.json"):
        (folder / name).touch()
    for name in ("pipe.yaml", "pipe.json"):
        os.mkfifo(folder / name)
    for name in ("binary.yaml", "binary.json"):
        (folder / name).write_bytes(bytes(range(256)) * 20)
    (folder / "bom.yaml").write_bytes(b"\xef\xbb\xbfname: bom\n")
    (folder / "deep.yaml").write_text("a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, 2000)))
    (folder / "link.yaml").symlink_to("link.yaml")
    with (folder / "huge.yaml").open("wb") as file:
        file.truncate(11 * 10**9)


def wrong(case: Case, folder: Path) -> list[str]:
    """What is wrong with the answer to a case; `folder` is made for it."""
    furnish(folder)
    for name, text in case.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out, err = _Stream("strict"), _Stream("backslashreplace")
    try:
        with _guard(), contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = invoke(app, list(case.arguments))
    except Hangs:
        return [f"no answer within {PATIENCE} s"]
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return [*_answered(case, code, err.text(), out.text()), *([f"took {added / 1e6:.0f} MB"] if added > MEMORY else [])]


@contextlib.contextmanager
def _guard() -> Iterator[None]:
    """End what takes too long."""

    def end(number: int, frame: Any) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class _Stream(io.TextIOWrapper):
    """A standard stream that is kept, with the encoding of a real one."""

    def __init__(self, errors: str) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, encoding="utf-8", errors=errors)

    def text(self) -> str:
        self.flush()
        return self.kept.getvalue().decode()


def _answered(case: Case, code: int, said: str, shown: str) -> Iterator[str]:
    sentences = [line for line in said.splitlines() if line.startswith("error: ")]
    if "Traceback" in said + shown:
        yield f"a traceback: {said[-500:]}"
    if any(line.startswith("error: unexpected ") for line in sentences):
        yield sentences[-1]
    elif code not in ((0, 1, 2) if case.arguments[:1] == ("doctor",) else (0, 2)):
        yield f"exit code {code}: {said[-500:]}"
    elif code == 2 and len(sentences) != 1:
        yield f"{len(sentences)} sentences: {said[-500:]}"
    if any(len(line) > LONGEST for line in sentences) or re.search("x{81}", " ".join(sentences)):
        yield f"a long sentence: {sentences[-1][:200]} … ({len(sentences[-1])} letters)"
    if WIDE[:100] in " ".join(sentences):
        yield f"a long value: {sentences[-1][:200]}"
