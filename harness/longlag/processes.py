"""What identifies a process while its machine is up, and whether it still runs. No clock is read, so none can mislead.

A process is identified by the boot id of its machine, the namespace of its number, the number, and when it began in
ticks since the boot. On Linux all of that is in ``/proc``. On macOS ``sysctl`` prints the boot id and ``ps`` when a
process began. Without a boot id no process can be seen, and heartbeats alone count.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PROC = Path("/proc")
BOOT = ("sysctl", "-n", "kern.bootsessionuuid")
"""Prints the boot id where there is no ``/proc``."""


def this() -> dict[str, str]:
    """What identifies this process, for `is_gone`."""
    return {
        "host": socket.gethostname(),
        "boot": boot(),
        "pid_namespace": _namespace(),
        "pid": str(os.getpid()),
        "process_started": _started(os.getpid()) or "",
    }


def is_gone(process: Mapping[str, str]) -> bool | None:
    """Whether a process that `this` described has ended; None when it cannot be seen from here.

    Those of other machines, of other containers and of the time before this machine was restarted cannot be seen.
    """
    seen = bool(boot()) and (process.get("boot"), process.get("pid_namespace")) == (boot(), _namespace())
    number = process.get("pid", "")
    if not seen or not number.isdigit():
        return None
    began = _started(int(number))
    if began is None:
        return None if _hidden(int(number)) else True
    return began != process.get("process_started")


def is_of_earlier_boot(process: Mapping[str, str]) -> bool:
    """Whether it ran on a machine of this one's name, before a restart.

    Two machines may have one name, so this is no answer about what machines share.
    """
    return bool(boot()) and process.get("host") == socket.gethostname() and process.get("boot") != boot()


@cache
def boot() -> str:
    """The boot id of this machine; empty where there is none."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return _output(BOOT)


def _namespace() -> str:
    """A container counts its processes by itself; empty where there are no namespaces."""
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process began; None when there is none of this number, or only what is left of one that was killed."""
    if not (PROC / "self").exists():
        state, _, began = _output(("ps", "-o", "stat=,lstart=", "-p", str(pid))).partition(" ")
        return None if not state or state.startswith("Z") else began.strip()
    try:
        # the name, in parentheses, may hold anything; the state is field 3, the start in ticks since the boot field 22
        state, *fields = (
            (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except (OSError, ValueError):
        return None
    return None if state in ("Z", "X") else fields[18]


def _hidden(pid: int) -> bool:
    """Whether a process of this number is there though ``/proc`` does not show it, as it may hide those of others."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False  # what is left of one that was killed


def _output(command: tuple[str, ...]) -> str:
    """What a command prints; empty when it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
