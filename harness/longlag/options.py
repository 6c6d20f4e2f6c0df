"""Typed fields and options: what specs, tasks, cells, optimizers and samplers share. Imports none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import TypeVar, get_original_bases

from longlag.errors import quoted

LARGEST = 2**63
"""Whole numbers are below it: databases and arrays hold 64 bits."""


class Fields(BaseModel):
    """Base of what a user writes: frozen, unknown fields refused, a number only where a number is written.

    Attributes:
        later: fields that are younger than runs or studies that were recorded. At their defaults they are no part of
            what is written, from which identities are made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        for name in self.later:
            if getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True):
                fields.pop(name, None)
        return fields

    @model_validator(mode="wrap")
    @classmethod
    def _numbers_as_written(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Refuse what pydantic would convert, such as ``yes`` or ``017``: two values would be one run."""
        made = handler(given)
        if isinstance(given, Mapping):
            wrong = [
                found for name in given for found in _no_numbers((name,), given[name], getattr(made, str(name), None))
            ]
            if wrong:
                raise ValidationError.from_exception_data(cls.__name__, wrong)
        return made


def _no_numbers(loc: tuple[Any, ...], given: Any, made: Any) -> Iterator[InitErrorDetails]:
    """Where a word, or true or false, or more than 64 bits became a number."""
    if isinstance(given, list | tuple) and isinstance(made, list | tuple):
        for index, (before, after) in enumerate(zip(given, made, strict=False)):
            yield from _no_numbers((*loc, index), before, after)
    elif isinstance(given, Mapping) and isinstance(made, Mapping):
        for key in given:
            yield from _no_numbers((*loc, key), given[key], made.get(key))
    elif isinstance(made, int | float) and not isinstance(made, bool):
        whole = isinstance(made, int)
        if isinstance(given, str | bool):
            word = quoted(given) if isinstance(given, str) else str(given).lower()
            yield _problem(loc, given, f"should be {'a whole number' if whole else 'a number'}, not {word}")
        elif whole and abs(made) >= LARGEST:
            yield _problem(loc, given, f"should have at most 64 bits, unlike {quoted(made)}")


def _problem(loc: tuple[Any, ...], given: Any, said: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("number", "{said}", {"said": said}), loc=loc, input=given)


class Options(Fields):
    """Base of all options of components."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Files, folders and data sets that these options name and the component reads: shown before a run begins."""
        return ()


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
