"""MLflow's UI on this machine: started at the right store, opened on the right page, gone when the command ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote, urlencode

from longlag.credentials import bare
from longlag.errors import UserError
from longlag.tracking import connection, views
from longlag.tracking.home import Home
from longlag.tracking.store import Store

HOST = "127.0.0.1"
START_SECONDS = 300.0  # a busy machine; a server that ends is noticed at once
STOP_SECONDS = 10.0
Mode = Literal["chart", "table"]


def address(server: str, experiment_id: str | None = None, mode: Mode = "chart", view: bool = True) -> str:
    """Where a study's runs stand in the UI, flat: every run, not the study's own with its runs folded away.

    Args:
        server: ``http://127.0.0.1:5000``.
        experiment_id: of the study; None for the list of all.
        mode: charts or the table.
        view: with longlag's own charts, which `views.save` has to have written.
    """
    query = {"workflowType": "machine_learning"}  # without it the UI opens for language models
    if experiment_id is None:
        return f"{server}/#/experiments?{urlencode(query)}"
    query["compareRunsMode"] = "CHART" if mode == "chart" else "TABLE"
    if view:
        query["viewStateShareKey"] = views.KEY
    else:
        query |= {"searchFilter": views.FILTER, "orderByKey": "metrics.`score`", "orderByAsc": "true"}
    return f"{server}/#/experiments/{experiment_id}/runs?{urlencode(query, quote_via=quote)}"


def curve_address(server: str, experiment_id: str, run_ids: list[str], metric: str) -> str:
    """One metric of several runs in one chart, on a logarithmic axis: such as the curves through time of all cells."""
    query = {
        "runs": json.dumps(run_ids),
        "metric": json.dumps(metric),
        "experiments": json.dumps([experiment_id]),
        "plot_metric_keys": json.dumps([metric]),
        "plot_layout": "{}",
        "x_axis": "step",
        "y_axis_scale": "log",
        "line_smoothness": "1",
        "show_point": "false",
        "workflowType": "machine_learning",
    }
    return f"{server}/#/metric?{urlencode(query, quote_via=quote)}"


def serve(
    home: Home,
    uri: str | None = None,
    port: int = 5000,
    study: str | None = None,
    open_browser: bool = False,
    announce: Callable[[str], None] | None = None,
) -> int:
    """Run the UI until Ctrl-C; returns the exit code.

    Args:
        home: whose store is shown.
        uri: another store; where it is a server already, only the address is printed.
        port: on the loopback interface; 0 takes a free one.
        study: to open on; the only one, or the list of all, when not given.
        open_browser: open the address.
        announce: told what a person should know; the address, alone in a line, when the page is there. Prints it
            when not given.

    Raises:
        UserError: when the port is in use, or there is no store or no such study.
    """
    announce = announce or _print
    where = connection.location(home, uri)
    if where.startswith(connection.SQLITE) and not Path(where.removeprefix(connection.SQLITE)).exists():
        raise UserError(f"nothing is recorded at {home.root if uri is None else where} yet; run a sweep first")
    store = Store.open(home, uri)
    experiment = _experiment(store, study)
    view = experiment is not None and views.save(store.client, experiment)

    def tell(server: str) -> None:
        page = address(server, experiment, view=view)
        announce(page)
        if open_browser:
            webbrowser.open(page)

    if where.startswith(connection.SERVERS):
        tell(bare(where))
        return 0
    port = _free(port)
    announce("Starting MLflow's pages, which takes some seconds ...")
    with _server(where, home, port) as (process, server):
        tell(server)
        announce("Ctrl-C ends it.")
        try:
            return process.wait()
        except KeyboardInterrupt:
            return 0


def _print(line: str) -> None:
    print(line, flush=True)  # at once, through a pipe too


def _experiment(store: Store, study: str | None) -> str | None:
    if study is not None:
        return store.experiment_id(study)
    rows = [row for row in store.studies() if row.updated is not None]
    latest = max(rows, key=lambda row: str(row.updated), default=None)
    return latest.experiment_id if latest else None


def _free(port: int) -> int:
    """`port`, when nobody listens there; any free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended is no obstacle
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise UserError(f"port {port} is reserved for the administrator; take one above 1023") from error
        except OSError as error:
            raise UserError(
                f"port {port} is in use; take another with --port {port + 1 if port < 65535 else 5000}"
            ) from error
        return int(probe.getsockname()[1])


@contextmanager
def _server(uri: str, home: Home, port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An MLflow server with its children, all ended with the block."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", home.artifacts.as_uri()]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # every user of the machine can read an argument, and a password in it
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 228 MB for what nobody uses here
        "PYTHONWARNINGS": "ignore",
    }
    server = f"http://{HOST}:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            _wait(process, server, log)
            yield process, server
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], server: str, log: IO[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            raise UserError(f"the MLflow server ended at once: {lines[-1] if lines else 'it said nothing'}")
        try:
            connection.check_health(server, 2.0)
            return
        except UserError:
            time.sleep(0.2)
    raise UserError(f"the MLflow server did not answer within {START_SECONDS:.0f} seconds")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server's whole session: it starts workers of its own."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
