"""``longlag export``: a run as a folder to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longlag.cli import options, terminal


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of its run_key, or STUDY:best.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder; TASK-CELL-KEY in the working directory if not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    json: options.Json = False,
    home: options.Home = None,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Write a run as a folder: spec, weights, curves, environment, and ONNX where the cell has an ONNX form.

    \b
      longlag export quickstart:best
      longlag export 3f9a1c --to lstm-on-adding
      longlag run --spec lstm-on-adding/spec.json      # repeats it
    """
    from longlag.cli.homes import existing, none_begun

    opened = existing(home)
    if opened is None:
        raise none_begun(None, home)

    from longlag.export.export import export as write
    from longlag.export.find import find
    from longlag.tracking.store import Store

    store = Store.open(opened, tracking_uri)
    found = find(run, store)
    folder = to or Path(f"{found.tags['task']}-{found.tags['cell']}-{found.tags['run_key'][:8]}")
    done = write(found, store, folder, requested_as=run, force=force)
    if json:
        onnx = None if done.onnx is None else {"difference": done.onnx.difference, "sequences": done.onnx.sequences}
        fields = {"run_id": found.run_id, "run_key": found.tags["run_key"], "folder": str(done.folder)}
        more = {"files": list(done.files), "onnx": onnx, "no_onnx_because": done.why_not or None}
        terminal.print_json({**fields, **more})
        return
    terminal.say(f"{done.folder}: {', '.join(done.files)}")
    terminal.say(
        f"no model.onnx: {done.why_not}"
        if done.onnx is None
        else f"model.onnx agrees with the run's own network to {done.onnx.difference:.2g} "
        f"over {done.onnx.sequences} test sequences"
    )
    terminal.say(f"Repeat it: longlag run --spec {done.folder / 'spec.json'}")
