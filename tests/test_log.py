"""Failures that a program handles: logged, and shown to who asks."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from longlag import log
from longlag.cli.app import app
from longlag.cli.errors import invoke


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The logger and the environment as they were found."""
    monkeypatch.setenv(log.VARIABLE, "")
    handlers, level = list(log.log.handlers), log.log.level
    yield
    log.log.handlers[:] = handlers
    log.log.setLevel(level)


def fail() -> None:
    try:
        raise OSError("disk full")
    except OSError as error:
        log.log.info("the picture is left out: %s", error, exc_info=True)
        log.log.warning("the upload is set aside: %s", error, exc_info=True)


def test_without_verbose_a_warning_is_one_line_and_a_handled_failure_is_silent(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert invoke(app, ["schema", "run"]) == 0
    capfd.readouterr()
    fail()
    assert capfd.readouterr().err == "warning: the upload is set aside: disk full\n"


def test_verbose_shows_handled_failures_with_their_tracebacks(capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(app, ["-v", "schema", "run"]) == 0
    capfd.readouterr()
    fail()
    shown = capfd.readouterr().err
    assert "info: the picture is left out: disk full\n" in shown
    assert shown.count("Traceback (most recent call last)") == 2


def test_worker_processes_are_as_verbose_as_the_command_that_starts_them() -> None:
    log.show(True)
    script = "from longlag import log; log.show(); log.log.info('seen')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "info: seen\n"


def test_importing_longlag_sets_up_no_logging() -> None:
    script = "import logging, longlag, longlag.log; print(logging.getLogger('longlag').handlers, logging.root.handlers)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
    assert logging.getLogger("longlag") is log.log
