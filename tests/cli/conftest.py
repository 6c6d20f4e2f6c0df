"""Running the command line inside the test process: importing torch and mlflow anew each time would take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from longlag.cli.app import app
from longlag.cli.errors import invoke
from tests.pictures import undrawn

OF_PICTURES = ("test_ends", "test_horizon", "test_probe")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Longlag = Callable[..., Done]


@pytest.fixture(autouse=True, scope="module")
def no_pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    """A picture takes a second to draw: only modules that look at pictures draw them."""
    if request.module.__name__.rpartition(".")[2] in OF_PICTURES:
        yield
    else:
        with undrawn():
            yield


@pytest.fixture
def longlag(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Longlag:
    """``longlag("run", "adding", ...)`` in an empty folder; gives the exit code and what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LONGLAG_HOME", raising=False)
    monkeypatch.setenv("LONGLAG_VERBOSE", "0")  # a test of ``-v`` in this process would set it for those behind it

    def run(*arguments: str) -> Done:
        code = invoke(app, list(arguments))
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def tiny_options() -> list[str]:
    """Options of a run that takes some hundredths of a second."""
    settings = [
        "task.length=6",
        "model.hidden_size=4",
        "data={validation: 8, test: 8}",
        "probe={log_every: 2, curves: false}",
    ]
    settings += ["training.batch_size=4", "training.updates=4", "training.eval_every=2"]
    return [word for setting in settings for word in ("--set", setting)]
