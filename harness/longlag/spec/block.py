"""What stands around every layer of a model: a preset, and single fields over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, PositiveFloat, model_serializer, model_validator

from longlag.errors import quoted
from longlag.spec.component import Count, Spec

PRESETS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pre-norm": {"norm": "layer", "residual": True, "mlp": "swiglu", "final_norm": True},
    "mamba": {"norm": "rms", "expand": 2, "conv": True, "gate": True, "residual": True, "final_norm": True},
    "xlstm": {
        "norm": "layer",
        "conv": True,
        "head_norm": 4,
        "residual": True,
        "mlp": "geglu",
        "mlp_factor": 4 / 3,
        "final_norm": True,
    },
}
"""The fields of each preset that differ from those of ``plain``."""


def _by_name_too(schema: dict[str, Any]) -> None:
    """A block may be written as the name of its preset."""
    mapping = {"properties": schema["properties"], **{key: schema.pop(key) for key in ("type", "additionalProperties")}}
    schema["anyOf"] = [{"enum": list(PRESETS)}, mapping]


class BlockSpec(Spec):
    """The block around every layer, whatever the cell; its equations are in docs/models.md."""

    model_config = ConfigDict(json_schema_extra=_by_name_too)

    name: Literal["plain", "pre-norm", "mamba", "xlstm"] = Field(
        "plain", description="a preset; a field that is given replaces the preset's"
    )
    norm: Literal["none", "layer", "rms"] = Field("none", description="of what a layer reads")
    expand: Count = Field(1, description="units of the layer over those of the model; above 1 with a map before it")
    conv: bool = Field(False, description="causal convolution over 4 steps before the layer, SiLU behind it")
    head_norm: int = Field(0, ge=0, le=10**6, description="heads whose outputs are normalised one by one; 0: not")
    gate: bool = Field(False, description="output gate: the layer's outputs times silu(W u)")
    residual: bool = Field(False, description="add what a layer and a feed-forward part read to what they give")
    mlp: Literal["none", "swiglu", "geglu"] = Field("none", description="gated feed-forward part behind the layer")
    mlp_factor: PositiveFloat = Field(8 / 3, le=1000, description="units of the feed-forward part over the model's")
    final_norm: bool = Field(False, description="the same norm behind the last block")

    @model_validator(mode="before")
    @classmethod
    def _over_the_preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"should be a preset's name or a mapping of fields, not {quoted(value)}")
        name = value.get("name", "plain")
        return {**PRESETS.get(name if isinstance(name, str) else "", {}), **value}

    @model_serializer
    def _every_field(self) -> dict[str, Any]:
        """A field left out would be the preset's when it is read again."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    @property
    def parts(self) -> list[str]:
        """The fields of which something stands around a layer; none where it is a plain one."""
        absent = {"norm": "none", "expand": 1, "conv": False, "head_norm": 0, "gate": False, "residual": False}
        return [name for name, value in {**absent, "mlp": "none"}.items() if getattr(self, name) != value]
