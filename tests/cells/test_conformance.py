"""Every registered built-in cell, and the options that change its equations, through the shipped suite."""

from __future__ import annotations

import pytest

from longlag import registry
from longlag.cells import Cell
from longlag.cells.stack import build
from longlag.testing import CellConformance

SMALL: dict[str, dict[str, object]] = {
    "tcn": {"levels": 2, "kernel_size": 3},
    "transformer": {"context": 8},
    "mamba2": {"heads": 2, "state_size": 4},
    "deltaproduct": {"heads": 1},
    "rwkv6": {"heads": 1, "decay_rank": 1, "mix_rank": 1},
    "rwkv7": {"heads": 1, "decay_rank": 1, "rate_rank": 1, "gate_rank": 2},
    "longhorn": {"state_size": 3},
    "mamba3": {"heads": 2, "state_size": 4},
    "s5": {"state_size": 8, "blocks": 2},
    "linoss": {"state_size": 4},
    "d-linoss": {"state_size": 4},
    "mesanet": {"heads": 2},
    "m2rnn": {"heads": 2},
    "mlstm": {"heads": 1, "expand": 1},
}
"""Options in place of defaults that finite differences would take minutes for."""

OPTIONS: dict[str, list[dict[str, object]]] = {
    "rnn": [
        {"activation": "relu"},
        {"activation": "modrelu", "init": "orthogonal"},
        {"activation": "sigmoid"},
        {"leak": 0.5},
    ],
    "gru": [{"reset": "before"}],
    "antisymmetric": [{"gated": True}],
    "cfc": [{"mode": "pure", "backbone": 2}, {"mode": "no_gate", "backbone": 0, "mixed_memory": True}],
    "mingru": [{"candidate": "linear", "bias": False}],
    "minlstm": [{"forget_bias": 1.0}],
    "hgrn": [{"lower_bound": 0.5, "gate": False, "norm": False, "half_life": 20}],
    "rg-lru": [{"width": 6, "blocks": 2, "convolution": False, "gate": False, "half_life": 20}],
    "lru": [{"mix": "none", "state_size": 4}],
    "s4d": [{"state_size": 4}],
    "selective": [{"state_size": 2}, {"state_size": 3, "dt_rank": 2, "mix": "glu", "negative_eigenvalues": True}],
    "s5": [{"state_size": 4, "blocks": 1, "clip_eigenvalues": True, "half_life": 50, "mix": "none"}],
    "linoss": [{"state_size": 3, "method": "im", "half_life": 20, "mix": "half-glu"}],
    "d-linoss": [{"state_size": 3, "half_life": 50, "mix": "gelu"}],
    "linear-attention": [{"feature": "identity", "normaliser": False, "gate": True, "convolution": True}],
    "retnet": [{"heads": 1, "half_life": 100}],
    "gla": [{"heads": 2, "half_life": 100, "gate_rank": 2}],
    "hgrn2": [{"heads": 2, "half_life": 100, "lower_bound": 0.5, "gate": True, "convolution": True}],
    "mamba2": [{"heads": 1, "state_size": 3, "convolution": False, "negative_eigenvalues": True, "half_life": 50}],
    "mlstm": [{"heads": 2, "expand": 1, "convolution": False, "gate_cap": 2.0, "half_life": 50}],
    "deltanet": [{"heads": 2, "convolution": False, "negative_eigenvalues": True}],
    "gated-deltanet": [{"heads": 1, "half_life": 100}],
    "deltaproduct": [{"heads": 2, "householders": 3, "forget_gate": False, "gate": False, "convolution": False}],
    "rwkv6": [{"heads": 2, "decay_rank": 1, "mix_rank": 1, "half_life": 50}],
    "rwkv7": [{"heads": 2, "decay_rank": 1, "rate_rank": 1, "gate_rank": 1, "half_life": 50}],
    "longhorn": [{"state_size": 2, "expand": 1.5, "dt_rank": 2, "convolution": False, "half_life": 50}],
    "mamba3": [{"heads": 1, "state_size": 3, "rotation": 0.0, "norm": True, "half_life": 50}],
    "m2rnn": [{"heads": 1, "recurrent": "normal", "convolution": False, "gate": False, "norm": False, "half_life": 50}],
    "mesanet": [{"heads": 1, "convolution": False, "gate": True, "half_life": 50}],
    "transformer": [{"context": 3, "heads": 2, "feed_forward": 1}],
}
BUILT_IN = [name for name in registry.names("cell") if registry.origin("cell", name).startswith("longlag ")]
CASES = [(name, options) for name in BUILT_IN for options in (SMALL.get(name, {}), *OPTIONS.get(name, []))]


class TestBuiltIn(CellConformance):
    @pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *(f"{k}={v}" for k, v in case[1].items())]))
    def cell(self, request: pytest.FixtureRequest) -> Cell:
        return build(*request.param)
