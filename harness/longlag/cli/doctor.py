"""``longlag doctor``: what is installed, what is in the home, and what a crash left there."""

from __future__ import annotations

from typing import Annotated

import typer

from longlag.cli import options, terminal


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put back, mark as killed or remove what a dead process left.")
    ] = False,
    json: options.Json = False,
    home: options.Home = None,
    tracking_uri: options.TrackingUri = None,
    storage: options.Storage = None,
) -> None:
    """Look at the installation and the home; exit code 1 where something is wrong.

    \b
      longlag doctor
      longlag doctor --repair

    A sweep repairs what belongs to it by itself.
    """
    from longlag.cli.homes import existing

    opened = existing(home)

    from longlag.cli.checks import examine
    from longlag.workspace import Workspace

    found = list(examine(None if opened is None else Workspace(opened, tracking_uri, storage), repair))
    if json:
        terminal.print_json([finding.model_dump() for finding in found])
    else:
        for finding in found:
            terminal.say(f"{finding.state:8}  {finding.what}: {finding.about}")
        if not repair and any(finding.state == "wrong" for finding in found):
            terminal.say("longlag doctor --repair puts right what can be")
    if any(finding.state == "wrong" for finding in found):
        raise typer.Exit(1)
