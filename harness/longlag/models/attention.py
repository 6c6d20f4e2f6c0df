"""Looking back at the encoder's outputs: what a state of fixed size need not carry."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from longlag.models.base import affine


class Attention(nn.Module):
    """A weighted mean of the encoder's outputs ``s_1 ... s_T``, the weights a softmax of scores against a query ``q``.

    ``luong`` (Luong et al. 2015, "general"): score = q' W s. ``bahdanau`` (Bahdanau et al. 2015, additive):
    score = v' tanh(W q + U s + b).

    Args:
        kind: which score.
        query: size of the query.
        memory: size of the encoder's outputs.
        generator: where the initial parameters come from.
    """

    def __init__(self, kind: Literal["luong", "bahdanau"], query: int, memory: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kind = kind
        if kind == "luong":
            self.map = affine(memory, query, generator)
        else:
            self.from_query = affine(query, query, generator)
            self.from_memory = affine(memory, query, generator)
            self.value = affine(query, 1, generator)

    def keys(self, states: Tensor) -> Tensor:
        """What queries are held against, ``[T, B, Q]`` (W s or U s + b): the same at every step of an answer."""
        keys: Tensor = self.map(states) if self.kind == "luong" else self.from_memory(states)
        return keys

    def forward(self, queries: Tensor, keys: Tensor, states: Tensor, exists: Tensor | None) -> Tensor:
        """The means ``[U, B, M]`` for queries ``[U, B, Q]`` over states ``[T, B, M]``; absent states weigh nothing."""
        if self.kind == "luong":
            scores = torch.einsum("ubq,tbq->ubt", queries, keys)
        else:
            hidden = torch.tanh(self.from_query(queries).unsqueeze(1) + keys.unsqueeze(0))
            scores = self.value(hidden).squeeze(-1).permute(0, 2, 1)
        if exists is not None:
            scores = scores.masked_fill(~exists.T.unsqueeze(0), -torch.inf)
        return torch.einsum("ubt,tbm->ubm", scores.softmax(-1), states)
