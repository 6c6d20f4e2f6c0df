"""``longlag ui`` in a process of its own, as a person would start it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.limits import SECONDS


@contextmanager
def ui(home: Path, study: str, port: int, command: Path | None = None) -> Iterator[str]:
    """The address that the command prints; ends it with Ctrl-C, and checks that it ends well and leaves nothing.

    It runs beside the home, by this interpreter or by another's `command`.
    """
    own = [sys.executable, "-c", "import sys; from longlag.cli import main; sys.exit(main())"]
    arguments = ["ui", study, "--home", str(home), "--port", str(port), "--no-open"]
    longlag = own if command is None else [str(command)]
    process = subprocess.Popen([*longlag, *arguments], cwd=home.parent, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        yield next(line.strip() for line in lines if line.startswith("http"))
    finally:
        process.send_signal(signal.SIGINT)
        code_of_exit = process.wait(SECONDS)
        process.stdout.close()
    assert code_of_exit == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server still answers"
