"""Failures that a program handles: logged, and shown to who asks."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import longlag_tasks
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


def dropped(path: Path) -> Iterator[str]:
    """Where a file catches nearly anything and neither raises, nor logs the exception, nor hands it on."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler) and broad(node.type):
            inside = [child for statement in node.body for child in ast.walk(statement)]
            raises = any(isinstance(child, ast.Raise) for child in inside)
            uses = node.name is not None and any(isinstance(c, ast.Name) and c.id == node.name for c in inside)
            if not raises and not uses:
                yield f"{path}:{node.lineno}"
        if isinstance(node, ast.With) and any(broad_suppress(item.context_expr) for item in node.items):
            yield f"{path}:{node.lineno}"


def broad(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(map(broad, kind.elts))
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def broad_suppress(call: ast.expr) -> bool:
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "suppress"
        and any(broad(argument) for argument in call.args)
    )


LONGLAG = Path(log.__file__).parent
SOURCES = {
    "top-level modules": sorted(LONGLAG.glob("*.py")),
    **{room.name: sorted(room.rglob("*.py")) for room in sorted(LONGLAG.iterdir()) if (room / "__init__.py").exists()},
    "longlag_tasks": sorted(Path(longlag_tasks.__file__).parent.rglob("*.py")),
}


def test_every_room_is_looked_at() -> None:
    assert {"study", "workers", "tracking", "cli", "top-level modules"} <= set(SOURCES)


@pytest.mark.parametrize("room", SOURCES)
def test_no_failure_is_dropped(room: str) -> None:
    assert [line for path in SOURCES[room] for line in dropped(path)] == []


def test_a_dropped_failure_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "try:\n    f()\nexcept Exception:\n    pass\n"
        "with suppress(Exception):\n    f()\n"
        "try:\n    f()\nexcept Exception as error:\n    log.info('%s', error)\n"
        "try:\n    f()\nexcept BaseException:\n    raise\n"
        "try:\n    f()\nexcept (Exception, SystemExit):\n    pass\n"
    )
    assert {line.rpartition(":")[2] for line in dropped(path)} == {"3", "5", "17"}
