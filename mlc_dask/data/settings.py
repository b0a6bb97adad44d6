"""Settings: frozen dataclasses that refuse unknown keys and unusable values, from a file or from a notebook."""

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
"""Treatment of clouded and missing dates: linear in time with ends held, or observations as they are."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True)


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a frozen dataclass that validates its fields; a fault is an :class:`InputError` of one line.

    A field with a validation alias has that name in configuration files and either name in Python.
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
    """Build `model`, settings or a model of pydantic, from `data`.

    Raises
    ------
    InputError
        With the first fault in one line: `where`, key, value and fix.
    """
    try:
        return TypeAdapter(model).validate_python(data)
    except ValidationError as error:
        raise InputError(explain(error, model, where)) from None


def of_kind(kinds: Mapping[str, type[Any]], table: Mapping[str, Any], where: str, default: str | None = None) -> Any:
    """Build the settings that the key ``kind`` of `table` chooses among `kinds` from its other keys.

    Raises
    ------
    InputError
        With the first fault in one line: an unknown kind, or as of :func:`validated`.
    """
    kind = table.get("kind", default)
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{where}.kind = {kind!r} is unknown; use {', '.join(kinds)}")
    return validated(kinds[kind], {key: value for key, value in table.items() if key != "kind"}, where)


def base_of(kind: type[T], value: T) -> T:
    """Return the fields of `kind` that `value`, of a class derived from it, holds."""
    return kind(**{f.name: getattr(value, f.name) for f in dataclasses.fields(kind)})  # type: ignore[arg-type]


def fields_of(model: type[Any]) -> dict[str, FieldInfo]:
    """Fields of settings or of a model, by the key that files give them."""
    fields: dict[str, FieldInfo] = model.__pydantic_fields__
    return {str(field.validation_alias or name): field for name, field in fields.items()}


def sections_in(annotation: Any) -> list[type[Any]]:
    """List the settings and models that a field may hold, seen through a union with None."""
    options = [annotation, *getattr(annotation, "__args__", ())]
    return [o for o in options if isinstance(o, type) and (issubclass(o, BaseModel) or dataclasses.is_dataclass(o))]


def explain(error: ValidationError, model: type[Any], where: str, *, own_names: bool = False) -> str:
    """Say the first fault of `error` in one line; `own_names` gives fields their names in Python."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return f"{where}: {cause}"
    names = list(model.__pydantic_fields__ if own_names else fields_of(model))
    place = [_named(part, model, names) if own_names else str(part) for part in first["loc"]]
    key = ".".join(place)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = names if len(place) == 1 else _keys(model, place[:-1])
        return f"{where}: unknown key {key!r}; {did_you_mean(place[-1], known)}"
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
