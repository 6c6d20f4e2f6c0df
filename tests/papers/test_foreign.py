"""What somebody else's paper study, or measurements, can make a report read: nothing but the report's own pictures."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from longlag.errors import UserError
from longlag.papers import pages, report
from longlag.papers.report_html import page
from longlag.papers.spec import load_paper_fields
from tests.papers.example import FIELDS, measured

SECRET = b"a picture of somebody's own"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """Pictures that are no business of a report, as Markdown names them; the report's folder is ``report``."""
    folder, secret = tmp_path / "report", tmp_path / "secret.png"
    folder.mkdir()
    secret.write_bytes(SECRET)
    (folder / "link.png").symlink_to(secret)
    (folder / "page.txt").write_bytes(SECRET)
    os.mkfifo(folder / "pipe.png")
    near = ["../secret.png", "..%2Fsecret.png", "link.png", "page.txt", "pipe.png", "missing.png", "%00.png"]
    return [*near, str(secret), secret.as_uri(), "http://127.0.0.1:9/secret.png", "//127.0.0.1:9/secret.png"]


def test_a_page_holds_the_pictures_beside_it_and_no_others(tmp_path: Path, sources: list[str]) -> None:
    (tmp_path / "report" / "own.png").write_bytes(b"own")
    text = "\n\n".join(f"![shown-{n}]({source})" for n, source in enumerate(["own.png", *sources]))
    html = page(text, tmp_path / "report", "title")
    assert html.count("<img") == 1 and f'src="data:image/png;base64,{encoded(b"own")}" alt="shown-0"' in html
    assert encoded(SECRET) not in html and "127.0.0.1" not in html
    assert all(f"shown-{n}" in html for n in range(len(sources) + 1))
    assert "Content-Security-Policy\" content=\"default-src 'none'; img-src data:;" in html


def test_no_text_of_a_study_becomes_a_picture_of_its_page(tmp_path: Path, sources: list[str]) -> None:
    text = " ".join(f"![shown]({source}) <img src='{source}'>" for source in sources)
    paper = load_paper_fields({**FIELDS, "summary": text}, "example")
    written = pages.write(report.build(paper, measured(), simulate=False), tmp_path / "report")
    html = written.html.read_text(encoding="utf-8")
    assert encoded(SECRET) not in html
    assert html.count("<img") == html.count('<img src="data:image/png;base64,') > 0


def test_measurements_name_a_study_and_no_file(tmp_path: Path) -> None:
    data = tmp_path / "kept.json"
    measured().write(data)
    fields = json.loads(data.read_text(encoding="utf-8"))
    fields = {key: value for key, value in fields.items() if key != "sha256"} | {"paper": str(tmp_path / "study.yaml")}
    data.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(UserError, match="holds no measurements of a paper study: paper: String should match pattern"):
        pages.again(data)
