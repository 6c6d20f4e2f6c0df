"""Cases of the fuzzer, each made from a seed and its number: specs with odd values, odd options, odd files."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from longlag import registry, specfile
from longlag.cli import studies
from longlag.cli.app import app
from longlag.papers.spec import FOLDER
from longlag.papers.spec import names as papers
from longlag.spec import load_run
from tests.conftest import TINY
from tests.fuzz.mutate import emit, mutated
from tests.fuzz.odd import ADDRESSES, NUMBERS, PLACES, USUAL, WORDS

ROOT = Path(__file__).resolve().parents[2]
PATHS = ("spec", "page", "from", "plot", "pictures", "write", "summary", "to", "home", "scheduler")
"""Options that take a path: never a word that could be a place elsewhere to write to."""
NEVER = ("install_completion", "show_completion", "verbose")
"""Options that change the user's shell, or show tracebacks because that is asked for."""


@dataclass(frozen=True)
class Case:
    """A command line, and the file ``case.yaml`` or ``case.json`` in the current folder."""

    number: int
    arguments: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)


def case(seed: int, number: int) -> Case:
    """One case; the same for the same seed and number."""
    rng = random.Random(f"{seed}/{number}")
    make = rng.choices([_run, _study, _paper, _kept, _options, _file], [20, 25, 15, 3, 27, 10])[0]
    arguments, files = make(rng)
    return Case(number, tuple(arguments), files)


Made = tuple[list[str], dict[str, str]]


def _run(rng: random.Random) -> Made:
    fields = {**TINY, **json.loads(load_run(TINY).canonical())} if rng.random() < 0.5 else dict(TINY)
    fields["task"] = _component(rng, "task")
    fields["cell"] = _component(rng, "cell")
    return ["run", "--spec", "case.yaml"], {"case.yaml": emit(mutated(rng, fields))}


def _study(rng: random.Random) -> Made:
    fields = rng.choice([_rich, *(lambda name=name: _parsed(studies.text(name)) for name in studies.names())])()
    return ["sweep", "case.yaml"], {"case.yaml": emit(mutated(rng, fields))}


def _rich() -> dict[str, Any]:
    """A study with every field there is."""
    return {
        "name": "case",
        "description": "of everything",
        "base": {**TINY, "data": {"validation": 8, "test": 8, "curriculum": [{"until": 0.5, "task": {"length": 4}}],
                                  "beyond": {"longer": {"length": 9}}}},
        "arms": {"small": {"model.hidden_size": 3}, "large": {"model": {"hidden_size": 5}, "seed": 3}},
        "space": {
            "cell": ["rnn", {"name": "lstm", "forget_bias": 1}],
            "cell.forget_bias": {"when": {"cell": "lstm"}, "values": [0, 2]},
            "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
            "model.depth": {"low": 1, "high": 3, "step": 1},
        },
        "seeds": [0, 1, 2], "objectives": ["score"], "trials": 5, "total_updates": 1000, "hours": 1.0,
        "enqueue": [{"cell": "rnn", "model.depth": 2}],
        "sampler": {"name": "tpe", "seed": 3}, "pruner": {"name": "median", "startup_trials": 2},
    }  # fmt: skip


def _paper(rng: random.Random) -> Made:
    name = rng.choice(papers())
    fields = _parsed(FOLDER.joinpath("papers", f"{name}.yaml").read_text(encoding="utf-8"))
    scale = rng.choice([*fields["scales"], "smoke", "odd"])
    return ["reproduce", "case.yaml", "--plan", "--scale", scale], {"case.yaml": emit(mutated(rng, fields))}


def _kept(rng: random.Random) -> Made:
    """Measurements of a paper study or of horizons."""
    folder, command = rng.choice([("papers", ["report"]), ("horizon", ["horizon", "--from"])])
    data = rng.choice(sorted((ROOT / "docs" / folder).glob("*.json")))
    fields = json.loads(data.read_text(encoding="utf-8"))
    key = "runs" if folder == "papers" else "cells"
    fields[key] = fields[key][:3]
    return [*command, "case.json"], {"case.json": emit(mutated(rng, fields))}


def _options(rng: random.Random) -> Made:
    top = rng.choice(sorted({path[:1] for path, _ in commands()}))
    path, parameters = rng.choice([found for found in commands() if found[0][:1] == top])
    words: list[str] = [*path]
    for parameter in parameters:
        option = parameter.opts[0].startswith("-")
        if parameter.name in NEVER or rng.random() > (0.2 if option else 0.85):
            continue
        value = _word(rng, parameter)
        if not option:
            words.append(value)
        elif parameter.is_flag:
            words.append(rng.choice([*parameter.opts, *parameter.secondary_opts]))
        else:
            words += [rng.choice(parameter.opts), value]
    if rng.random() < 0.1:
        words.insert(rng.randrange(len(words) + 1), rng.choice([*WORDS, "--odd", "-x", "--help", "--", "--json"]))
    return words, {}


def _word(rng: random.Random, parameter: Any) -> str:
    """A value for an option: a path for one that takes a path, and sometimes anything."""
    name = parameter.name.strip("_")
    if name in USUAL and rng.random() < 0.7:
        return rng.choice(USUAL[name])
    if name in PATHS:
        return rng.choice(PLACES)
    if any(kind in repr(parameter.type_descriptor.annotation) for kind in ("int", "float")) and rng.random() < 0.7:
        return str(rng.choice(NUMBERS))
    if name in ("tracking_uri", "storage"):
        return rng.choice(ADDRESSES)
    return rng.choice([*WORDS, *PLACES] if rng.random() < 0.2 else WORDS)


def _file(rng: random.Random) -> Made:
    place = rng.choice(PLACES)
    command = rng.choice([["run", "--spec"], ["sweep"], ["reproduce", "--plan"], ["report"], ["horizon", "--from"],
                          ["reproduce", "--summary"], ["show"]])  # fmt: skip
    data = [f"--set=task={{name: {task}, path: {place}}}" for task in ("characters", "pen-strokes", "speech-corpus")]
    return rng.choice([[*command, place], ["run", "adding", "--cell", "rnn", rng.choice(data)]]), {}


@cache
def commands() -> list[tuple[tuple[str, ...], list[Any]]]:
    """Every command with its options, from the command line's own tree."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
        yield path, command.params
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*path, name))

    return list(walk(typer.main.get_command(app), ()))


def _parsed(text: str) -> dict[str, Any]:
    fields: dict[str, Any] = specfile.parse(text, "committed")
    return fields


def _component(rng: random.Random, kind: Any) -> Any:
    """The name of a component, or a mapping with all of its options."""
    name = rng.choice(registry.names(kind))
    options = registry.load(kind, name).Options().model_dump(mode="json")
    return {"name": name, **options} if rng.random() < 0.7 else name
