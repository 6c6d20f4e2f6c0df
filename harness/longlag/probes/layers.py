"""The probes of layers together: their numbers by section, layer and quantity."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from longlag import registry
from longlag.errors import UserError
from longlag.models import Model, Tensors
from longlag.probes.base import Probe
from longlag.probes.rollout import captured_inputs

log = logging.getLogger(__name__)


def load(names: Iterable[str]) -> list[Probe]:
    """The probes registered under these names."""
    return [registry.load("probe", name)() for name in names]


def installed() -> list[Probe]:
    """Every registered probe that can be imported."""
    found = []
    for name in registry.names("probe"):
        try:
            found += load([name])
        except UserError as error:
            log.warning("left out: %s", error)
    return found


def measure(model: Model, batch: Tensors, probes: Iterable[Probe]) -> dict[str, float]:
    """The numbers of some probes, for every recurrent layer that each applies to.

    The model is left as it is; no gradient of it is touched, and no random number drawn.
    """
    probes = list(probes)
    if not probes:
        return {}
    found: dict[str, float] = {}
    examples = max(probe.examples for probe in probes)
    for part, captured in captured_inputs(model, batch, examples).items():
        for probe in probes:
            seen = captured.first(probe.examples)
            if probe.applies(seen):
                for name, value in probe.measure(seen).items():
                    section, _, quantity = name.partition("/")
                    found[f"{section}/{part}/{quantity}"] = value
    return found
