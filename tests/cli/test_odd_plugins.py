"""Plug-ins that raise, print or hang in any hook: one sentence that names them, whole JSON, and others go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import longlag
from longlag import report
from longlag.cells.elman import RNN
from longlag.registry import raised_by
from longlag.study.callback import StudyCallback

PATIENCE = 600  # seconds; the machine may be busy
FIRST_SECONDS = 20  # after the first Ctrl-C

HOOKS = '''
"""ODD lists what happens in the hooks of all components, each as [how, hook]; None is every hook."""

import json
import os
import sys
import time
from pathlib import Path

def hook(name):
    for how, where in json.loads(os.environ.get("ODD", "[]")):
        if where in (name, None):
            if how == "print":
                print("printed in", name)
                print("[", end="", flush=True)
                os.write(2, b"and written\\n")
            elif how == "raise":
                raise RuntimeError(f"boom in\\n{name}")
            elif how == "refuse":
                raise ValueError(f"not this\\nsize")
            elif how == "hang":
                Path(os.environ["ODD_HANGS"]).touch()
                time.sleep(3600)
'''
IMPORTS = """
import numpy as np
import optuna
import torch

from longlag.cells.elman import RNN
from longlag.objectives import Objective
from longlag.optimizers import Optimizer, OptimizerOptions
from longlag.probes import Probe
from longlag.samplers import Sampler, SamplerOptions
from longlag_tasks.adding import Adding

from odd_hooks import hook

print("imported")
"""
PLUGINS = {
    "task": '''
class Task(Adding):
    """Adding."""

    def __init__(self, options=None):
        hook("task.__init__")
        super().__init__(options)

    def sample(self, rng, size):
        hook("task.sample")
        return super().sample(rng, size)

    def measure(self, outputs, batch):
        hook("task.measure")
        return {name: np.float32(value) for name, value in super().measure(outputs, batch).items()}
''',
    "cell": '''
class Cell(RNN):
    """A plain cell."""

    def core(self, g, s, p):
        hook("cell.core")
        return {"h": torch.tanh(g.a)}

    def initialise(self, parameters, hidden_size, generator):
        hook("cell.initialise")
        super().initialise(parameters, hidden_size, generator)
''',
    "optimizer": '''
class Rule(torch.optim.SGD):
    def step(self, closure=None):
        hook("optimizer.step")
        return super().step(closure)


class Descent(Optimizer[OptimizerOptions]):
    """Plain steps."""

    def build(self, groups):
        hook("optimizer.build")
        return Rule(groups, **self.options.arguments())
''',
    "probe": '''
class Look(Probe):
    """A number."""

    examples = 2
    cost = "nothing"

    def measure(self, captured):
        hook("probe.measure")
        return {"look/h": 1.0}
''',
    "sampler": '''
class Search(optuna.samplers.RandomSampler):
    def sample_relative(self, study, trial, search_space):
        hook("sampler.sample_relative")
        return super().sample_relative(study, trial, search_space)

    def sample_independent(self, *arguments):
        hook("sampler.sample_independent")
        return super().sample_independent(*arguments)

    def after_trial(self, *arguments):
        hook("sampler.after_trial")
        return super().after_trial(*arguments)


class Draw(Sampler[SamplerOptions]):
    """Random points."""

    def build(self, space, seed):
        hook("sampler.build")
        return Search(seed)
''',
    "objective": '''
class Score(Objective):
    """The score."""

    def measure(self, run):
        hook("objective.measure")
        return run.validation_score
''',
}
CLASSES = {"task": "Task", "cell": "Cell", "optimizer": "Descent", "probe": "Look", "sampler": "Draw"}
CLASSES |= {"objective": "Score"}
IN_RUNS = ["task.sample", "cell.core", "cell.initialise", "optimizer.step", "probe.measure"]
IN_DRIVER = ["sampler.build", "sampler.sample_relative", "sampler.after_trial", "objective.measure"]
SWEEP = ["sweep", "odd", "--cell", "odd", "--optimizer", "odd", "--lr", "0.01,0.02", "--sampler", "odd", "--objectives"]
SWEEP += ["odd", "--hidden-size", "4", "--updates", "4", "--trials", "1", "--json"]
FIELDS = ["task.length=6", "training.batch_size=4", "training.eval_every=2", "data={validation: 8, test: 8}"]
FIELDS += ["probe.curves=false", "probe.when.odd=[end]"]
SWEEP += [word for field in FIELDS for word in ("--set", field)]
CODE = """
import json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from longlag.cli.app import app
from longlag.cli.errors import invoke

outcomes = []
for odd, command in json.load(sys.stdin):
    os.environ["ODD"] = json.dumps(odd)
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = invoke(app, command)
    outcomes.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(outcomes), file=sys.__stdout__)
"""


def name(hook: str) -> str:
    """How a sentence names the plug-in of a hook."""
    kind = hook.partition(".")[0]
    return f"{kind} 'odd' (odd_{kind}:{CLASSES[kind]})"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the plug-ins are installed, with a home."""
    folder = tmp_path_factory.mktemp("odd")
    info = folder / "odd-1.0.dist-info"
    info.mkdir()
    (folder / "odd_hooks.py").write_text(HOOKS)
    for kind, text in PLUGINS.items():
        (folder / f"odd_{kind}.py").write_text(IMPORTS + text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    groups = (f"[longlag.{kind}s]\nodd = odd_{kind}:{each}\n" for kind, each in CLASSES.items())
    (info / "entry_points.txt").write_text("".join(groups))
    hangs = str(folder / "hangs")
    return {**os.environ, "PYTHONPATH": str(folder), "LONGLAG_HOME": str(folder / "home"), "ODD_HANGS": hangs}


@pytest.fixture(scope="module")
def outcomes(environment: dict[str, str]) -> dict[tuple[str, str | None], tuple[int, str, str]]:
    """What a sweep of two points does, by what happens in which hook."""
    asked: dict[tuple[str, str | None], tuple[list[list[str | None]], list[str]]] = {
        ("raise", hook): (
            [["raise", hook]],
            [*SWEEP, "--name", f"raise-{hook}", "--workers", "1", "--seeds", f"{seed}"],
        )
        for seed, hook in enumerate([*IN_RUNS, *IN_DRIVER])
    }
    asked["refuse", "cell.initialise"] = (
        [["refuse", "cell.initialise"]],
        [*SWEEP, "--name", "refuse", "--workers", "1", "--seeds", "30"],
    )
    asked["print", None] = [["print", None]], [*SWEEP, "--name", "print", "--workers", "1", "--seeds", "31"]
    asked["print", "in workers"] = [["print", None]], [*SWEEP, "--name", "workers", "--workers", "2", "--seeds", "32"]
    asked["list", None] = [["print", None]], ["list", "cells", "--json"]
    asked["run", None] = [["raise", "task.sample"]], ["run", "odd", "--cell", "odd", "--updates", "3"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE],
        input=json.dumps(list(asked.values())),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {key: (code, out, err) for key, (code, out, err) in zip(asked, found, strict=True)}


Outcomes = dict[tuple[str, str | None], tuple[int, str, str]]


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("hook", IN_RUNS)
def test_a_plugin_that_raises_in_a_run_fails_its_trial_and_is_named(hook: str, outcomes: Outcomes) -> None:
    code, out, err = outcomes["raise", hook]
    assert code == 1 and "Traceback" not in err and "unexpected" not in err, err
    for trial in json.loads(out)["trials"]:
        assert trial["state"] == "failed"
        assert trial["reason"].startswith(f"{name(hook)} failed: RuntimeError: boom in {hook} (traceback in ")


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("hook", IN_DRIVER)
def test_a_plugin_that_raises_in_the_search_ends_it_in_one_sentence(hook: str, outcomes: Outcomes) -> None:
    code, out, err = outcomes["raise", hook]
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, out, len(errors)) == (2, "", 1) and "Traceback" not in err, err
    assert name(hook) in errors[0] and f"RuntimeError: boom in {hook}" in errors[0]


@pytest.mark.fault
@pytest.mark.slow
def test_a_cell_that_refuses_a_model_is_named(outcomes: Outcomes) -> None:
    code, _, err = outcomes["refuse", "cell.initialise"]
    assert code == 2 and f"error: {name('cell')}: not this size\n" in err, err


@pytest.mark.fault
@pytest.mark.slow
def test_a_plugin_that_raises_in_a_single_run_is_one_sentence(outcomes: Outcomes) -> None:
    code, _, err = outcomes["run", None]
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    said = f"error: {name('task')} failed: RuntimeError: boom in task.sample (`longlag -v …` shows the traceback)"
    assert (code, errors) == (2, [said]), err


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("where", [None, "in workers"])
def test_what_plugins_print_is_no_part_of_the_json_nor_of_the_messages_of_workers(
    where: str | None, outcomes: Outcomes
) -> None:
    code, out, err = outcomes["print", where]
    assert code == 0, err
    assert [trial["state"] for trial in json.loads(out)["trials"]] == ["complete"]
    assert "printed in objective.measure" in err
    assert "odd" in [row["name"] for row in json.loads(outcomes["list", None][1])]


def waited(found: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE
    while not found():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.fault
@pytest.mark.slow
def test_a_plugin_that_hangs_holds_up_no_other_worker_and_can_be_interrupted(environment: dict[str, str]) -> None:
    axes = ["--lr", "0.01", "--cell", "rnn,odd,gru,lstm", "--name", "hang", "--workers", "2", "--trials", "4"]
    command = [sys.executable, "-c", "from longlag.cli import main; main()", *SWEEP, "--sampler", "grid", *axes]
    home = Path(environment["LONGLAG_HOME"])
    hanging = {**environment, "ODD": json.dumps([["hang", "cell.initialise"]])}

    def complete() -> bool:
        try:
            return [trial.state for trial in report("hang", home=home).trials].count("complete") == 3
        except longlag.UserError:
            return False  # it has not begun

    with subprocess.Popen(command, env=hanging, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            waited(Path(environment["ODD_HANGS"]).exists, process)
            waited(complete, process)
            for _ in range(2):  # once saves the runs, and the one that hangs cannot be saved
                process.send_signal(signal.SIGINT)
                time.sleep(1)
            _, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert "the same command continues the study" in said and "Traceback" not in said
    states = [trial.state for trial in report("hang", home=home).trials]
    assert states.count("complete") == 3 and "running" not in states


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("hook", [*IN_RUNS, *IN_DRIVER])
def test_a_sweep_whose_plugin_hangs_in_any_hook_can_be_interrupted(
    hook: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """By Ctrl-C, once or twice; the same command finishes the study once the plug-in is mended."""
    hangs = tmp_path / "hangs"
    own = {**environment, "LONGLAG_HOME": str(tmp_path / "home"), "ODD_HANGS": str(hangs)}
    command = [sys.executable, "-c", "from longlag.cli import main; main()", *SWEEP, "--name", "hang", "--workers", "1"]
    hanging = {**own, "ODD": json.dumps([["hang", hook]])}
    with subprocess.Popen(command, env=hanging, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            waited(hangs.exists, process)
            process.send_signal(signal.SIGINT)
            try:
                _, said = process.communicate(timeout=FIRST_SECONDS)
            except subprocess.TimeoutExpired:  # the first one lets what is being done come to its end
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 130 and "Traceback" not in said, said
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert [trial["state"] for trial in json.loads(done.stdout)["trials"]] == ["complete"]


class Raises(StudyCallback):
    def evaluated(self, update: int, metrics: Any, score: float) -> None:
        raise LookupError("a mistake of the caller")


@pytest.mark.fault
def test_a_callback_that_raises_stops_the_sweep_with_its_own_exception(tiny: dict[str, Any], shared_home: Path) -> None:
    base = {**tiny, "data": {**tiny["data"], "seed": 2718}}
    study = {"name": "callback", "base": base, "space": {"model.depth": [1, 2]}, "sampler": "grid"}
    with pytest.raises(LookupError, match="a mistake of the caller"):
        longlag.sweep(study, home=shared_home, callbacks=[Raises()])
    assert {trial.state for trial in report("callback", home=shared_home).trials} <= {"waiting"}
    assert [trial.state for trial in longlag.sweep(study, home=shared_home).trials] == ["complete", "complete"]


def test_an_error_of_longlag_is_no_plugins() -> None:
    with pytest.raises(AttributeError) as raised:
        RNN().core(None, None, None)  # type: ignore[arg-type]
    assert raised_by(raised.value) is None
