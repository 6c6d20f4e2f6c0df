"""Typed options: what tasks, cells, optimizers and samplers have in common. Knows pydantic and none of them."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, cast

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar, get_original_bases


class Options(BaseModel):
    """Base of all options of components: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


OptionsT_co = TypeVar("OptionsT_co", bound=Options, default=Options, covariant=True)


class Configurable(Generic[OptionsT_co]):
    """Base of `Task`, `Cell`, `Optimizer` and `Sampler`, with its options: ``class Parity(Task[ParityOptions])``.

    Attributes:
        Options: the class in brackets; for a class that is generic itself, the bound of its first parameter. Without
            brackets, the parent's.
        options: an instance of it.
    """

    Options: ClassVar[type[Options]] = Options

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "Options" in vars(cls):
            raise TypeError(f"{cls.__name__}: write the options in brackets behind the base, not as an attribute")
        for base in get_original_bases(cls):
            origin = getattr(base, "__origin__", None)
            if isinstance(origin, type) and issubclass(origin, Configurable):
                found = base.__args__[0]
                found = found.__bound__ if isinstance(found, TypeVar) else found
                if not (isinstance(found, type) and issubclass(found, Options)):
                    raise TypeError(f"{cls.__name__}: in brackets goes a class derived from Options, not {found!r}")
                cls.Options = found

    def __init__(self, options: OptionsT_co | None = None) -> None:
        self.options = cast(OptionsT_co, self.Options()) if options is None else options
