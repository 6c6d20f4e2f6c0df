"""MLflow's own server in this process, whose replies a test refuses, holds back or loses."""

from __future__ import annotations

import base64
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wsgi import ClosingIterator


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        """A line for every request would bury everything else."""


class Tracker:
    """A server on loopback.

    Attributes:
        url: its address.
        folder: its database and its artifacts.
        calls: what was asked for, such as ``runs/create``, in order.
        login: user name and password that every request needs; None for none.
        before: called with every request before it is acted on; may wait.
        lost: says of a request that was acted on whether its reply is lost: the connection ends without one.
    """

    def __init__(self, folder: Path, app: WSGIApplication) -> None:
        self.folder, self.app = folder, app
        self.server = make_server("127.0.0.1", 0, self.answer, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.reset()

    def reset(self) -> None:
        """As a server that has no faults."""
        self.calls: list[str] = []
        self.login: tuple[str, str] | None = None
        self.before: Callable[[str], object] = lambda call: None
        self.lost: Callable[[str], bool] = lambda call: False

    def with_login(self, user: str, password: str) -> str:
        """Need a login from now on; gives the address with it in it."""
        self.login = (user, password)
        return self.url.replace("://", f"://{user}:{password}@")

    def answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        call = environ["PATH_INFO"].rpartition("/mlflow/")[2].lstrip("/")
        self.calls.append(call)
        if self.login is not None:
            given = base64.b64encode(":".join(self.login).encode()).decode()
            if environ.get("HTTP_AUTHORIZATION") != f"Basic {given}":
                start_response("401 UNAUTHORIZED", [("WWW-Authenticate", "Basic"), ("Content-Length", "0")])
                return []
        self.before(call)
        reply = ClosingIterator(self.app(environ, start_response))
        body = list(reply)
        reply.close()  # the file that was sent
        if self.lost(call):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return body


@contextmanager
def mlflow_here(folder: Path, tables: Path) -> Iterator[Tracker]:
    """The one server that a process can have.

    Args:
        folder: for its files.
        tables: a database with MLflow's tables and no runs.
    """
    (folder / "mlflow.db").write_bytes(tables.read_bytes())
    store = f"sqlite:///{folder / 'mlflow.db'}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.server import app, handlers
        from mlflow.tracking import set_registry_uri, set_tracking_uri

        handlers._get_tracking_store(store, "mlflow-artifacts:/")
        handlers._get_model_registry_store(store)
    set_tracking_uri("")  # which these two have set, for the whole process
    set_registry_uri("")
    sys.modules["mlflow.server.auth"] = None  # type: ignore[assignment]  # its import warns, and takes time
    tracker = Tracker(folder, app)
    thread = threading.Thread(target=tracker.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield tracker
    finally:
        tracker.server.shutdown()
        tracker.server.server_close()
