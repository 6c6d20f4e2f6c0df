"""What RWKV-6 and RWKV-7 share: heads of matrices that forget number by number, and inputs mixed with those before."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import TypeVar

from longlag.cells.initialise import half_lives
from longlag.cells.parts import Share, step_before
from longlag.cells.readout import linear
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.kernels import Chain, Named, RowFunction, State, StateGradients, run_chain
from longlag.options import Options

SHORTEST = 2.0
"""The shortest half-life, in steps, where an option sets the longest."""


class RWKVOptions(Options):
    heads: int = Field(default=4, ge=1)
    decay_rank: int = Field(default=32, ge=1)
    half_life: float | None = Field(default=None, ge=SHORTEST)


OptionsT_co = TypeVar("OptionsT_co", bound=RWKVOptions, default=RWKVOptions, covariant=True)


class RWKVCell(ScanCell[OptionsT_co]):
    """What the two have in common: heads of d keys and d values, d = H / n rounded up."""

    undecayed = ("mix_each",)

    @property
    def share(self) -> Share:
        return Share(1, self.options.heads)

    @property
    def wide(self) -> str:
        """n d as an expression in H."""
        return f"{self.options.heads}*{self.share.formula}"


class RWKVLayer(ScanLayer):
    """Such a cell over time. Among its states is ``last``, the input of the step before."""

    cell: RWKVCell

    def __init__(self, cell: RWKVCell, input_size: int, hidden_size: int, generator: torch.Generator | None) -> None:
        size, n = cell.share.of(hidden_size), cell.options.heads
        super().__init__(cell, input_size, hidden_size, n, {"v": size, "k": size}, {"last": (hidden_size,)})
        self.wide = n * size
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.out = linear(self.wide, hidden_size, generator, bias=False)
        self.norm_weight = nn.Parameter(torch.ones(self.wide))
        self.norm_bias = nn.Parameter(torch.zeros(self.wide))

    def mixes(self, *powers: float) -> Tensor:
        """How much of the step before each channel of the inputs gets at first, one row for each of the powers."""
        place = torch.arange(self.hidden_size) / self.hidden_size
        return torch.stack([1 - place**power for power in powers])

    def split(self, x: Tensor) -> Tensor:
        """``[..., n d]`` as ``[..., n, d]``."""
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def lives(self) -> Tensor | None:
        """Half-lives that ``half_life`` asks for, of all numbers of keys, the longest first."""
        longest = self.cell.options.half_life
        return None if longest is None else half_lives(longest, SHORTEST, self.wide).flip(0)

    def mix(self, u: Tensor, d: Tensor) -> State:
        """What `before` makes, ``[T, B, n d]``."""
        chain, parameters = self.before()
        return dict(run_chain(chain, {"u": u, "d": d}, parameters, 2, self.kernel))

    def before(self) -> tuple[Chain, State]:
        """From ``u``, u_t, and ``d``, u_{t-1} - u_t, to the core's inputs and what the read-out needs besides."""
        raise NotImplementedError

    def after(self) -> tuple[Chain, State]:
        """From ``y``, the outputs of all heads, and what the read-out needs besides, to ``h``."""
        raise NotImplementedError

    def core_parameters(self) -> State:
        return {}

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        u = u if mask is None else u * mask.unsqueeze(-1)
        before, last = step_before(u, state["last"], mask)
        made = self.mix(u, before - u)
        inputs = {name: self.split(made[name]) for name in self.cell.inputs}
        outputs, final = self.scan(inputs, self.core_parameters(), state, mask, record)
        chain, parameters = self.after()
        own = {"w_y": self.split(self.norm_weight), "b_y": self.split(self.norm_bias), "w_o": self.out.weight}
        given = {**made, "y": outputs["y"]}
        h = run_chain(chain, {name: given[name] for name in chain.inputs}, {**parameters, **own}, 2, self.kernel)["h"]
        return h, {**final, "last": last}


def normed(function: RowFunction, y: Tensor, p: Named) -> Tensor:
    """The norm of a head's outputs, for a core."""
    centred = y - function.mean(y)
    return centred * torch.rsqrt(function.mean(centred.square()) + 64e-5) * p.w_y + p.b_y
