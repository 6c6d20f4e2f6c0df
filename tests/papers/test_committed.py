"""The reports that are kept in docs/papers: what the command writes from the measurements beside them, no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from longlag.errors import UserError
from longlag.papers import figures, pages, plan, report_markdown
from longlag.papers.measurements import read
from longlag.papers.spec import load_paper
from longlag.parts import Parts

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "papers"
COMMITTED = sorted(FOLDER.glob("*.json"))


def pages_to_make() -> list[Any]:
    """All of them; those after the first are slow tests, because each takes seconds of statistics."""
    return [pytest.param(path, marks=[pytest.mark.slow] if path != COMMITTED[0] else []) for path in COMMITTED]


@pytest.mark.parametrize("data", pages_to_make(), ids=[path.stem for path in COMMITTED])
def test_the_page_is_what_the_measurements_give(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "save", lambda *_: None)  # what is drawn is no part of the page
    _, content = pages.again(data)
    parts = Parts()
    pictures = figures.draw(content.paper, content.measurements, tmp_path, data.stem, parts)
    assert all((FOLDER / file).exists() for file in pictures.values())
    made = report_markdown.markdown(content, pictures, parts)
    assert not parts.failed
    command = f"longlag report {data.relative_to(ROOT)}"
    assert data.with_suffix(".md").read_text() == made, f"write it again: {command}"


@pytest.mark.parametrize("data", COMMITTED, ids=lambda path: path.stem)
def test_the_run_keys_are_what_the_paper_study_gives(data: Path) -> None:
    """A run key that changes makes every finished run unfindable, and the committed numbers without a source."""
    stored = read(data)
    paper = load_paper(stored.paper)
    found = {(entry.arm, entry.seed): entry.spec.run_key for entry in plan.entries(paper, stored.scale, stored.chosen)}
    assert found == {(run.arm, run.seed): run.run_key for run in stored.runs}


def test_the_command_makes_the_pages_again(longlag: Any, tmp_path: Path) -> None:
    data = COMMITTED[0]
    answer = longlag("report", str(data), "--pictures", str(tmp_path))
    assert answer.code == 0 and f"{data.stem}.html" in answer.out, answer.err
    assert (tmp_path / f"{data.stem}.md").read_text() == data.with_suffix(".md").read_text()
    assert (tmp_path / f"{data.stem}.html").exists() and not data.with_suffix(".html").exists()
    other = tmp_path / "other.json"
    other.write_text("{}")
    for file, sentence in (("nothing.json", "cannot read nothing.json"), (str(other), "no measurements of a paper")):
        answer = longlag("report", file)
        assert answer.code == 2 and sentence in answer.err and "Traceback" not in answer.err


def test_the_table_in_the_readme_is_up_to_date() -> None:
    text = (ROOT / "README.md").read_text()
    inside = text.partition(f"{pages.BEGIN}\n")[2].partition(pages.END)[0]
    assert inside == pages.summary(FOLDER, "docs/papers/"), "renew it: longlag reproduce --summary README.md"


def test_renewing_a_table(tmp_path: Path) -> None:
    page, folder = tmp_path / "README.md", tmp_path / "docs" / "papers"
    folder.mkdir(parents=True)
    page.write_text(f"before\n{pages.BEGIN}\nold\n{pages.END}\nafter\n")
    assert pages.renew_summary(page, folder)
    text = page.read_text()
    assert text.startswith(f"before\n{pages.BEGIN}\n") and text.endswith(f"{pages.END}\nafter\n") and "old" not in text
    assert not pages.renew_summary(page, folder), "nothing to do the second time"
    page.write_text("no markers")
    with pytest.raises(UserError, match="has no lines"):
        pages.renew_summary(page, folder)
