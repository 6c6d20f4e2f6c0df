"""The reports that are kept in docs/papers: what the command writes from the measurements beside them, no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.papers import figures, pages, report_markdown
from harness.registry import UserError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "papers"
KEPT = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("data", KEPT, ids=lambda path: path.stem)
def test_the_page_is_what_the_measurements_give(data: Path, tmp_path: Path) -> None:
    _, content = pages.again(data)
    pictures = figures.draw(content.paper, content.record, tmp_path, data.stem)
    assert all((FOLDER / file).exists() for file in pictures.values())
    made = report_markdown.markdown(content, pictures)
    command = f"longlag reproduce --from {data.relative_to(ROOT)}"
    assert data.with_suffix(".md").read_text() == made, f"write it again: {command} --write docs/papers"


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
