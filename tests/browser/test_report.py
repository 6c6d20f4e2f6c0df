"""A paper study's report in a real browser: every picture is there, and nothing is asked of a network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from longlag.papers import pages, report
from tests.browser.chromium import CHROMIUM, FLAGS, WAIT
from tests.papers.example import measured, paper

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)"),
]


def test_report(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    written = pages.write(report.build(paper(), measured()), tmp_path)
    for picture in tmp_path.glob("*.png"):
        picture.unlink()  # what is shown stands in the page itself
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=WAIT)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(WAIT)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(written.html.as_uri())
        sizes = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
        verdicts = page.locator("tr:has-text('the LSTM | is better') td:last-child").all_inner_texts()
        cell = page.locator("td:has-text('rnn score')").first.inner_text()
        if "LONGLAG_SCREENSHOTS" in os.environ:
            page.screenshot(path=str(Path(os.environ["LONGLAG_SCREENSHOTS"]) / "report.png"), full_page=True)
        browser.close()
    assert len(sizes) == 3 and all(size > 300 for size in sizes)
    assert [url for url in asked if not url.startswith(("data:", written.html.as_uri()))] == []
    assert verdicts[0] == "holds at reduced size" and "\n" in cell, "arms stand below each other"
