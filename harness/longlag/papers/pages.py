"""The files of a report: the kept measurements, the Markdown page with its pictures, and the HTML page."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from longlag import escape, reading
from longlag.errors import UserError, clipped
from longlag.papers import figures, measurements, report, report_html, report_markdown
from longlag.papers.claims import KNOWN
from longlag.papers.measurements import PaperMeasurements
from longlag.papers.report import Report
from longlag.papers.spec import PaperSpec, load_paper
from longlag.papers.verdict import Decision
from longlag.parts import Parts

DECISIONS: tuple[Decision, ...] = ("reproduced", "not reproduced", "inconclusive", "not judged")
COLUMNS = ("holds", "does not hold", "inconclusive", "not judged")
"""Of the table of all papers, in the order of `DECISIONS`."""
BEGIN, END = "<!-- papers: begin -->", "<!-- papers: end -->"


@dataclass(frozen=True)
class Pages:
    """Where a report's files are, and a sentence for each that could not be made."""

    data: Path
    markdown: Path
    html: Path
    missing: tuple[str, ...] = ()


def stem(paper: str, scale: str) -> str:
    """The name of a report's files without their endings; scale cpu has no suffix."""
    return paper if scale == "cpu" else f"{paper}-{scale}"


def keep(measured: PaperMeasurements, paper: PaperSpec, folder: Path) -> Path:
    """Write the measurements into a folder, from which everything else can be made; returns the file.

    Raises:
        UserError: when it cannot be written.
    """
    path = folder / f"{stem(paper.name, measured.scale)}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        measured.write(path)
    except OSError as error:
        raise UserError(f"the report cannot be written to {folder}: {error.strerror}") from error
    return path


def write(content: Report, folder: Path, html: bool = True) -> Pages:
    """Write a report into a folder, over one of the same study and scale: the measurements before all the rest.

    Raises:
        UserError: when the measurements or the page cannot be written.
    """
    name, parts = stem(content.paper.name, content.measurements.scale), Parts(content.missing)
    data = keep(content.measurements, content.paper, folder)
    pages = Pages(data, folder / f"{name}.md", folder / f"{name}.html")
    try:
        pictures = figures.draw(content.paper, content.measurements, folder, name, parts)
        text = report_markdown.markdown(content, pictures, parts)
        pages.markdown.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"the report cannot be written to {folder}: {error.strerror}") from error
    if html:
        parts.make("the HTML page", lambda: _html(content, text, pages.html))
    return replace(pages, missing=tuple(parts.failed))


def _html(content: Report, text: str, path: Path) -> None:
    title = f"{content.paper.citation.authors} ({content.paper.citation.year}): published and measured"
    path.write_text(report_html.page(text, path.parent, title), encoding="utf-8")


def again(data: Path, simulate: bool = True) -> tuple[PaperSpec, Report]:
    """The report on kept measurements, from the study of that name.

    `simulate` says whether to find how many further seeds an inconclusive claim needs, which takes seconds.

    Raises:
        UserError: when the file is none, or lacks what today's claims need.
    """
    measured = measurements.read(data)
    paper = load_paper(measured.paper, check_runs=False)
    return paper, report.build(paper, measured, simulate)


def summary(folder: Path, link: str) -> str:
    """A table of all reports kept in a folder: a row a paper, its claims by verdict, each with how its figure is known.

    `link` goes before file names.
    """
    rows: list[list[str]] = []
    for data in sorted(folder.glob("*.json")):
        paper, content = again(data, simulate=False)
        by_verdict = [_claims(content, decision) for decision in DECISIONS]
        who = f"[{escape.markdown(paper.citation.authors)} ({paper.citation.year})]({link}{data.stem}.md)"
        seeds = sorted({len(content.measurements.of(run.arm)) for run in content.measurements.runs})
        count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
        rows.append(
            [
                who,
                content.size,
                content.data,
                count,
                *by_verdict,
            ]
        )
    if not rows:
        return "None is kept so far.\n"
    columns = ["paper", "size", "data", "seeds", *COLUMNS]
    return "\n".join(report_markdown.table(columns, rows)).rstrip() + "\n"


def _claims(content: Report, decision: Decision) -> str:
    """The claims with one verdict, by how their published figures are known: ``read: U1, U3; unverified: U4``."""
    found: dict[str, list[str]] = {}
    for row in content.rows:
        if row.verdict.decision == decision:
            found.setdefault(KNOWN[row.claim.certainty], []).append(row.claim.id)
    return (
        escape.markdown("; ".join(f"{how}: {', '.join(found[how])}" for how in KNOWN.values() if how in found)) or "–"
    )


def renew_summary(page: Path, folder: Path) -> bool:
    """Put the table of the reports in `folder` between a Markdown page's markers; says whether that changed it.

    Raises:
        UserError: when the page cannot be read or has no markers.
    """
    try:
        before = reading.read(page, reading.DOCUMENT).decode("utf-8")
    except OSError as error:
        raise UserError(f"cannot read {clipped(page)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{page} is not UTF-8 text (byte {error.start})") from error
    pattern = re.compile(re.escape(BEGIN) + r"\n.*?" + re.escape(END), re.DOTALL)
    if not pattern.search(before):
        raise UserError(f"{page} has no lines {BEGIN} and {END} to put the table between")
    link = f"{folder.resolve().relative_to(page.resolve().parent)}/"
    table = f"{BEGIN}\n{summary(folder, link)}{END}"
    after = pattern.sub(lambda _: table, before)
    if after != before:
        page.write_text(after, encoding="utf-8")
    return after != before
