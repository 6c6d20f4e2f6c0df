"""The table of claims as LaTeX and CSV, and the entries for a bibliography."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from longlag import escape
from longlag.papers import report
from longlag.papers.report_table import COLUMNS, as_bibtex, as_csv, as_latex
from longlag.papers.spec import load_paper_fields
from tests.papers.example import CLAIM, FIELDS, measured, paper

DATA = Path(__file__).resolve().parents[2] / "docs" / "papers" / "chung-2014.json"


def balanced(text: str) -> bool:
    """Whether braces close in order, those behind a backslash left out."""
    depth = 0
    for mark in re.findall(r"\\.|[{}]", text):
        depth += {"{": 1, "}": -1}.get(mark, 0)
        if depth < 0:
            return False
    return depth == 0


def test_csv_has_every_claim_and_reads_back() -> None:
    content = report.build(paper(), measured())
    rows = list(csv.DictReader(io.StringIO(as_csv(content))))
    assert [row["claim"] for row in rows] == ["C1", "C2", "C3"] and tuple(rows[0]) == COLUMNS
    assert rows[0]["statement"] == CLAIM["statement"] and rows[0]["verdict"] == "holds at reduced size"
    assert (rows[0]["size"], rows[0]["data"], rows[0]["figure"]) == ("reduced", "original", "unverified")
    assert "lstm score: median 0.12" in rows[0]["measured"] and 0 < float(rows[0]["p_opposite"]) < 0.05
    assert rows[2]["verdict"] == "not judged" and rows[2]["p_claim"] == "" == rows[2]["measured"]


def test_latex_shows_text_as_it_is_written() -> None:
    odd = {**CLAIM, "statement": "50% of {a_b} & c#d ~ ^ \\\\ | $x$"}
    content = report.build(load_paper_fields({**FIELDS, "claims": [odd]}, "example"), measured())
    text = as_latex(content)
    assert r"50\% of \{a\_b\} \& c\#d \textasciitilde{} \textasciicircum{} " in text and balanced(text)
    assert r" \textbackslash{}\textbackslash{} \textbar{} \$x\$" in text
    row = next(line for line in text.splitlines() if line.lstrip().startswith("C1"))
    assert len(re.findall(r"(?<!\\)&", row)) == 5 and row.endswith(r"\\")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


def test_latex_of_every_kept_character() -> None:
    for data in DATA.parent.glob("*.md"):
        text = escape.latex(data.read_text())
        assert balanced(text), data.name


def test_bibtex_names_the_paper_and_the_report() -> None:
    text = as_bibtex(report.build(paper(), measured()))
    paper_entry, own = text.split("\n\n")
    assert paper_entry.startswith("@misc{example-2000,") and "author = {A and B}" in paper_entry
    assert "title = {{T}}" in paper_entry and balanced(text)
    assert own.startswith("@misc{longlag-example-2000-cpu,") and "Scale cpu" in own


@pytest.mark.parametrize("form", ["latex", "csv", "bibtex"])
def test_the_command_prints_it(longlag: Any, form: str) -> None:
    answer = longlag("report", str(DATA), "--format", form)
    assert answer.code == 0 and not answer.err, answer.err
    assert {"latex": r"\toprule", "csv": "chung-2014,cpu,reduced,substitute,C1", "bibtex": "eprint = {1412.3555}"}[
        form
    ] in answer.out


def test_what_is_refused(longlag: Any) -> None:
    answer = longlag("report", str(DATA), "--format", "latx")
    assert answer.code == 2 and "--format 'latx': one of latex, csv, bibtex" in answer.err
    answer = longlag("report", "quickstart", "--format", "csv")
    assert answer.code == 2 and "of a paper study's file only" in answer.err
