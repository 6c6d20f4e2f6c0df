"""``longlag report``: a study as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longlag.cli import options


def report(
    study: Annotated[
        str,
        typer.Argument(
            help="The study's name, or a file with the measurements of a paper study (PAPER.json).",
            autocompletion=options.complete_study,
        ),
    ],
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the pictures; `reports/STUDY` of the home if not given. Of a file: for its pages, "
            "which else lie beside it."
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Another study: show the points of both side by side.", autocompletion=options.complete_study
        ),
    ] = None,
    importance: Annotated[
        bool | None,
        typer.Option(
            help="Which axes matter. By default from the end of the sweep, or computed for at most 300 trials; "
            "--importance computes it for more, in seconds."
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every trial in the table, in place of the best 100 and 100 unfinished ones.")
    ] = False,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of a paper study's file: print its table of claims as latex or csv, or entries for a bibliography as "
            "bibtex.",
            autocompletion=lambda: ["latex", "csv", "bibtex"],
        ),
    ] = None,
    json: options.Json = False,
    home: options.Home = None,
    tracking_uri: options.TrackingUri = None,
    storage: options.Storage = None,
) -> None:
    """Show the trials of a study, the best first, which axes matter, and how well gradient flow says who learns.

    \b
      longlag report quickstart
      longlag report quickstart --json
      longlag report quickstart --compare quickstart-2
      longlag report docs/papers/chung-2014.json    the pages of a paper study
      longlag report docs/papers/chung-2014.json --format latex
    """
    if format_ is not None:
        from longlag.cli.papers import print_table

        print_table(study, format_)
        return
    if study.endswith(".json"):
        from longlag.cli.papers import from_file

        from_file(Path(study), pictures, json)
        return
    from longlag.cli.homes import none_begun, workspace

    place = workspace(home, tracking_uri, storage)
    if place is None:
        raise none_begun(study, home)

    from longlag.analysis.cache import ReportCache
    from longlag.analysis.pictures import draw_all
    from longlag.cli.summary import print_study
    from longlag.parts import Parts
    from longlag.study.report import report as stored

    store = place.store()
    result = stored(study, place, store)
    if compare is not None:
        from longlag.cli.papers import print_comparison

        other = stored(compare, place, store)
        print_comparison(result, other, json)
        return
    folder = pictures or place.home.reports / result.spec.name
    parts = Parts()
    draw_all(result, store, folder, parts, ReportCache(folder) if pictures is None else None)
    print_study(result, place.home, parts, json, folder, importance, all_)
