"""``longlag dashboard``: Optuna's pages on a study."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from longlag.cli import options, terminal
from longlag.packages import DASHBOARD


def dashboard(
    study: Annotated[
        str | None,
        typer.Argument(help="The study to open on.", autocompletion=options.complete_study),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page, on this machine only.")] = 8080,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether to open a browser.", show_default=True)
    ] = True,
    home: options.Home = None,
    storage: options.Storage = None,
) -> None:
    """Start optuna-dashboard on the studies and print its address. Ctrl-C ends it.

    It shows the trials as they come, and changes nothing. Needs: pip install 'longlag[dashboard]'

    \b
      longlag dashboard
      longlag dashboard quickstart --port 8081
    """
    DASHBOARD.require()
    from longlag.cli.homes import none_begun, workspace

    place = workspace(home, None, storage)
    if place is None:
        raise none_begun(study, home)

    from longlag.study.dashboard import serve

    wanted = open_browser and sys.stdout.isatty()
    serve(place, study, port, wanted, announce=terminal.say)
