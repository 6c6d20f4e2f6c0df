"""What `reproduce --check` does once it knows what is asked: a sample of kept runs, trained again, in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from longlag import escape
from longlag.cli import terminal
from longlag.cli.papers import REPORTS
from longlag.papers import measurements, pages
from longlag.papers.check import AGREEMENTS, ROUNDING, Checked, repeat, sample
from longlag.papers.spec import load_paper
from longlag.training.environment import torch_threads

STYLES = {"equal": "green", "within rounding": "green", "differs": "red"}
BUILD = ("compiler", "flags", "blas", "kernel", "machine", "cpu", "torch", "torch_build")
"""Of what the bits of a run depend on, what is compared in words."""


def kept(name: str, scale: str) -> Path:
    """The measurements that a name means: a file, or those in docs/papers."""
    return Path(name) if name.endswith(".json") else REPORTS / f"{pages.stem(name, scale)}.json"


def check(name: str, scale: str, count: int, threads: int, *, json: bool) -> bool:
    """Train a sample again and show how it came out; says whether everything agrees."""
    path = kept(name, scale)
    stored = measurements.read(path)
    paper = load_paper(stored.paper)
    chosen = sample(stored, count)
    seconds = sum(run.seconds for run in chosen)
    if not json:
        terminal.say(
            f"{path}: {len(chosen)} of {len(stored.runs)} runs, by a hash of their keys and one of each arm "
            f"before a second, trained again; they took {terminal.duration(seconds)} when they were kept"
        )
    found: list[Checked] = []
    with torch_threads(threads):
        for one in repeat(paper, stored, chosen):
            found.append(one)
            if not json:
                terminal.say(f"{len(found)} of {len(chosen)}: {one.run.arm} seed {one.run.seed}: {one.agreement}")
    counts = {word: sum(one.agreement == word for one in found) for word in AGREEMENTS}
    if json:
        terminal.print_json({"file": str(path), "runs": [_fields(one) for one in found], **counts})
        return not counts["differs"]
    terminal.console().print(_table(found))
    for line in _builds(stored.environment, found):
        terminal.say(line)
    said = ", ".join(f"{number} {word}" for word, number in counts.items())
    terminal.say(f"{said}; within rounding: at most {ROUNDING:g} apart, in shares of the kept number or of 1")
    return not counts["differs"]


def _table(found: list[Checked]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("run", "quantity", "kept", "again", ""):
        table.add_column(column, overflow="fold", justify="right" if column in ("kept", "again") else "left")
    for one in found:
        shown = one.differing or {"score": one.values["score"]}
        for name, (before, after) in shown.items():
            run = f"{escape.line(one.run.arm)} seed {one.run.seed}"
            table.add_row(
                run, name, f"{before:.7g}", f"{after:.7g}", terminal.styled(one.agreement, STYLES[one.agreement])
            )
    return table


def _builds(before: dict[str, str], found: list[Checked]) -> list[str]:
    """What differs between the build that was kept and this one."""
    now = found[0].result.environment if found else {}
    lines = []
    for key in BUILD:
        if key in before and key in now and before[key] != now[key]:
            then, here = before[key].split(), now[key].split()
            gone, new = ([word for word in one if word not in other] for one, other in ((then, here), (here, then)))
            said = [f"{' '.join(words)} {when}" for words, when in ((gone, "when it was kept"), (new, "here")) if words]
            lines.append(escape.line(f"{key}: {', '.join(said)}"))
    return lines


def _fields(one: Checked) -> dict[str, Any]:
    values = {
        name: {"kept": terminal.json_number(pair[0]), "again": terminal.json_number(pair[1])}
        for name, pair in one.values.items()
    }
    return {"arm": one.run.arm, "seed": one.run.seed, "agreement": one.agreement, "values": values}
