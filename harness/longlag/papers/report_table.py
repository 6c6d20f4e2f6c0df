"""A report's table of claims for other programs: LaTeX, CSV, and BibTeX entries of the paper and of the report."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

from longlag import escape
from longlag.papers.claims import KNOWN
from longlag.papers.report import Report, Row
from longlag.papers.spec import Citation

COLUMNS = ("paper", "scale", "size", "data", "claim", "statement", "published", "source", "figure", "measured", "seeds",
           "p_opposite", "p_claim", "verdict")  # fmt: skip


def _measured(row: Row) -> str:
    return "; ".join(f"{item.arm} {item.text}" for item in row.arms)


def as_csv(report: Report) -> str:
    """A line of names, then one a claim; RFC 4180."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in report.rows:
        claim, judged = row.claim, row.verdict.evidence is not None
        writer.writerow([
            report.paper.name, report.measurements.scale, report.size, report.data, claim.id, claim.statement,
            claim.published, claim.source, KNOWN[claim.certainty], _measured(row), row.seeds,
            f"{row.verdict.for_:.6g}" if judged else "", f"{row.verdict.against:.6g}" if judged else "",
            report.decisions[claim.id],
        ])  # fmt: skip
    return out.getvalue()


def as_latex(report: Report) -> str:
    """A table for ``\\usepackage{booktabs}``."""
    citation = report.paper.citation
    lines = [
        r"\begin{table}",
        r"  \centering",
        r"  \begin{tabular}{lp{0.28\textwidth}p{0.2\textwidth}p{0.24\textwidth}rl}",
        r"    \toprule",
        r"    & claim & published & measured & seeds & verdict \\",
        r"    \midrule",
    ]
    for row in report.rows:
        published = f"{row.claim.published} ({KNOWN[row.claim.certainty]})"
        cells = (row.claim.id, row.claim.statement, published, _measured(row) or "–", row.seeds or "–",
                 report.decisions[row.claim.id])  # fmt: skip
        lines.append(f"    {' & '.join(map(escape.latex, cells))} " + r"\\")
    about = (
        f"Claims of {citation.authors} ({citation.year}), measured with longlag at scale {report.measurements.scale}: "
        f"size {report.size}, data {report.data}. Medians or means with intervals over seeds."
    )
    lines += [
        r"    \bottomrule",
        r"  \end{tabular}",
        rf"  \caption{{{escape.latex(about)}}}",
        rf"  \label{{tab:{report.paper.name}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def as_bibtex(report: Report) -> str:
    """Two entries: the paper, and the report on it."""
    citation, measured = report.paper.citation, report.measurements
    paper = {
        "author": " and ".join(_authors(citation)), "title": citation.title, "year": str(citation.year),
        "howpublished": citation.venue,
    }  # fmt: skip
    if citation.arxiv:
        paper |= {"eprint": citation.arxiv, "archiveprefix": "arXiv"}
    own = {
        "title": f"{citation.authors} ({citation.year}), published and measured", "year": measured.date[:4],
        "howpublished": f"longlag {measured.environment.get('longlag', '')}".strip(),
        "note": f"Scale {measured.scale}, measured {measured.date}, study {measured.spec_hash[:12]}",
    }  # fmt: skip
    return _entry(report.paper.name, paper) + "\n" + _entry(f"longlag-{report.paper.name}-{measured.scale}", own)


def _authors(citation: Citation) -> list[str]:
    return [name.strip() for name in re.split(r",| and ", citation.authors) if name.strip()]


def _entry(key: str, fields: dict[str, str]) -> str:
    """One entry; a title is in braces twice, which keeps its capitals."""
    values = {name: escape.latex(value) for name, value in fields.items()}
    values["title"] = f"{{{values['title']}}}"
    shown = [f"  {name} = {{{value}}},\n" for name, value in values.items()]
    return f"@misc{{{key},\n{''.join(shown)}}}\n"


FORMATS: dict[str, Callable[[Report], str]] = {"latex": as_latex, "csv": as_csv, "bibtex": as_bibtex}
