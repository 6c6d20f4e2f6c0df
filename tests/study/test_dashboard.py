"""Optuna's pages: the right study, on this machine, and nothing can be changed there."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import longlag
from longlag.errors import UserError
from longlag.study import dashboard
from longlag.workspace import Workspace


def ask(address: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method=method, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_it_shows_the_study_and_lets_nobody_change_it(tiny: dict[str, Any], shared_home: Path) -> None:
    study = {"name": "on-the-dashboard", "base": tiny, "space": {"model.depth": [1, 2]}, "sampler": {"name": "grid"}}
    longlag.sweep(study, home=shared_home)
    workspace = Workspace.open(shared_home)
    listening, address = dashboard.server(workspace, "on-the-dashboard", port=0)
    assert listening.server_address[0] == "127.0.0.1"
    with listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            root, _, number = address.replace("/dashboard/studies/", " ").partition(" ")
            assert ask(address)[0] == 200
            listed = json.loads(ask(f"{root}/api/studies")[1])["study_summaries"]
            assert {each["study_name"] for each in listed if str(each["study_id"]) == number} == {"on-the-dashboard"}
            trials = json.loads(ask(f"{root}/api/studies/{number}")[1])["trials"]
            assert [trial["state"] for trial in trials] == ["Complete", "Complete"]
            assert ask(f"{root}/api/studies/{number}", "DELETE")[0] == 403
            assert ask(f"{root}/api/studies/{number}/rename", "POST")[0] == 403
            assert ask(address, Host="evil.example:8080")[0] == 403
        finally:
            listening.shutdown()
            thread.join()
    assert len(longlag.report("on-the-dashboard", home=shared_home).trials) == 2


def test_mistakes_are_one_sentence(shared_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Workspace.open(tmp_path / "empty")
    with pytest.raises(UserError, match="no study has been begun"):
        dashboard.server(empty, port=0)
    monkeypatch.setattr("longlag.packages.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'longlag\[dashboard\]'"):
        dashboard.server(empty, port=0)
