"""The probe contract: numbers of one layer, from what it read in a forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from longlag.probes.rollout import CapturedInputs


class Probe(ABC):
    """A measurement inside every recurrent layer; the registry holds subclasses, not instances.

    It may run at any moment of a training run: it reads copies, and changes no number.

    Attributes:
        examples: how many sequences it looks at.
        cost: what it computes, in a few words.
    """

    version: ClassVar[int] = 1
    examples: ClassVar[int] = 1
    cost: ClassVar[str] = ""

    def applies(self, captured: CapturedInputs) -> bool:
        """Whether a layer can be measured: by default one with a step from one state of real vectors to the next."""
        return captured.has_rollout

    @abstractmethod
    def measure(self, captured: CapturedInputs) -> Mapping[str, float]:
        """Numbers by ``section/quantity``, such as ``jacobian/spectral_radius``; a layer's name goes in between."""
