"""``longlag ui``: MLflow's pages on the store."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from longlag.cli import options, terminal


def ui(
    study: Annotated[
        str | None,
        typer.Argument(help="The study to open on.", autocompletion=options.complete_study),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page, on this machine only.")] = 5000,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether to open a browser.", show_default=True)
    ] = True,
    home: options.Home = None,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Start the MLflow UI and print its address. Ctrl-C ends it.

    \b
      longlag ui
      longlag ui quickstart --port 5001
    """
    from longlag.cli.homes import existing, none_begun

    opened = existing(home)
    if opened is None and tracking_uri is None:
        raise none_begun(study, home)

    from longlag.tracking.home import Home
    from longlag.tracking.ui import serve

    wanted = open_browser and sys.stdout.isatty()  # a script or a test has no use for a window
    raise typer.Exit(serve(opened or Home.open(home), tracking_uri, port, study, wanted, announce=terminal.say))
