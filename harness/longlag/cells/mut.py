"""The three mutated units that an evolutionary search over recurrent cells found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.cells.gru import InitOptions
from longlag.cells.initialise import draw
from longlag.kernels import Gate, Layout, Named, Weights
from longlag.kernels.embedded import embedded


class MUT(GatedCell[InitOptions]):
    """What the three share: a reset gate before the product, and an update gate that replaces the state."""

    intermediates: tuple[str, ...] = ("rh",)

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"rh": torch.sigmoid(g.r) * s.h}

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        z = torch.sigmoid(g.z)
        return {"h": torch.tanh(g.n) * z + s.h * (1 - z)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        draw(parameters, hidden_size, generator, self.options.init, std=self.options.std)


class EmbeddedMUT(MUT):
    """A unit that adds x_t itself to a vector of H units.

    Its equations hold as they stand where I = H. Otherwise x_t stands for an embedding E x_t of H features, E
    ``[H, I]`` without bias, in *every* place where the paper has x_t: a map for the plain x_t alone would make MUT2's
    reset gate that of the GRU.

    Attributes:
        plain: the gate whose input product is x_t itself.
    """

    plain: ClassVar[str]

    @property
    def formula(self) -> str:
        layout = Layout.of(self)
        matrices = len(self._mapped()) + sum(len(product.gates) for product in layout.products)
        return f"{matrices}*H*H + 3*H + (I != H)*H*I"

    def _mapped(self) -> tuple[str, ...]:
        """Gates with an input matrix of their own, in the order of the rows of ``weight_ih``."""
        return tuple(name for name in Layout.of(self).inputs if name != self.plain)

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        shapes = super().shapes(hidden_size, hidden_size)
        shapes["weight_ih"] = (len(self._mapped()) * hidden_size, hidden_size)
        return shapes if input_size == hidden_size else {"embedding": (hidden_size, input_size), **shapes}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        own = dict(parameters)
        embedding = own.pop("embedding", None)
        if embedding is not None:
            bound = 1 / math.sqrt(embedding.shape[1])
            embedding.uniform_(-bound, bound, generator=generator)
        super().initialise(own, hidden_size, generator)

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        packed = parameters["weight_ih"]
        size = packed.shape[1]
        before = Layout.of(self).inputs.index(self.plain) * size
        if "embedding" in parameters:
            matrix = embedded(packed, parameters["embedding"], before)
            own = {name: tensor for name, tensor in parameters.items() if name != "weight_ih"}
            return super().weights(own)._replace(derived={"weight_ih": matrix})
        plain = torch.eye(size, dtype=packed.dtype, device=packed.device)
        return super().weights({**parameters, "weight_ih": torch.cat([packed[:before], plain, packed[before:]])})


class MUT1(EmbeddedMUT):
    """MUT1: Jozefowicz, Zaremba and Sutskever (2015).

    z_t = sigmoid(W_z x_t + b_z)                                      update gate, blind to the state
    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)                        reset gate
    h_t = tanh(U_n (r_t * h_{t-1}) + tanh(x_t) + b_n) * z_t + h_{t-1} * (1 - z_t)

    Shapes: each W and U ``[H, H]``, b ``[H]``, and the embedding ``[H, I]`` where I differs from H (see `EmbeddedMUT`);
    4 H H + 3 H parameters, and H I for the embedding.

    Differs from `GRU` (reset before) in an update gate without recurrence and an input that is squashed, not mapped,
    into the candidate. z_t *replaces* the state, the opposite of `GRU`'s. Initialisation: U(-1/sqrt(H), 1/sqrt(H)),
    E ~ U(-1/sqrt(I), 1/sqrt(I)), torch's; the paper searches over scales.
    """

    gates = (
        Gate("z", sources=()),
        Gate("r"),
        Gate("x", sources=(), bias=False),
        Gate("n", inputs=False, sources=("rh",)),
    )
    plain = "x"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        z = torch.sigmoid(g.z)
        return {"h": torch.tanh(g.n + torch.tanh(g.x)) * z + s.h * (1 - z)}


class MUT2(EmbeddedMUT):
    """MUT2: Jozefowicz, Zaremba and Sutskever (2015).

    z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)                        update gate
    r_t = sigmoid(x_t + U_r h_{t-1} + b_r)                            reset gate, its input not mapped
    h_t = tanh(U_n (r_t * h_{t-1}) + W_n x_t + b_n) * z_t + h_{t-1} * (1 - z_t)

    Shapes: each W and U ``[H, H]``, b ``[H]``, and the embedding ``[H, I]`` where I differs from H (see `EmbeddedMUT`);
    5 H H + 3 H parameters, and H I for the embedding.

    Differs from `GRU` (reset before) in the reset gate's input only, and in z_t, which *replaces* the state.
    Initialisation as `MUT1`.
    """

    gates = (Gate("z"), Gate("r"), Gate("n", sources=("rh",)))
    plain = "r"


class MUT3(MUT):
    """MUT3: Jozefowicz, Zaremba and Sutskever (2015).

    z_t = sigmoid(W_z x_t + U_z tanh(h_{t-1}) + b_z)                  update gate, sees the squashed state
    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)                        reset gate
    h_t = tanh(U_n (r_t * h_{t-1}) + W_n x_t + b_n) * z_t + h_{t-1} * (1 - z_t)

    Shapes: each W ``[H, I]``, U ``[H, H]``, b ``[H]``; 3 H (I + H + 1) parameters. Every x_t is mapped, so no
    embedding is needed.

    Differs from `GRU` (reset before) in the tanh under the update gate, and in z_t, which *replaces* the state.
    Initialisation: U(-1/sqrt(H), 1/sqrt(H)), torch's; the paper searches over scales.
    """

    gates = (Gate("z", sources=("th",)), Gate("r"), Gate("n", sources=("rh",)))
    intermediates = ("rh", "th")
    formula = "3*H*(I + H + 1)"

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"rh": torch.sigmoid(g.r) * s.h, "th": torch.tanh(s.h)}
