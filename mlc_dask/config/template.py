"""The commented configuration that ``mlc-dask init`` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mlc_dask.classifiers import CLASSIFIERS
from mlc_dask.config.sections import DEFAULT_KIND, Config
from mlc_dask.data.settings import fields_of, sections_in

_GEOTIFF = Path(__file__).with_name("geotiff.toml")
"""Keys of the default source, as text, since importing its class imports rasterio. A test compares the two."""

_OTHER_SOURCES = (
    "#",
    "# Products in the formats of their agencies need other lines here:",
    '#   kind = "safe", "theia" or "eopf" with folder = "products", or',
    '#   kind = "stac" with preset = "earth-search-c1", "earth-search", "planetary-computer" or "copernicus",',
    '#     or with catalogue = "URL of an API, or path of a STAC file";',
    '#   and the area, tile = "T32TPS" or bbox = [west, south, east, north] in degrees.',
)


def commented(model: type[BaseModel] = Config) -> str:
    """Return a TOML file with every key, its meaning and its default, ready to be edited."""
    head = [
        "# mlc-dask: one run. Relative paths are relative to this file; keys behind a # have the default shown.",
        'output = "maps"',
        "# seed = 0",
        '# sensor = "sentinel-2"',
        "",
        "[source]",
        'kind = "geotiff"',
        *_GEOTIFF.read_text(encoding="utf-8").splitlines(),
        *_OTHER_SOURCES,
    ]
    return "\n".join([*head, *_commented_tables(model), *_commented_classifier(), ""])


def _commented_tables(model: type[BaseModel]) -> Iterator[str]:
    for name, field in fields_of(model).items():
        for section in sections_in(field.annotation):
            yield from ("", f"# {_title(section)}", f"[{name}]")
            yield from (
                commented_key(k, f, str(f.description), example="product.tif") for k, f in fields_of(section).items()
            )


def _commented_classifier() -> Iterator[str]:
    yield from ("", f"# {_title(CLASSIFIERS[DEFAULT_KIND])}", "[classifier]", f'kind = "{DEFAULT_KIND}"')
    for key, field in fields_of(CLASSIFIERS[DEFAULT_KIND]).items():
        yield commented_key(key, field, str(field.description), example="")
    for kind in (k for k in CLASSIFIERS if k != DEFAULT_KIND):
        yield f'#   kind = "{kind}" has other keys: {", ".join(fields_of(CLASSIFIERS[kind]))}'


def _title(section: type[Any]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def commented_key(key: str, field: FieldInfo, about: str, *, example: str) -> str:
    """Return the line of a key: its default behind a ``#``, or `example` where it is required."""
    if field.is_required():
        return f'{key} = "{example}"  # {about}'
    return f"# {key} = {_toml(field.get_default(call_default_factory=True))}  # {about}"


def _toml(value: Any) -> str:
    if value is None:
        return "…"
    if isinstance(value, BaseModel):
        return "{ " + ", ".join(f"{key} = {_toml(own)}" for key, own in value) + " }"
    return json.dumps(value, ensure_ascii=False)
