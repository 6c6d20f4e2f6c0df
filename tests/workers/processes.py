"""Worker processes as tests find them: by the log that they write."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from longlag.workers.process import MODULE


def worker_process(study: str, slot: int) -> psutil.Process:
    """The process that works in a slot of a study."""
    for process in psutil.process_iter(["cmdline"]):
        if MODULE in (process.info["cmdline"] or []):
            with suppress(OSError):  # it died in this moment
                if Path(f"/proc/{process.pid}/fd/2").readlink().name == f"{study}-worker{slot + 1}.txt":
                    return process
    raise AssertionError("nobody works")
