"""What `reproduce` does once it knows what is asked: plans, tables, and where everything is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.table import Table

from longlag import escape
from longlag.analysis.result import StudyResult
from longlag.cli import terminal
from longlag.cli.errors import stoppable
from longlag.cli.progress import SweepProgress
from longlag.errors import UserError, clipped, quoted, suggestion
from longlag.papers import compare as comparing
from longlag.papers import pages, report_markdown
from longlag.papers.claims import KNOWN, ScaleName
from longlag.papers.cost import Cost
from longlag.papers.plan import read_by
from longlag.papers.report import Report
from longlag.papers.reproduce import costs, run
from longlag.papers.spec import PaperSpec, load_paper, names
from longlag.parts import Parts
from longlag.study.queue import Workers
from longlag.tracking.home import Home
from longlag.workers.launchers.local import how_many
from longlag.workspace import Workspace

REPORTS = Path("docs/papers")
WHEN_STOPPED = "what is finished is kept, and the same command continues"
STYLES = {"reproduced": "green", "not reproduced": "red", "inconclusive": "yellow", "not judged": "dim"}


def print_papers(json: bool) -> None:
    """Every paper study with its arms and claims."""
    rows = []
    for name in names():
        paper = load_paper(name)
        judged = {scale: f"{len(paper.judged(scale))} of {len(paper.claims)}" for scale in paper.scales}
        row = {"name": name, "about": paper.citation.text, "arms": len(paper.arms), "claims": len(paper.claims)}
        rows.append({**row, "judged at cpu": judged.get("cpu", "–"), "scales": list(paper.scales)})
    if json:
        terminal.print_json(rows)
        return
    titles = {"name": "paper study", "about": "paper", "arms": "arms", "judged at cpu": "claims judged at cpu"}
    terminal.print_rows(rows, {**titles, "scales": "scales"})
    terminal.say(f"Run one: {terminal.command()} reproduce {rows[0]['name']} --scale smoke")


def renew(page: Path) -> None:
    changed = pages.renew_summary(page, page.parent / REPORTS)
    terminal.say(f"{page}: {'renewed' if changed else 'was up to date'}")


def from_file(data: Path, folder: Path | None, json: bool) -> None:
    """The pages on kept measurements, beside them unless told otherwise."""
    _, content = pages.again(data)
    written = pages.write(content, folder or data.parent, html=True)
    _tell(content, written.html, written.missing, json)


def print_table(data: str, form: str) -> None:
    """The claims of kept measurements as LaTeX or CSV, or the entries for a bibliography.

    Raises:
        UserError: for another format, or a study that is no file.
    """
    from longlag.papers.report_table import FORMATS

    if form not in FORMATS:
        raise UserError(f"--format {quoted(form)}: one of {', '.join(FORMATS)}{suggestion(form, list(FORMATS))}")
    if not data.endswith(".json"):
        raise UserError(f"--format {form}: of a paper study's file only, such as docs/papers/chung-2014.json")
    _, content = pages.again(Path(data), simulate=False)
    terminal.print_file(FORMATS[form](content))


def reproduce(
    name: str,
    scale_name: str,
    home: Path | None,
    tracking_uri: str | None,
    workers: Workers,
    *,
    plan: bool,
    yes: bool,
    write: Path | None,
    json: bool,
) -> None:
    paper = load_paper(name)
    paper.scale(scale_name)
    if write is not None:
        _check_folder(write)
    scale: ScaleName = scale_name  # type: ignore[assignment]  # `PaperSpec.scale` knows it
    terminal.announce(read_by(paper, scale))
    workspace = Workspace.open(home, tracking_uri)
    with stoppable(WHEN_STOPPED):
        expected = costs(paper, scale, workspace, workers)
        if not json:
            _print_plan(paper, scale, expected, workers)
        if plan:
            if json:
                terminal.print_json([item.__dict__ for item in expected])
            return
        left = sum(item.left for item in expected)
        asks = left and not (yes or json) and sys.stdin.isatty() and sys.stdout.isatty()
        if asks and not typer.confirm("Begin?", default=True):
            return
        with SweepProgress() as progress:
            content, written, study = run(paper, scale, workspace, workers, progress)
    if write is not None:
        written = pages.write(content, write, html=False)
        _tell(content, written.markdown, written.missing, json)
    else:
        _tell(content, written.html, written.missing, json)
    if not json:
        terminal.say(f"Look at the curves: {terminal.command()} ui {study}{_place(workspace.home, home)}")


def _check_folder(write: Path) -> None:
    """Be sure that pages can be written there, before anything is trained."""
    there = next(path for path in (write.absolute(), *write.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        what = "cannot be written" if there.is_dir() else "is no folder"
        raise UserError(
            f"--write {clipped(write)}: {clipped(there)} {what}; name a folder of yours, or a new one in it"
        )


def _place(home: Home, given: Path | None) -> str:
    return f" --home {home.root}" if given is not None else ""


def _print_plan(paper: PaperSpec, scale: ScaleName, expected: list[Cost], workers: Workers) -> None:
    """Arms, runs, budgets and times; then the total for the workers there are."""
    size = paper.scales[scale]
    title = f"{paper.name}, scale {scale}: {paper.citation.authors} ({paper.citation.year})"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("arm", "runs", "to train", "updates at most", "a run at most"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for item in expected:
        each = "–" if item.seconds is None else terminal.duration(item.seconds)
        table.add_row(escape.line(item.arm), str(item.runs), str(item.left), f"{item.updates:,}", each)
    out = terminal.console()
    out.print(table)
    for word, text in (("Reduced", size.reduced), ("What that means", size.meaning)):
        if text:
            out.print(f"{word}: {text}", soft_wrap=True)
    left = sum(item.left for item in expected)
    count = how_many(workers.count, left)
    seconds = sum(item.total for item in expected) / max(1, count)
    judged = len(paper.judged(scale))
    time = f"at most {terminal.duration(seconds)} with {count} workers" if left else "everything has been run before"
    out.print(f"{left} runs to train, {time}; judges {judged} of {len(paper.claims)} claims.", soft_wrap=True)


def _tell(content: Report, page: Path, missing: Sequence[str], json: bool) -> None:
    """The table of claims, where the report is, and what could not be made of it."""
    if json:
        terminal.print_json({**fields(content, page), "missing": list(missing)})
        return
    parts = Parts()
    parts.make("the table of claims", lambda: terminal.console().print(_claims(content)))
    for sentence in (*missing, *parts.failed):
        terminal.say(escape.line(sentence))
    terminal.say(f"The report: {page}")


def _claims(content: Report) -> Table:
    table = Table(title=f"{content.paper.name}, scale {content.measurements.scale}", title_justify="left",
                  box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True)  # fmt: skip
    for column in ("", "claim", "published", "measured [interval]", "seeds", "verdict"):
        table.add_column(column, overflow="fold")
    for row in content.rows:
        measured = "\n".join(f"{escape.line(item.arm)}: {item.text}" for item in row.arms) or "–"
        published = f"{row.claim.published}; {row.claim.source} ({KNOWN[row.claim.certainty]})"
        cells = [row.claim.id, row.claim.statement, published, measured]
        verdict = report_markdown.decision(row, content.circumstance).replace("**", "")
        table.add_row(*cells, row.seeds or "–", terminal.styled(verdict, STYLES[row.verdict.decision]))
    return table


def print_comparison(first: StudyResult, second: StudyResult, json: bool) -> None:
    """The points of two studies side by side."""
    found = comparing.compare(first, second)
    names = first.spec.name, second.spec.name
    if json:
        terminal.print_json({"studies": names, "points": comparing.as_json(found)})
        return
    table = Table(title=" / ".join(names), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("point", "test score, median [interval]", "p", "solved", "updates to solved", "p"):
        table.add_column(column, overflow="fold", justify="right" if column == "p" else "left")
    for item in found:
        one, other = item.first, item.second
        table.add_row(
            escape.line(item.point),
            f"{one.score}\n{other.score}",
            f"{item.p_score:.2g}",
            f"{one.solved} of {one.runs}\n{other.solved} of {other.runs}",
            f"{one.updates}\n{other.updates}",
            f"{item.p_updates:.2g}",
        )
    out = terminal.console()
    out.print(table)
    if not found:
        out.print("The two studies have no finished trials to compare.")
        return
    out.print(
        "p: two-sided, over seeds; Mann–Whitney for scores, log-rank for updates, both by permutation; not corrected "
        "for the number of points.", soft_wrap=True,
    )  # fmt: skip


def fields(content: Report, page: Path) -> dict[str, Any]:
    """The report as JSON values."""
    rows = [
        {
            "id": row.claim.id,
            "statement": row.claim.statement,
            "published": row.claim.published,
            "certainty": row.claim.certainty,
            "measured": {item.arm: item.text for item in row.arms},
            "verdict": content.decisions[row.claim.id],
            "p_opposite": row.verdict.for_,
            "p_claim": row.verdict.against,
            "further_seeds": None if row.verdict.further in (None, float("inf")) else row.verdict.further,
        }
        for row in content.rows
    ]
    return {
        "paper": content.paper.name, "scale": content.measurements.scale, "size": content.size, "data": content.data,
        "claims": rows, "report": str(page),
    }  # fmt: skip
