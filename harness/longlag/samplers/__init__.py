"""Samplers: how a study chooses its points. Each is found by an entry point; docs/adding-a-sampler.md."""

from longlag.samplers.base import Sampler, SamplerOptions, build

__all__ = ["Sampler", "SamplerOptions", "build"]
