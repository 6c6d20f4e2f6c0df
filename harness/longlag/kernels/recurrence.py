"""The part of a cell that kernels read: its gates, its states and its pointwise equations.

A gated recurrence is a set of dense products plus a pure pointwise core. At step ``t`` every gate ``g`` has the
pre-activation

    a_g = W_g x_t + U_g s_{t-1} + b_g

where ``s`` is the state (or the concatenation of states) named by the gate's ``sources``. The core maps the
pre-activations and the previous state to the next state, unit by unit. A gate may instead read an *intermediate*,
the pointwise result of a first stage (GRU with the reset before the product needs it: ``U (r * h)``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from longlag.kernels.derived import Derived

State = dict[str, Tensor]
"""Named state tensors, each ``[B, H]``."""


@dataclass(frozen=True)
class Gate:
    """One dense pre-activation of a cell.

    Args:
        name: how the core refers to it (``g.name``).
        inputs: whether it has an input product ``W x_t``.
        sources: the states (or intermediates of the first stage) whose concatenation ``U`` multiplies;
            empty for a gate without a recurrent product.
        split: the core receives the two parts apart, as ``g.name_x`` (input product and bias) and
            ``g.name_h`` (recurrent product and a bias of its own), as GRU with the reset after the product needs.
        bias: whether it has a bias.
    """

    name: str
    inputs: bool = True
    sources: tuple[str, ...] = ("h",)
    split: bool = False
    bias: bool = True


class Named:
    """Tensors as attributes, so that a core reads like its equations (``g.i``, ``s.c``, ``p.peephole_i``)."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        vars(self).update(tensors)

    def __getattr__(self, name: str) -> Tensor:
        raise AttributeError(f"there is no {name!r} among {', '.join(vars(self)) or 'nothing'}")


class Recurrence(Protocol):
    """The part of the cell contract that kernels run; `longlag.cells.GatedCell` implements it."""

    @property
    def gates(self) -> tuple[Gate, ...]: ...

    @property
    def states(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def units(self) -> tuple[str, ...]: ...

    @property
    def intermediates(self) -> tuple[str, ...]: ...

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]: ...

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True)
class Product:
    """One recurrent matrix product per step: the gates that share sources are computed together."""

    sources: tuple[str, ...]
    gates: tuple[str, ...]
    stage: int


@dataclass(frozen=True)
class Layout:
    """How a cell's gates are packed into matrices. Rows of a packed matrix follow the order of the names."""

    gates: tuple[Gate, ...]
    inputs: tuple[str, ...]
    """Gates with an input product: rows of ``weight_ih``."""
    biases: tuple[str, ...]
    """Gates with a bias: rows of ``bias``."""
    splits: tuple[str, ...]
    """Split gates with a bias: rows of ``bias_hh``."""
    products: tuple[Product, ...]
    """The recurrent products, in the order of ``weight_hh``."""

    @classmethod
    def of(cls, cell: Recurrence) -> Layout:
        """Pack the gates of `cell`.

        Raises:
            ValueError: when a gate names a source that is neither a state nor an intermediate, or mixes the two.
        """
        return _layout(cell.gates, cell.states, cell.intermediates)


@cache
def _layout(gates: tuple[Gate, ...], states: tuple[str, ...], intermediates: tuple[str, ...]) -> Layout:
    known = {*states, *intermediates}
    grouped: dict[tuple[str, ...], list[str]] = {}
    for gate in gates:
        for source in gate.sources:
            if source not in known:
                raise ValueError(
                    f"gate {gate.name!r} reads {source!r}, which is neither a state {states} "
                    f"nor an intermediate {intermediates}"
                )
        if gate.sources:
            grouped.setdefault(gate.sources, []).append(gate.name)
    products = []
    for sources, names in grouped.items():
        late = [source in intermediates for source in sources]
        if any(late) and not all(late):
            raise ValueError(f"gates {names} mix states and intermediates in {sources}")
        products.append(Product(sources, tuple(names), 2 if any(late) else 1))
    return Layout(
        gates=gates,
        inputs=tuple(gate.name for gate in gates if gate.inputs),
        biases=tuple(gate.name for gate in gates if gate.bias),
        splits=tuple(gate.name for gate in gates if gate.split and gate.bias and gate.sources),
        products=tuple(products),
    )


class Weights(NamedTuple):
    """The effective weights of one layer, as the kernels use them (a cell may compose them from its parameters).

    Shapes, with ``H`` hidden units and ``I`` inputs: ``weight_ih [n_inputs * H, I]``; one ``weight_hh`` per product,
    ``[n_gates * H, n_sources * H]``; ``bias [n_biases * H]``; ``bias_hh [n_splits * H]``; ``units[name] [H]``.

    A cell may leave ``weight_ih``, or ``weight_hh`` where that is one matrix, to be computed: then the field is None
    or empty and ``derived`` has the weight under the field's name. `computed` puts it in its place.
    """

    weight_ih: Tensor | None
    weight_hh: tuple[Tensor, ...]
    bias: Tensor | None
    bias_hh: Tensor | None
    units: Mapping[str, Tensor]
    derived: Mapping[str, Derived] = MappingProxyType({})

    def computed(self) -> Weights:
        """Every weight a tensor."""
        if not self.derived:
            return self
        made: dict[str, Any] = {name: weight.tensor() for name, weight in self.derived.items()}
        if "weight_hh" in made:
            made["weight_hh"] = (made["weight_hh"],)
        return self._replace(**made, derived={})
