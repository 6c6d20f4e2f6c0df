"""Optuna's own pages on the studies of a home: on this machine only, and only to look at."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from longlag.errors import UserError
from longlag.packages import DASHBOARD
from longlag.study.storage import connect, where
from longlag.study.store import StudyStore
from longlag.workspace import Workspace

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A line for every request would bury the address."""


def server(workspace: Workspace, study: str | None = None, port: int = 8080) -> tuple[WSGIServer, str]:
    """The server, which listens already, and the address to open.

    Args:
        workspace: where the studies are kept.
        study: to open on; the list of all when not given.
        port: on the loopback interface; 0 takes a free one.

    Raises:
        UserError: when optuna-dashboard is not installed, there is no such study, or the port is in use.
    """
    DASHBOARD.require()
    from optuna_dashboard import wsgi

    if workspace.storage is None and not (workspace.home.root / "optuna.db").exists():
        raise UserError(f"no study has been begun in {workspace.home.root} yet; run a sweep first")
    database = connect(where(workspace))
    page = "/dashboard"
    if study is not None:
        StudyStore.stored(study, where(workspace)).storage.close()
        page += f"/studies/{database.get_study_id_from_name(study)}"
    try:
        listening = make_server(HOST, port, read_only(wsgi(database)), _Server, _Quiet)
    except PermissionError as error:
        raise UserError(f"port {port} is reserved for the administrator; take one above 1023") from error
    except OSError as error:
        raise UserError(
            f"port {port} is in use; take another with --port {port + 1 if port < 65535 else 8080}"
        ) from error
    return listening, f"http://{HOST}:{listening.server_port}{page}"


def serve(
    workspace: Workspace,
    study: str | None = None,
    port: int = 8080,
    open_browser: bool = False,
    announce: Callable[[str], None] = print,
) -> None:
    """Run it until Ctrl-C; `announce` receives the address, alone in a line."""
    listening, address = server(workspace, study, port)
    with listening:
        announce(address)
        announce("Ctrl-C ends it.")
        if open_browser:
            webbrowser.open(address)
        try:
            listening.serve_forever()
        except KeyboardInterrupt:
            return


def read_only(app: WSGIApplication) -> WSGIApplication:
    """Only reading, and only under this machine's own name.

    The pages can rename and delete studies, without asking who wants it: a page elsewhere on the web could.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = str(environ.get("HTTP_HOST", "")).rpartition(":")[0] or str(environ.get("HTTP_HOST", ""))
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") and name in (HOST, "localhost"):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"longlag shows studies here and changes none\n"]

    return guarded
