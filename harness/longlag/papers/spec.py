"""PaperSpec: a paper's comparison as data, and the YAML files under sweeps/papers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from longlag import specfile
from longlag.errors import UserError, explain, quoted, suggestion
from longlag.papers.claims import Claim, Importance, ScaleName
from longlag.spec import Range, RunSpec, Seed, Spec, load_run

FOLDER = files("longlag").joinpath("sweeps")
NAME = r"^[a-z0-9][a-z0-9-]{0,60}$"
"""Of a paper study: no path."""
SEARCH_SEED = 1000
"""Seeds of a search begin here, those of the runs that are judged at 0: none is used twice."""


Seeds = Annotated[int, Field(gt=0, le=10_000)]
RUNS = 100_000
"""Runs of a scale, at most."""


class Citation(Spec):
    """Where it was published."""

    authors: str
    year: int = Field(ge=1900, le=2100)
    title: str
    venue: str
    arxiv: str = Field("", pattern=r"^(\d{4}\.\d{4,5})?$")

    @property
    def text(self) -> str:
        arxiv = f", arXiv {self.arxiv}" if self.arxiv else ""
        return f"{self.authors} ({self.year}). {self.title}. {self.venue}{arxiv}."


class SearchSpec(Spec):
    """An arm's fields that are searched for first, because the paper did or does not say.

    Every point of the grid is run with seeds of its own; the one with the lowest mean validation score is taken.
    """

    space: dict[str, Annotated[list[Any], Field(min_length=2)]] = Field(
        min_length=1, description="dotted path -> values, at least two"
    )
    seeds: Seeds = Field(1, description="runs of every point, with seeds from 1000 on")


class DrawSpec(Spec):
    """Fields that are drawn anew for every run of an arm, as in a random search whose whole is compared.

    Arms with the same `space` and `seed` get the same draws, so that they can be compared point by point.
    """

    space: dict[str, Range] = Field(min_length=1, description="dotted path -> range")
    seed: Seed = 0


class Arm(Spec):
    """One condition: fields of its runs over those of the base, by dotted path."""

    label: str = Field("", description="in figures and tables; the arm's name when not given")
    like: str | None = Field(None, description="another arm, whose fields come first")
    set: dict[str, Any] = Field(default_factory=dict, description="dotted path of a run's field -> value")
    series: str = Field("", description="arms of one line in the figure of success over a parameter")
    at: float | None = Field(None, description="the parameter's value there, such as the lag")
    search: SearchSpec | None = None
    draws: DrawSpec | None = None


class Scale(Spec):
    """One size of the study: what differs from the paper's, and what that means for its claims."""

    seeds: Seeds = Field(description="runs of every arm, with seeds 0, 1, ...")
    seeds_of: dict[str, Seeds] = Field(default_factory=dict, description="arm or pattern (lstm-*) -> another number")
    set: dict[str, Any] = Field(default_factory=dict, description="dotted path -> value, in every arm")
    arms: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="arm or pattern -> dotted path -> value, over all else, in the order given"
    )
    leave_out: tuple[str, ...] = Field((), description="arms or patterns that are not run")
    search: bool = Field(True, description="false: the first value of every searched field is taken")
    reduced: str = Field("", description="what is smaller than in the paper")
    meaning: str = Field("", description="what that means for the claims")


class Deviation(Spec):
    """Where the study does something else than the paper."""

    what: str
    why: str
    scales: tuple[ScaleName, ...] = Field(("paper", "cpu", "smoke"), description="where it applies")


class Rule(Spec):
    """How verdicts are reached; see docs/papers.md."""

    alpha: float = Field(0.05, gt=0, lt=0.5, description="bound on either false verdict, over all claims of the study")
    power: float = Field(0.8, gt=0.5, lt=1, description="chance of a verdict that further seeds should bring")


class PaperSpec(Spec):
    """A paper's comparison: arms, scales, claims, and every way in which it is not the paper's."""

    name: str = Field(pattern=NAME)
    citation: Citation
    summary: str = Field(description="what the paper did and found")
    base: dict[str, Any] = Field(description="fields of every run, as the paper has them")
    arms: dict[str, Arm] = Field(min_length=1)
    parameter: str = Field("", description="what `at` is, with its unit: lag T (steps)")
    scales: dict[ScaleName, Scale]
    substitute: str = Field("", description="the data used in place of the paper's; empty: the paper's own")
    deviations: tuple[Deviation, ...] = ()
    claims: tuple[Claim, ...] = Field(min_length=1)
    rule: Rule = Rule()

    @model_validator(mode="after")
    def _consistent(self) -> PaperSpec:
        known = list(self.arms)
        for name, arm in self.arms.items():
            if arm.like is not None and arm.like not in self.arms:
                raise ValueError(f"arms.{name}.like: no arm {quoted(arm.like)}{suggestion(arm.like, known)}")
            if arm.at is not None and not (self.parameter and arm.series):
                raise ValueError(f"arms.{name}.at: needs the arm's `series`, and `parameter` to say what it is")
            if "seed" in self.base or any("seed" in layer for layer in self.layers(name)):
                raise ValueError("seeds are counted from 0; the scales say how many (`seeds`)")
        for scale_name, scale in self.scales.items():
            patterns = {"leave_out": scale.leave_out, "arms": tuple(scale.arms), "seeds_of": tuple(scale.seeds_of)}
            runs = self.runs(scale)
            if runs > RUNS:
                raise ValueError(f"scales.{scale_name}: {runs:,} runs are more than {RUNS:,}")
            for field, given in patterns.items():
                for pattern in given:
                    if not any(fnmatchcase(name, pattern) for name in known):
                        hint = suggestion(pattern, known)
                        raise ValueError(f"scales.{scale_name}.{field}: no arm matches {quoted(pattern)}{hint}")
        ids = [claim.id for claim in self.claims]
        for claim in self.claims:
            if ids.count(claim.id) > 1:
                raise ValueError(f"claims: the id {quoted(claim.id)} stands twice")
            for arm_name, _ in claim.relation.uses():
                if arm_name not in self.arms:
                    hint = suggestion(arm_name, known)
                    raise ValueError(f"claims.{claim.id}: no arm {quoted(arm_name)}{hint}")
            if isinstance(claim.relation, Importance):
                draws = self.arms[claim.relation.arm].draws
                drawn = list(draws.space) if draws else []
                for path in (claim.relation.of, claim.relation.over):
                    if path not in drawn:
                        raise ValueError(f"claims.{claim.id}: the arm draws no {quoted(path)}{suggestion(path, drawn)}")
        return self

    def layers(self, arm: str, _seen: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Dotted path -> value, of the arms that an arm is like and then its own: later ones override."""
        if arm in _seen:
            raise ValueError(f"arms.{arm}.like: goes round in a circle")
        own = self.arms[arm]
        before = self.layers(own.like, (*_seen, arm)) if own.like else []
        return [*before, own.set]

    def scale(self, name: str) -> Scale:
        """One of the scales.

        Raises:
            UserError: when the paper has none of this name.
        """
        for known, scale in self.scales.items():
            if known == name:
                return scale
        hint = suggestion(name, list(self.scales)) or f"; it has {', '.join(self.scales)}"
        raise UserError(f"{self.name} has no scale {quoted(name)}{hint}")

    def run_arms(self, scale: Scale) -> list[str]:
        """The arms that a scale runs."""
        return [arm for arm in self.arms if not any(fnmatchcase(arm, pattern) for pattern in scale.leave_out)]

    def seeds(self, arm: str, scale: Scale) -> int:
        """How many runs an arm has."""
        found = [number for pattern, number in scale.seeds_of.items() if fnmatchcase(arm, pattern)]
        return found[-1] if found else scale.seeds

    def runs(self, scale: Scale) -> int:
        """How many runs a scale has, those of its searches included."""
        arms = self.run_arms(scale)
        searches = [search for arm in arms if (search := self.arms[arm].search)] if scale.search else []
        points = sum(search.seeds * math.prod(map(len, search.space.values())) for search in searches)
        return points + sum(self.seeds(arm, scale) for arm in arms)

    def fields(self, arm: str, scale: Scale, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The fields of an arm's runs, without defaults; `chosen` are the values that a search or a draw gave.

        Raises:
            UserError: naming the arm, when one sets a field of what is no mapping.
        """
        matching = [values for pattern, values in scale.arms.items() if fnmatchcase(arm, pattern)]
        data: dict[str, Any] = dict(self.base)
        try:
            for layer in (*self.layers(arm), scale.set, *matching, chosen or {}):
                for path in sorted(layer, key=lambda path: path.count(".")):
                    specfile.merge(data, path, layer[path])
        except UserError as error:
            raise UserError(f"{self.name}: arm {arm}: {error}") from error
        return data

    def run(self, arm: str, scale: Scale, seed: int, chosen: Mapping[str, Any] | None = None) -> RunSpec:
        """One run of an arm; see `fields`.

        Raises:
            UserError: naming the arm, when its fields make no run.
        """
        return load_run({**self.fields(arm, scale, chosen), "seed": seed}, f"{self.name}: arm {arm}")

    def judged(self, scale: ScaleName) -> list[Claim]:
        """The claims that a scale can decide: it is among theirs, and all their arms are run."""
        arms = self.run_arms(self.scales[scale])
        return [
            claim
            for claim in self.claims
            if scale in claim.scales and all(arm in arms for arm, _ in claim.relation.uses())
        ]


def load_paper_fields(data: Any, where: str, check_runs: bool = True) -> PaperSpec:
    """A validated paper study.

    Args:
        data: its fields.
        where: they come from.
        check_runs: validate one run of every arm at every scale too, which needs the packages of its tasks.

    Raises:
        UserError: one sentence naming what is wrong.
    """
    try:
        spec = PaperSpec.model_validate(data)
    except ValidationError as error:
        raise UserError(explain(error, where, PaperSpec)) from error
    for scale in spec.scales.values() if check_runs else ():
        for arm in spec.run_arms(scale):
            try:
                spec.run(arm, scale, 0)
            except UserError as error:
                raise UserError(f"{where}: {error}") from error
    return spec


def names() -> list[str]:
    """The paper studies that come with longlag."""
    folder = FOLDER.joinpath("papers")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_paper(name: str, check_runs: bool = True) -> PaperSpec:
    """A paper study by name, or from a YAML file; `check_runs` as in `load_paper_fields`.

    Raises:
        UserError: when there is none, naming the nearest, or it is wrong.
    """
    from pathlib import Path

    if name.endswith((".yaml", ".yml")):
        return load_paper_fields(specfile.read(Path(name)), name, check_runs)
    known = names()
    if name not in known:
        raise UserError(f"there is no paper study {quoted(name)}{suggestion(name, known)} (`longlag reproduce --list`)")
    text = FOLDER.joinpath("papers", f"{name}.yaml").read_text(encoding="utf-8")
    return load_paper_fields(specfile.parse(text, f"{name}.yaml"), f"{name}.yaml", check_runs)
