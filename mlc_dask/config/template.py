"""The commented configuration that ``mlc-dask init`` writes."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from mlc_dask.config.loading import models_in
from mlc_dask.config.sections import Config


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
        'folder = "acquisitions"      # one folder per acquisition, its name holding the date',
        '# file = "{band}.tif"         # one file per band',
        '# bands = ["B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12"]',
        "# date = '(\\d{8})'            # where the date stands in the folder's name",
        '# date_format = "%Y%m%d"',
        "# scale = 1e-4                # reflectance = DN * scale + offset",
        "# offset = 0.0",
        "# nodata = 0",
        "# mask: classes of the scene classification; mask = false reads none",
        '# mask = { file = "SCL.tif", unusable = [0, 1, 3, 8, 9], cloud = [8, 9, 10], nodata = [0] }',
        "#",
        "# Products as agencies hand them out need other lines here:",
        '#   kind = "safe", "theia" or "eopf" with folder = "products", or',
        '#   kind = "stac" with preset = "earth-search-c1", "earth-search", "planetary-computer" or "copernicus",',
        '#     or with catalogue = "URL of an API, or path of a STAC file";',
        '#   and the area, tile = "T32TPS" or bbox = [west, south, east, north] in degrees.',
    ]
    return "\n".join([*head, *_commented_tables(model), ""])


def _commented_tables(model: type[BaseModel]) -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        for section in models_in(field.annotation):
            lines += ["", f"# {(section.__doc__ or '').strip().splitlines()[0]}", f"[{name}]"]
            lines += [_commented_key(key, own) for key, own in section.model_fields.items()]
    return lines


def _commented_key(key: str, field: Any) -> str:
    if field.is_required():
        return f'{key} = "product.tif"  # {field.description}'
    value = field.default
    text = "…" if value is None else json.dumps(value)
    return f"# {key} = {text}  # {field.description}"
