"""A report as Markdown."""

from __future__ import annotations

import statistics as averages
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from longlag import escape
from longlag.papers.claims import CERTAINTIES, KNOWN
from longlag.papers.measurements import PaperRun
from longlag.papers.relations import Sample
from longlag.papers.report import Report, Row, further, median, number
from longlag.papers.verdict import Circumstance, said
from longlag.parts import Parts

WIDTH = 12  # of an abbreviated hash
CAPTIONS = {
    "Learning curves": "Median over seeds; the band reaches from the best to the worst. A run that stopped, having "
    "solved its task, keeps its last score.",
    "Gradient flow": "Norm of the gradient with respect to the top layer's output by how far back it has come, over "
    "that at lag 0, geometric mean over seeds; of the loss at one step where there is a loss at every step. "
    "Dashed before training, drawn through after it.",
}


def markdown(report: Report, pictures: Mapping[str, str], parts: Parts) -> str:
    """The page.

    Args:
        report: its content.
        pictures: files beside it, by title.
        parts: makes each section; what it could not make so far is said at the end of the page.
    """
    sections: dict[str, Callable[[], list[str]]] = {
        "the head of the page": lambda: _head(report),
        "the section Claims": lambda: _claims(report),
        "the section of pictures": lambda: _pictures(pictures),
        "the section Arms": lambda: _runs(report),
        "the section Deviations": lambda: _deviations(report),
        "the section Tests": lambda: _tests(report),
        "the section Every seed": lambda: _every_seed(report),
        "the section Study": lambda: _study(report),
        "the section Environment": lambda: _environment(report),
    }
    lines = [line for what, section in sections.items() for line in parts.make(what, section) or []]
    return "\n".join([*lines, *parts.section()]).rstrip() + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table and an empty line."""

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(map(escape.cell, cells)) + " |"

    return [line(columns), line(["---"] * len(columns)), *map(line, rows), ""]


def _head(report: Report) -> list[str]:
    paper, measurements = report.paper, report.measurements
    command = f"longlag reproduce {paper.name} --scale {measurements.scale}"
    made = f"<!-- Written by `{command}`; not edited by hand. -->"
    who = f"{escape.markdown(paper.citation.authors)} ({paper.citation.year})"
    lines = [made, f"# {who}, scale {measurements.scale}", ""]
    lines += [escape.markdown(paper.citation.text), "", escape.markdown(paper.summary), ""]
    if report.changed:
        lines += [
            "**The study's file has changed since this was measured;** the claims are judged as they stand now.",
            "",
        ]
    counts = list(report.decisions.values())
    judged = len(counts) - counts.count("not judged")
    names = [said(name, report.circumstance) for name in ("reproduced", "not reproduced", "inconclusive", "not judged")]
    found = "; ".join(f"{name} {counts.count(name)}" for name in names if name in counts)
    lines += [f"Claims judged at this scale: {judged}. Of all {len(counts)}: {found}.", ""]
    if report.scale.reduced:
        lines += [f"**Reduced at this scale.** {escape.markdown(report.scale.reduced)}", ""]
    if report.paper.substitute:
        lines += [f"**Substitute data.** {escape.markdown(report.paper.substitute)}", ""]
    if report.scale.meaning:
        lines += [f"**What that means.** {escape.markdown(report.scale.meaning)}", ""]
    return lines


def _claims(report: Report) -> list[str]:
    rows = [[escape.markdown(row.claim.id), escape.markdown(row.claim.statement), published(row), measured(row),
             row.seeds or "–", report.size, report.data, KNOWN[row.claim.certainty], decision(row, report.circumstance)]
            for row in report.rows]  # fmt: skip
    columns = ["", "claim", "published", "measured [interval]", "seeds", "size", "data", "figure", "verdict"]
    lines = ["## Claims", "", *table(columns, rows)]
    notes = [
        f"- **{escape.markdown(row.claim.id)}** {escape.markdown(text)}"
        for row in report.rows
        for text in (row.effect, row.claim.note)
        if text
    ]
    return [*lines, *notes, ""] if notes else lines


def published(row: Row) -> str:
    return f"{escape.markdown(row.claim.published)}; {escape.markdown(row.claim.source)}"


def measured(row: Row) -> str:
    return "<br>".join(f"{escape.code(item.arm)} {item.text}" for item in row.arms) or "–"


def decision(row: Row, circumstance: Circumstance) -> str:
    more = further(row.verdict)
    return f"**{said(row.verdict.decision, circumstance)}**" + (f": {more}" if more else "")


def _pictures(pictures: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for title, file in pictures.items():
        shown = escape.markdown(title)
        lines += [f"## {shown}", "", f"![{shown}]({file})", ""]
        if title in CAPTIONS:
            lines += [CAPTIONS[title], ""]
    return lines


def _runs(report: Report) -> list[str]:
    rows = []
    for arm in dict.fromkeys(run.arm for run in report.measurements.runs):
        runs = report.measurements.of(arm)
        rows.append([
            escape.code(arm), escape.markdown(report.paper.arms[arm].label or arm), len(runs),
            f"{runs[0].parameters:,}",
            median(Sample(tuple(run.values["score"] for run in runs))),
            solved(runs), sum(run.outcome == "diverged" for run in runs),
            f"{averages.fmean(run.seconds for run in runs):.0f} s",
        ])  # fmt: skip
    columns = ["arm", "", "seeds", "parameters", "test score, median [interval]", "solved", "diverged", "time a run"]
    about = (
        "The score is the task's first metric, 0 for a perfect model and 1 for the trivial predictor. Every seed is "
        "shown, diverged runs are counted as infinitely bad."
    )
    return ["## Arms", "", about, "", *table(columns, rows), *_searched(report)]


def _searched(report: Report) -> list[str]:
    """What the searches took, and whether it stands at the end of what was searched."""
    lines = []
    for arm, chosen in report.measurements.chosen.items():
        search = report.paper.arms[arm].search if arm in report.paper.arms else None
        taken = []
        for path, value in chosen.items():
            values = search.space.get(path, []) if search else []
            end = len(values) > 2 and value in (values[0], values[-1])
            where = " (at an end of what was searched)" if end else ""
            taken.append(f"{escape.markdown(path)} = {escape.markdown(value)}{where}")
        lines.append(f"- Searched first, with seeds of its own: {escape.code(arm)}, {', '.join(taken)}.")
    return [*lines, ""] if lines else []


def solved(runs: Sequence[PaperRun]) -> str:
    """How many solved their task, and the median update of those."""
    updates = [run.solved_at for run in runs if run.solved and run.solved_at is not None]
    if not updates:
        return f"0 of {len(runs)}"
    return f"{len(updates)} of {len(runs)}, at update {averages.median_high(updates)}"


def _deviations(report: Report) -> list[str]:
    own = [item for item in report.paper.deviations if report.measurements.scale in item.scales]
    if not own:
        return []
    return [
        "## Deviations from the paper",
        "",
        *(f"- {escape.markdown(item.what)} *{escape.markdown(item.why)}*" for item in own),
        "",
    ]


def _tests(report: Report) -> list[str]:
    rows = [
        [
            escape.markdown(row.claim.id), row.verdict.evidence.test,
            f"{row.verdict.evidence.for_:.3g}", f"{row.verdict.for_:.3g}",
            f"{row.verdict.evidence.against:.3g}", f"{row.verdict.against:.3g}", CERTAINTIES[row.claim.certainty],
        ]
        for row in report.rows
        if row.verdict.evidence is not None
    ]  # fmt: skip
    if not rows:
        return []
    columns = ["", "test", "p, opposite", "corrected", "p, claim", "corrected", "the published figure is"]
    yes, no = (said(name, report.circumstance) for name in ("reproduced", "not reproduced"))
    about = (
        f"A claim is *{yes}* when its opposite is rejected at {report.paper.rule.alpha:g}, *{no}* when the claim "
        "itself is, both after Holm's correction over the claims of this scale, else *inconclusive*."
    )
    return ["## Tests", "", about, "", *table(columns, rows)]


def _every_seed(report: Report) -> list[str]:
    rows = [
        [escape.code(arm), quantity, ", ".join(number(value, sample) for value in sample.values)]
        for (arm, quantity), sample in report.by_seed.items()
    ]
    if not rows:
        return []
    about = "What the judged claims look at, one value a run, in the order of the seeds. 1 and 0 are yes and no."
    return ["## Every seed", "", about, "", *table(["arm", "quantity", "values"], rows)]


def _study(report: Report) -> list[str]:
    measurements = report.measurements
    fields = report.paper.model_dump(mode="json", exclude_defaults=True)
    shown = {
        "base": fields["base"],
        "arms": {arm: fields["arms"][arm] for arm in dict.fromkeys(r.arm for r in measurements.runs)},
    }
    shown["scale"] = fields["scales"][measurements.scale]
    if measurements.chosen:
        shown["chosen by search"] = measurements.chosen
    text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return ["## Study", "", escape.fenced(text, "yaml"), ""]


def _environment(report: Report) -> list[str]:
    measurements = report.measurements
    rows = [
        ["study", f"`{measurements.spec_hash[:WIDTH]}`"],
        [
            "runs",
            f"{len(measurements.runs)}"
            + (f", and {measurements.search_runs} of searches" if measurements.search_runs else ""),
        ],
        ["run keys", " ".join(f"`{run.run_key[:8]}`" for run in measurements.runs)],
        ["measured", measurements.date],
        ["time", f"{measurements.seconds / 60:.1f} minutes of training, all runs together"],
        *([escape.markdown(name), escape.markdown(value)] for name, value in measurements.environment.items()),
    ]
    return ["## Environment", "", *table(["", ""], rows)]
