"""What a person sees: the study's charts and a gradient curve, drawn by a real browser.

``LONGLAG_SCREENSHOTS=folder`` keeps the pictures.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.search.report import note, run_name
from harness.spec import StudySpec, load_study
from harness.tracking.home import Home
from harness.tracking.store import Store
from harness.tracking.ui import curve_address
from harness.training import train
from tests.tracking.serving import free_port, ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
TRACE = ".js-plotly-plot .scatterlayer .trace"
WAIT = 90_000  # milliseconds; MLflow's pages are slow where a machine is busy

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
    "space": {"cell": ["rnn", "lstm", "gru"]},
    "sampler": {"name": "grid"},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, StudySpec]:
    """A study whose runs were trained."""
    home, spec = Home.open(tmp_path_factory.mktemp("browser") / "home"), load_study(STUDY)
    store = Store.open(home)
    experiment = store.experiment(spec.name, note(spec))
    parent = store.parent(experiment, spec.name, {"longlag.study_identity": spec.identity()}, {})
    for number, cell in enumerate(("rnn", "lstm", "gru")):
        run = spec.run({"cell": cell}, 0)
        listener = store.listener(experiment, parent, {"longlag.study": spec.name}, run_name(number, run))
        train(run, [listener], cache=home.datasets)
    store.end_parent(parent, "FINISHED", {})
    return home, spec


@pytest.fixture(scope="module")
def address(study: tuple[Home, StudySpec]) -> Iterator[str]:
    with ui(study[0].root, study[1].name, free_port()) as page:
        yield page


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page that fails the test if it asks for anything outside of this machine."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'longlag[test]'")
    outside: list[str] = []
    with api.sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": FLAGS, "viewport": {"width": 1600, "height": 1000}}
        context = playwright.chromium.launch_persistent_context(str(tmp_path / "profile"), **options)
        # MLflow opens its assistant on a first visit, over a third of the page: this one is not the first.
        context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        opened = context.pages[0]
        opened.on("request", lambda r: outside.append(r.url) if r.url.startswith("http") and not _here(r.url) else None)
        yield opened
        context.close()
    assert outside == []


def _here(url: str) -> bool:
    return url.startswith("http://127.0.0.1:")


def keep(page: Page, tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("LONGLAG_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(1500)  # plotly moves its axes after the lines are there
    page.screenshot(path=folder / f"{name}.png")
    assert (folder / f"{name}.png").stat().st_size > 20_000


def drawn(page: Page) -> list[int]:
    """Lines in every chart on the page."""
    count = "charts => charts.map(chart => chart.querySelectorAll('.scatterlayer .trace').length)"
    numbers: list[int] = page.eval_on_selector_all(".js-plotly-plot", count)
    return numbers


def test_the_study_opens_on_its_gradient_curves(address: str, page: Page, tmp_path: Path) -> None:
    page.goto(address)
    page.wait_for_selector(TRACE, timeout=WAIT)
    page.get_by_text("Gradient norm through time").first.wait_for(timeout=WAIT)
    page.get_by_text("gradient_through_time/layer1.h/last").first.wait_for(timeout=WAIT)
    for cell in ("rnn", "lstm", "gru"):
        assert page.get_by_text(f"{cell} depth 1").count() > 0
    assert drawn(page)[0] == 3, "one line a cell"
    assert page.get_by_text("3 matching runs").count() == 1, "every run, and not the study's own"
    keep(page, tmp_path, "study")


def test_a_gradient_curve_of_every_cell_in_one_chart(
    address: str, study: tuple[Home, StudySpec], page: Page, tmp_path: Path
) -> None:
    store = Store.open(study[0])
    experiment = store.experiment_id(study[1].name)
    metric = "gradient_through_time/layer1.h/last"
    runs = [entry.run_id for entry in store.recorded(experiment)]
    page.goto(curve_address(address.split("/#")[0], experiment, runs, metric))
    page.wait_for_selector(TRACE, timeout=WAIT)
    page.wait_for_function(f"document.querySelectorAll({json.dumps(TRACE)}).length >= 3", timeout=WAIT)
    assert page.get_by_text(metric).count() > 0
    keep(page, tmp_path, "curve")


def test_the_picture_of_a_run_shows(address: str, study: tuple[Home, StudySpec], page: Page, tmp_path: Path) -> None:
    store = Store.open(study[0])
    experiment = store.experiment_id(study[1].name)
    run = store.recorded(experiment)[1].run_id
    server = address.split("/#")[0]
    file = "gradient_through_time.png"
    page.goto(f"{server}/#/experiments/{experiment}/runs/{run}/artifacts/{file}?workflowType=machine_learning")
    picture = page.wait_for_selector("img[src^='blob:'], img[src*='get-artifact']", timeout=WAIT)
    assert picture is not None
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 1000)", timeout=WAIT)
    keep(page, tmp_path, "picture")
