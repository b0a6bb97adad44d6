"""Settings: frozen dataclasses that refuse unknown keys and invalid values, from a file or a notebook."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import wraps
from typing import Any, Literal, TypeVar, dataclass_transform

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from mlc_dask.data.errors import InputError, did_you_mean

T = TypeVar("T")

GapMethod = Literal["interpolate", "keep"]
"""Treatment of cloudy and missing dates: linear interpolation in time with constant ends, or values as observed."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True)


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a frozen dataclass that validates its fields; an invalid value raises a one-line :class:`InputError`.

    A field with a validation alias has the alias as its key in configuration files; Python accepts either name.
    """
    made: Any = dataclass(frozen=True, config=STRICT)(cls)
    checked = made.__init__

    @wraps(checked)
    def construct(self: Any, *values: Any, **named: Any) -> None:
        try:
            checked(self, *values, **named)
        except ValidationError as error:
            raise InputError(explain(error, made, cls.__name__, own_names=True)) from None

    made.__init__ = construct
    return made  # type: ignore[no-any-return]


def validated(model: type[Any], data: Mapping[str, Any], where: str) -> Any:
    """Build `model`, a settings class or a pydantic model, from `data`.

    Raises
    ------
    InputError
        Names the first fault in one line: `where`, key, value and fix.
    """
    try:
        return TypeAdapter(model).validate_python(data)
    except ValidationError as error:
        raise InputError(explain(error, model, where)) from None


def of_kind(kinds: Mapping[str, type[Any]], table: Mapping[str, Any], where: str, default: str | None = None) -> Any:
    """Build settings from `table`: its key ``kind`` chooses the class among `kinds`, the other keys are the values.

    Raises
    ------
    InputError
        The kind is unknown, or :func:`validated` finds a fault in the other keys.
    """
    kind = table.get("kind", default)
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{where}.kind = {kind!r} is unknown; {did_you_mean(kind, kinds)}")
    return validated(kinds[kind], {key: value for key, value in table.items() if key != "kind"}, where)


def base_of(kind: type[T], value: T) -> T:
    """Return a `kind` with the values of `value`, an instance of a class derived from `kind`."""
    return kind(**{f.name: getattr(value, f.name) for f in dataclasses.fields(kind)})  # type: ignore[arg-type]


def fields_of(model: type[Any]) -> dict[str, FieldInfo]:
    """Fields of a settings class or a model, by their keys in files."""
    fields: dict[str, FieldInfo] = model.__pydantic_fields__
    return {str(field.validation_alias or name): field for name, field in fields.items()}


def sections_in(annotation: Any) -> list[type[Any]]:
    """List the settings classes and models that a field may hold, including the members of a union."""
    options = [annotation, *getattr(annotation, "__args__", ())]
    return [o for o in options if isinstance(o, type) and (issubclass(o, BaseModel) or dataclasses.is_dataclass(o))]


def explain(error: ValidationError, model: type[Any], where: str, *, own_names: bool = False) -> str:
    """Describe the first fault of `error` in one line; with `own_names`, fields are called by their Python names."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return f"{where}: {cause}"
    names = list(model.__pydantic_fields__ if own_names else fields_of(model))
    path = [_named(part, model, names) if own_names else str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = names if len(path) == 1 else _keys(model, path[:-1])
        return f"{where}: unknown key {key!r}; {did_you_mean(path[-1], known)}"
    if first["type"] in ("missing", "missing_argument"):
        return f"{where}: {key!r} is missing; add it (mlc-dask init writes a commented file with every key)"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return f"{where}: {message}"
    return f"{where}: {key} = {first['input']!r}: {message[0].lower()}{message[1:]}"


def _named(part: int | str, model: type[Any], names: list[str]) -> str:
    if isinstance(part, int):
        return names[part] if part < len(names) else str(part)
    aliases = dict(zip(fields_of(model), names, strict=True))
    return aliases.get(part, part)


def _keys(model: type[Any], path: list[str]) -> list[str]:
    for part in path:
        (model,) = sections_in(fields_of(model)[part].annotation)
    return list(fields_of(model))
