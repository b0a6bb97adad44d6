"""The commented configuration that ``mlc-dask init`` writes."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mlc_dask.classifiers import CLASSIFIERS
from mlc_dask.config.sections import DEFAULT_KIND, Config
from mlc_dask.data.settings import fields_of, sections_in

_OTHER_SOURCES = (
    "#",
    "# Products as agencies hand them out need other lines here:",
    '#   kind = "safe", "theia" or "eopf" with folder = "products", or',
    '#   kind = "stac" with preset = "earth-search-c1", "earth-search", "planetary-computer" or "copernicus",',
    '#     or with catalogue = "URL of an API, or path of a STAC file";',
    '#   and the area, tile = "T32TPS" or bbox = [west, south, east, north] in degrees.',
)


def commented(model: type[BaseModel] = Config) -> str:
    """Return a TOML file with every key, its meaning and its default, ready to be edited."""
    # Reading the settings of a source takes rasterio along, which no other command needs to read a configuration.
    from mlc_dask.io.sources.geotiff import GeoTiff

    head = [
        "# mlc-dask: one run. Relative paths are relative to this file; keys behind a # have the default shown.",
        'output = "maps"',
        "# seed = 0",
        '# sensor = "sentinel-2"',
        "",
        "[source]",
        'kind = "geotiff"',
        *_commented_source(GeoTiff),
        *_OTHER_SOURCES,
    ]
    return "\n".join([*head, *_commented_tables(model), *_commented_classifier(), ""])


def parameters(model: type[Any]) -> dict[str, str]:
    """Meaning of every key of a source, out of the docstrings of its class and of those it comes from."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        _, _, section = inspect.cleandoc(one.__doc__ or "").partition("Parameters\n----------\n")
        for names, text in re.findall(r"^(\w[\w, ]*)\n((?:    .*\n?|\n(?=    ))+)", section, re.MULTILINE):
            found |= dict.fromkeys(re.split(r",\s*", names), text.replace("``", "`"))
    return found


def _commented_source(source: type[BaseModel]) -> Iterator[str]:
    meanings = parameters(source)
    for key, field in fields_of(source).items():
        about = re.split(r"(?<=\.)\s", " ".join(meanings[key].split()))[0].removesuffix(".")
        yield _commented_key(key, field, about, example="acquisitions")


def _commented_tables(model: type[BaseModel]) -> Iterator[str]:
    for name, field in fields_of(model).items():
        for section in sections_in(field.annotation):
            yield from ("", f"# {_title(section)}", f"[{name}]")
            yield from (
                _commented_key(k, f, str(f.description), example="product.tif") for k, f in fields_of(section).items()
            )


def _commented_classifier() -> Iterator[str]:
    yield from ("", f"# {_title(CLASSIFIERS[DEFAULT_KIND])}", "[classifier]", f'kind = "{DEFAULT_KIND}"')
    for key, field in fields_of(CLASSIFIERS[DEFAULT_KIND]).items():
        yield _commented_key(key, field, str(field.description), example="")
    for kind in (k for k in CLASSIFIERS if k != DEFAULT_KIND):
        yield f'#   kind = "{kind}" has other keys: {", ".join(fields_of(CLASSIFIERS[kind]))}'


def _title(section: type[Any]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _commented_key(key: str, field: FieldInfo, about: str, *, example: str) -> str:
    if field.is_required():
        return f'{key} = "{example}"  # {about}'
    return f"# {key} = {_toml(field.get_default(call_default_factory=True))}  # {about}"


def _toml(value: Any) -> str:
    if value is None:
        return "…"
    if isinstance(value, BaseModel):
        return "{ " + ", ".join(f"{key} = {_toml(own)}" for key, own in value) + " }"
    return json.dumps(value, ensure_ascii=False)
