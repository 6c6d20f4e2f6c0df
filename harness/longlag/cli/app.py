"""The command ``longlag``: its subcommands, and what becomes of errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from longlag import log
from longlag.cli import errors
from longlag.cli.dashboard import dashboard
from longlag.cli.doctor import doctor
from longlag.cli.export import export
from longlag.cli.horizon import horizon
from longlag.cli.list import app as list_app
from longlag.cli.probe import probe
from longlag.cli.report import report
from longlag.cli.reproduce import reproduce
from longlag.cli.run import run
from longlag.cli.schema import schema
from longlag.cli.show import show
from longlag.cli.sweep import sweep
from longlag.cli.ui import ui

HELP = """Which recurrent cell learns a long time lag, at what cost, and why?

A task is a benchmark with a long lag, a cell a recurrence, a run one training, a study a search over runs.

\b
  longlag sweep quickstart                   a first study, in minutes
  longlag ui quickstart                      its curves in the browser
  longlag run adding --cell lstm             one run
  longlag sweep adding --cell rnn,lstm,gru --depth 1,2
  longlag probe adding --cell rnn,lstm,gru   gradient flow, in seconds
  longlag horizon adding --cell lstm,gru     the longest lag that each learns
  longlag reproduce --list                   papers' comparisons, with verdicts
  longlag list tasks
"""

app = typer.Typer(
    name="longlag",
    help=HELP,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"longlag {version('longlag')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def longlag(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every failure that was handled, with its traceback.")
    ] = False,
) -> None:
    log.show(verbose or errors.debugging() or None)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(run)
app.command()(sweep)
app.add_typer(list_app, name="list")
app.command()(probe)
app.command()(horizon)
app.command()(show)
app.command()(report)
app.command()(export)
app.command()(reproduce)
app.command()(ui)
app.command()(dashboard)
app.command()(schema)
app.command()(doctor)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script."""
    sys.exit(errors.invoke(app, sys.argv[1:] if arguments is None else list(arguments)))
