"""The costly probes together, as numbers by name: a section, a layer, and what it is."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from longlag.models import Model, Tensors
from longlag.probes import jacobian, saturation, states
from longlag.probes.rollout import CapturedInputs, captured_inputs

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
    for part, captured in captured_inputs(model, batch, examples).items():
        if captured.has_rollout:
            for kind in wanted:
                found |= MEASURES[kind](part, _first(captured, EXAMPLES[kind]))
    return found


def _first(captured: CapturedInputs, examples: int) -> CapturedInputs:
    mask = None if captured.mask is None else captured.mask[:, :examples]
    state = {name: value[:examples] for name, value in captured.state.items()}
    return CapturedInputs(captured.layer, captured.x[:, :examples], state, mask)


def _jacobian(part: str, captured: CapturedInputs) -> dict[str, float]:
    spectrum = jacobian.spectrum(captured)
    found = {
        f"jacobian/{part}/singular_largest": float(spectrum.singular[..., 0].mean()),
        f"jacobian/{part}/singular_median": float(np.median(spectrum.singular, -1).mean()),
        f"jacobian/{part}/singular_least": float(spectrum.singular[..., -1].mean()),
        f"jacobian/{part}/spectral_radius": float(spectrum.radius.mean()),
    }
    exponents = jacobian.lyapunov(captured)
    return found | {f"lyapunov/{part}/exponent_{k}": float(value) for k, value in enumerate(exponents, start=1)}


def _saturation(part: str, captured: CapturedInputs) -> dict[str, float]:
    gates = saturation.gates(captured)
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


def _states(part: str, captured: CapturedInputs) -> dict[str, float]:
    return {f"states/{part}/{name}": value for name, value in states.described(captured).items()}


def _orthogonality(part: str, captured: CapturedInputs) -> dict[str, float]:
    error = states.orthogonality_error(captured.layer)
    return {} if error is None else {f"jacobian/{part}/orthogonality_error": error}


MEASURES = {
    "jacobian": _jacobian,
    "saturation": _saturation,
    "states": _states,
    "orthogonality": _orthogonality,
}
