"""A headless Chromium that makes no traffic of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [  # what a browser needs as root in a container, and no traffic of its own
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT = 300_000
"""Milliseconds for whatever a page is waited for: it matters where something fails, or the machine is very busy."""
TRACE = ".js-plotly-plot .scatterlayer .trace"
"""A line in one of MLflow's charts."""


@contextmanager
def opened(profile: Path) -> Iterator[Page]:
    """One page of a browser with a fresh profile; needs playwright and `CHROMIUM`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, args=FLAGS, viewport={"width": 1600, "height": 1000}, timeout=WAIT
        )
        context.set_default_timeout(WAIT)
        # MLflow opens its assistant on a first visit, over a third of the page: this one is not the first.
        context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        yield context.pages[0]
        context.close()
