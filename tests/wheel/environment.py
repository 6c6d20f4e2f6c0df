"""An environment with the wheel and its base dependencies, and nothing else.

The dependencies are those that pip would install: what the wheel's metadata requires without an extra, and what they
require in turn. They are linked from the environment of the tests, because installing torch anew takes minutes;
``pip check`` then confirms that none is missing. With LONGLAG_FRESH=1 pip installs them from its index instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
FRESH = os.environ.get("LONGLAG_FRESH") == "1"


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    isolated = [] if FRESH else ["--no-build-isolation", "--no-index"]
    pip(sys.executable, "wheel", "--no-deps", *isolated, "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("longlag-*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Its environment; the interpreter there."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    if FRESH:
        pip(str(python), "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel))
    else:
        link(closure(requirements(wheel)), site_packages(python))
        pip(str(python), "install", "--no-deps", "--no-index", str(wheel))
    pip(str(python), "check")
    return python


def pip(python: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"pip {arguments[0]}: {done.stdout}{done.stderr}"


def site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def requirements(wheel: Path) -> list[str]:
    """What its metadata requires, the extras' included."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]


def closure(wanted: Iterable[str]) -> list[Distribution]:
    """The installed distributions that pip would install for some requirements."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(Requirement(text), "") for text in wanted]
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = requirement.name.lower().replace("_", "-")
        for asked in {"", *requirement.extras}:
            if (name, asked) in seen:
                continue
            seen.add((name, asked))
            try:
                found[name] = distribution(requirement.name)
            except PackageNotFoundError:
                raise AssertionError(f"{requirement} is not installed here") from None
            queue += [(Requirement(text), asked) for text in found[name].requires or []]
    return list(found.values())


def link(distributions: Iterable[Distribution], folder: Path) -> None:
    """Every file of the distributions, at its place in a folder."""
    made: set[Path] = set()
    for one in distributions:
        for file in one.files or []:
            if ".." in file.parts or file.is_absolute():
                continue  # a script: none of them is needed
            target = folder / file
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            source = Path(str(one.locate_file(file)))
            if source.exists() and not target.exists():
                target.symlink_to(source)
