"""What a person sees: the study's charts and a gradient curve, drawn by a real browser.

``LONGLAG_SCREENSHOTS=folder`` keeps the pictures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longlag.spec import StudySpec, load_study
from longlag.study.describe import note, run_name
from longlag.tracking import study_run
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.tracking.ui import curve_address
from longlag.training import train
from tests.browser.chromium import CHROMIUM, TRACE, opened
from tests.servers.ports import free_port
from tests.servers.ui import ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELLS = ("rnn", "lstm", "gru")
METRIC = "gradient_through_time/layer1.h/last"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)"),
]

STUDY = {
    "name": "three-cells",
    "description": "Three cells on the adding problem, 30 steps.",
    "base": {
        "task": {"name": "adding", "length": 30},
        "model": {"hidden_size": 16},
        "training": {"updates": 40, "eval_every": 10, "batch_size": 20},
        "data": {"validation": 50, "test": 50},
        "probe": {"log_every": 4},
    },
    "space": {"cell": list(CELLS)},
    "sampler": {"name": "grid"},
}


@pytest.fixture
def study(tmp_path: Path) -> tuple[Home, StudySpec]:
    """A study whose runs were trained."""
    home, spec = Home.open(tmp_path / "home"), load_study(STUDY)
    store = Store.open(home)
    experiment = store.experiment(spec.name, note(spec))
    parent = study_run.begin(store, experiment, spec.name, {"longlag.study_identity": spec.identity()}, {})
    for number, cell in enumerate(CELLS):
        run = spec.run({"cell": cell}, 0)
        callback = store.callback(experiment, parent, {"longlag.study": spec.name}, run_name(number, run))
        train(run, [callback], cache=home.datasets)
    study_run.end(store, parent, "FINISHED", {})
    return home, spec


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page that fails the test if it asks for anything outside of this machine."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'longlag[test]'")
    outside: list[str] = []
    with opened(tmp_path / "profile") as page:
        page.on("request", lambda r: outside.append(r.url) if r.url.startswith("http") and not _here(r.url) else None)
        yield page
    assert outside == []


def _here(url: str) -> bool:
    return url.startswith("http://127.0.0.1:")


def keep(page: Page, tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("LONGLAG_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    if "LONGLAG_SCREENSHOTS" in os.environ:
        page.wait_for_timeout(1500)  # for a person's eyes: plotly moves its axes after the lines are there
    page.screenshot(path=folder / f"{name}.png")
    assert (folder / f"{name}.png").stat().st_size > 20_000


def lines_have_colours(page: Page, chart: int, least: int, most: int) -> None:
    """Of the lines in one of the charts on the page."""
    page.wait_for_function(
        """([chart, least, most]) => {
            const plot = document.querySelectorAll(".js-plotly-plot")[chart];
            const lines = [...(plot?.querySelectorAll(".scatterlayer .trace path.js-line") ?? [])];
            const wide = lines.filter(line => line.getBBox().width > 100);
            const colours = new Set(wide.map(line => getComputedStyle(line).stroke));
            return least <= colours.size && colours.size <= most;
        }""",
        arg=[chart, least, most],
    )


def test_what_a_person_sees(study: tuple[Home, StudySpec], page: Page, tmp_path: Path) -> None:
    """One test for all pages: the server, the browser and the runs take longer than looking at them."""
    home, spec = study
    store = Store.open(home)
    experiment = store.experiment_id(spec.name)
    runs = [entry.run_id for entry in store.stored_runs(experiment)]
    with ui(home.root, spec.name, free_port()) as address:
        server = address.split("/#")[0]
        the_study_opens_on_its_gradient_curves(page, address)
        keep(page, tmp_path, "study")
        one_chart_holds_the_curve_of_every_cell(page, curve_address(server, experiment, runs, METRIC))
        keep(page, tmp_path, "curve")
        the_picture_of_a_run_shows(page, f"{server}/#/experiments/{experiment}/runs/{runs[1]}")
        keep(page, tmp_path, "picture")
        page.goto("about:blank")  # it asks the server for news every some seconds, which is about to end


def the_study_opens_on_its_gradient_curves(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(TRACE)
    page.get_by_text("Gradient norm through time").first.wait_for()
    page.get_by_text(METRIC).first.wait_for()
    for cell in CELLS:
        page.get_by_text(f"{cell} depth 1").first.wait_for()
    page.get_by_text("3 matching runs").wait_for()  # every run, and not the study's own
    for metric in ("validation/score", "gradient_norm/global"):
        page.get_by_text(metric).first.wait_for()
    page.wait_for_function(f"document.querySelectorAll({json.dumps(TRACE)}).length >= 9")
    for chart in range(3):  # score, gradient norm and curve, side by side
        lines_have_colours(page, chart, 3, 3)  # a line for every cell, each of its own colour


def one_chart_holds_the_curve_of_every_cell(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_text("Completed Runs").first.wait_for()
    page.wait_for_function(f"document.querySelectorAll({json.dumps(TRACE)}).length >= 3")
    page.get_by_text(METRIC).first.wait_for()
    lines_have_colours(page, 0, 1, 3)  # on this page MLflow picks the colours itself, and may pick one twice


def the_picture_of_a_run_shows(page: Page, run: str) -> None:
    page.goto(f"{run}/artifacts/gradient_through_time.svg?workflowType=machine_learning")
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 1000)")
