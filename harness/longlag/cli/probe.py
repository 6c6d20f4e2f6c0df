"""``longlag probe``: gradient flow without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longlag.cli import execution, options
from longlag.cli.options import FIELDS

SHOWN = "What is shown"


def probe(
    task: Annotated[
        str | None,
        typer.Argument(help="A task; `longlag list tasks` lists them.", autocompletion=options.complete_task),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(help="Cells, separated by commas.", rich_help_panel=FIELDS, autocompletion=options.complete_cell),
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Of the cell, such as uniform,orthogonal.", rich_help_panel=FIELDS)
    ] = None,
    depth: Annotated[str | None, typer.Option(help="Depths, such as 1,2.", rich_help_panel=FIELDS)] = None,
    hidden_size: Annotated[str | None, typer.Option(help="Sizes, such as 32,128.", rich_help_panel=FIELDS)] = None,
    block: Annotated[
        str | None, typer.Option(help="Blocks around the layers, such as plain,mamba.", rich_help_panel=FIELDS)
    ] = None,
    length: Annotated[str | None, typer.Option(help="Of the task, such as 100,500.", rich_help_panel=FIELDS)] = None,
    dtype: Annotated[
        str, typer.Option(help="float64, float32, bfloat16, float16; several, by commas.", rich_help_panel=FIELDS)
    ] = "float64",
    seeds: Annotated[
        str, typer.Option(help="Of initialisation and data, such as 0,1,2.", rich_help_panel=FIELDS)
    ] = "0,1,2",
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences.", rich_help_panel=FIELDS)] = 8,
    set_: options.Set = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN_ID", help="A finished run, with its trained weights, in place of a task."),
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="Draw this state, such as c; the output if not given.", rich_help_panel=SHOWN)
    ] = None,
    dynamics: Annotated[
        bool,
        typer.Option("--dynamics", help="Also Lyapunov exponents, spectra, gates, norms.", rich_help_panel=SHOWN),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Write a picture of the curves to this file: .png, .pdf or .svg.",
            rich_help_panel=SHOWN,
        ),
    ] = None,
    threads: execution.Threads = 1,
    json: options.Json = False,
    home: options.Home = None,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Show how gradients flow back through time, before any training.

    \b
      longlag probe copy-memory --cell rnn,irnn,lstm-1997,lstm,gru,urnn --set task.length=500
      longlag probe adding --cell lstm --depth 1,2,3 --length 100,200
      longlag probe copy-memory --cell rnn --dtype float64,float32,bfloat16,float16
      longlag probe copy-memory --cell gru,gated-deltanet --block plain,pre-norm,mamba
      longlag probe adding --cell rnn --init uniform,orthogonal --dynamics --json

    Where there is a loss at every step, the gradient of the loss at one step is followed back; elsewhere the whole
    loss's. docs/gradient-flow.md says what the numbers mean.
    """
    from longlag.spec import require_for_fields

    require_for_fields({"task": task})
    from longlag.analysis.probe import check_picture
    from longlag.cli import probing

    axes = {
        "cell": cell,
        "init": init,
        "depth": depth,
        "hidden_size": hidden_size,
        "block": block,
        "length": length,
    }
    given = probing.ProbeOptions(
        axes={key: text for key, text in axes.items() if text is not None},
        dtypes=dtype,
        seeds=seeds,
        size=batch_size,
        settings=tuple(set_ or ()),
        state=state,
        dynamics=dynamics,
        threads=threads,
    )
    if plot is not None:
        check_picture(plot)
    result = probing.of_task(task, given) if run is None else probing.of_run(run, task, given, home, tracking_uri)
    probing.show(result, given, plot, json=json)
