"""A worker that dies of a signal: what is said of it, and what to do where a kernel library may be the cause."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from longlag import files
from longlag.kernels.compiler.plan import make_plan
from longlag.kernels.targets.c import build, cc
from longlag.kernels.targets.c.source import source
from longlag.spec import load_run
from longlag.workers.messages import Message
from longlag.workers.process import WorkerProcess
from longlag.workers.requests import RunRequest, WorkerConfig
from longlag.workspace import Workspace
from tests.conftest import TINY

pytestmark = pytest.mark.fault


def config(home: Path, experiment: str = "0") -> WorkerConfig:
    return WorkerConfig(home=home, tracking_uri=None, experiment=experiment, parent=None, name="dying")


def ended(process: WorkerProcess, messages: queue.SimpleQueue[Message]) -> tuple[list[str], str]:
    """The names of the messages before the end, and how the process ended."""
    process.reader.join(timeout=300)
    found = [messages.get_nowait() for _ in range(messages.qsize())]
    assert found[-1][0] == "ended"
    return [message[0] for message in found[:-1]], found[-1][1]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGKILL, signal.SIGTERM])
def test_a_native_crash_names_the_kernel_library_that_was_loaded_last(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"""
import json, os, signal
for message in (["loading", "/cache/first.so"], ["loading", "/cache/last.so"], ["ready"]):
    print(json.dumps(message), flush=True)
signal.signal({int(number)}, signal.SIG_DFL) if {int(number)} != 9 else None
os.kill(os.getpid(), {int(number)})
"""
    popen = subprocess.Popen

    def start(command: list[str], **named: Any) -> Any:
        return popen([sys.executable, "-c", code], **named)

    monkeypatch.setattr(subprocess, "Popen", start)
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    log = tmp_path / "log.txt"
    before, how = ended(WorkerProcess(config(tmp_path), log, messages.put), messages)
    assert before == ["ready"]
    assert how == {
        signal.SIGKILL: f"signal 9; see {log}; was there too little memory?",
        signal.SIGTERM: f"signal 15; see {log}",
    }.get(
        number,
        f"signal {int(number)} ({number.name}); the last kernel library that it loaded is /cache/last.so, which can be "
        f"deleted and is built again then; see {log}",
    )


@pytest.mark.slow
def test_a_worker_whose_kernel_ends_it_says_which_one_that_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real worker; the library has a checksum that is right, and what it does is wrong."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = load_run(TINY)
    path = build.library_path(source(make_plan(spec.cell.build()), "float"))
    (tmp_path / "crash.c").write_text("__attribute__((constructor)) static void end(void) { *(volatile int *)0 = 0; }")
    compiler = cc.compiler()
    assert compiler is not None
    subprocess.run([compiler.path, "-shared", "-fPIC", "crash.c", "-o", "crash.so"], cwd=tmp_path, check=True)
    files.write_with_checksum(path, (tmp_path / "crash.so").read_bytes(), 0o700)
    home = Workspace.open(tmp_path / "home")
    store = home.store()
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    process = WorkerProcess(config(tmp_path / "home", store.experiment("dying")), tmp_path / "log.txt", messages.put)
    process.send("run", RunRequest(spec=spec).model_dump(mode="json"))
    before, how = ended(process, messages)
    assert before[0] == "ready" and "done" not in before
    library = f"the last kernel library that it loaded is {path}, which can be deleted and is built again then"
    assert how == f"signal 11 (SIGSEGV); {library}; see {tmp_path / 'log.txt'}"
