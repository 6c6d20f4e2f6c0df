"""The costly probes together, as numbers by name: a section, a layer, and what it is."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from harness.models import Model, Tensors
from harness.probes import jacobian, saturation, states
from harness.probes.walk import Passage, passages

KINDS = ("jacobian", "saturation", "states", "orthogonality")
EXAMPLES = {"jacobian": 2, "saturation": 16, "states": 16, "orthogonality": 1}
"""How many sequences each is measured on."""


def dynamics(model: Model, batch: Tensors, which: Collection[str] = KINDS) -> dict[str, float]:
    """The numbers of the probes in `which`, for every recurrent layer that has a step.

    The model is left as it is; no gradient of it is touched, and no random number drawn.
    """
    wanted = [kind for kind in KINDS if kind in which]
    if not wanted:
        return {}
    found: dict[str, float] = {}
    examples = max(EXAMPLES[kind] for kind in wanted)
    for part, passage in passages(model, batch, examples).items():
        if passage.walks:
            for kind in wanted:
                found |= MEASURES[kind](part, _first(passage, EXAMPLES[kind]))
    return found


def _first(passage: Passage, examples: int) -> Passage:
    mask = None if passage.mask is None else passage.mask[:, :examples]
    state = {name: value[:examples] for name, value in passage.state.items()}
    return Passage(passage.layer, passage.x[:, :examples], state, mask)


def _jacobian(part: str, passage: Passage) -> dict[str, float]:
    spectrum = jacobian.spectrum(passage)
    found = {
        f"jacobian/{part}/singular_largest": float(spectrum.singular[..., 0].mean()),
        f"jacobian/{part}/singular_median": float(np.median(spectrum.singular, -1).mean()),
        f"jacobian/{part}/singular_least": float(spectrum.singular[..., -1].mean()),
        f"jacobian/{part}/spectral_radius": float(spectrum.radius.mean()),
    }
    exponents = jacobian.lyapunov(passage)
    return found | {f"lyapunov/{part}/exponent_{k}": float(value) for k, value in enumerate(exponents, start=1)}


def _saturation(part: str, passage: Passage) -> dict[str, float]:
    gates = saturation.gates(passage)
    if gates is None:
        return {}
    found: dict[str, float] = {}
    for name, (shut, opened, mean) in gates.sigmoid.items():
        found |= {f"gates/{part}/{name}_below_0.1": shut, f"gates/{part}/{name}_above_0.9": opened}
        found[f"gates/{part}/{name}_mean"] = mean
    for name, share in gates.tanh.items():
        found[f"gates/{part}/{name}_tanh_above_0.9"] = share
    for name, (mean, middle, late) in gates.kept.items():
        found |= {f"memory/{part}/{name}_kept": mean, f"memory/{part}/{name}_time_constant_median": middle}
        found[f"memory/{part}/{name}_time_constant_q90"] = late
    return found


def _states(part: str, passage: Passage) -> dict[str, float]:
    return {f"states/{part}/{name}": value for name, value in states.described(passage).items()}


def _orthogonality(part: str, passage: Passage) -> dict[str, float]:
    error = states.orthogonality_error(passage.layer)
    return {} if error is None else {f"jacobian/{part}/orthogonality_error": error}


MEASURES = {
    "jacobian": _jacobian,
    "saturation": _saturation,
    "states": _states,
    "orthogonality": _orthogonality,
}
