"""The configuration file: one frozen model per stage, read from TOML, unknown keys refused with the nearest match."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mlc_dask.errors import InputError
from mlc_dask.files import on_a_disk

_RESERVED = ("artifacts", "evaluation")
"""Folders that a run makes in its output."""


class Section(BaseModel):
    """A table of the file; immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Acquisitions(Section):
    """Which acquisitions are paired (METHOD section 2)."""

    years: Annotated[tuple[int, ...] | None, Field(description="years to map; all years of the source by default")] = (
        None
    )
    per_year: Annotated[int, Field(ge=2, description="acquisitions a year")] = 20
    max_days_apart: Annotated[int, Field(ge=0, le=60, description="δ, days between the years of a pair")] = 6
    max_cloud: Annotated[float, Field(ge=0, le=1, description="highest cloud share of the valid pixels")] = 0.4
    max_tile_cloud: Annotated[
        float, Field(ge=0, le=1, description="cloudier products, by their metadata, are not looked at")
    ] = 0.9
    accept_radiometry: Annotated[
        bool, Field(description="record, instead of refusing, acquisitions whose dark pixels contradict their offset")
    ] = False
    min_valid_area: Annotated[float, Field(ge=0, le=1, description="lowest share of the area with data")] = 0.2

    @field_validator("years")
    @classmethod
    def _ascending(cls, years: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if years is not None and (not years or list(years) != sorted(set(years))):
            raise ValueError("give at least one year, ascending, each once")
        return years


class GapRules(Section):
    """What happens to clouded and missing dates (METHOD section 3)."""

    method: Annotated[Literal["interpolate", "keep"], Field(description="interpolate in time, or keep as observed")] = (
        "interpolate"
    )
    min_valid: Annotated[int, Field(ge=1, description="usable dates a year below which a pixel gets no label")] = 5


class Product(Section):
    """The old land-cover map (METHOD section 10)."""

    path: Annotated[Path, Field(description="GeoTIFF of class codes")]
    crosswalk: Annotated[str, Field(description="corine, corine-clc, worldcover, or the path of a CSV")] = "corine"
    legend: Annotated[Path | None, Field(description="CSV code,name,colour; the crosswalk's own by default")] = None


class AnnualTraining(Section):
    """Cleaning of the old map's labels and the annual samples (METHOD section 5)."""

    size: Annotated[int, Field(ge=2, description="samples a year")] = 24_000
    min_per_class: Annotated[int, Field(ge=0, description="floor for each class; 0 is the paper's")] = 500
    cluster_pixels: Annotated[int, Field(ge=10, description="pixels a class that decide the cluster centres")] = 50_000
    max_clusters: Annotated[int, Field(ge=1, le=64, description="clusters tried a class")] = 8
    min_silhouette: Annotated[float, Field(ge=-1, le=1, description="below it a class is one cluster")] = 0.25
    min_share: Annotated[
        float | None, Field(gt=0, le=1, description="keep every cluster above this share, not only the largest")
    ] = None


class Forest(Section):
    """The Random Forest behind the preliminary maps (METHOD section 6)."""

    trees: Annotated[int, Field(ge=1, description="trees a forest")] = 200
    max_depth: Annotated[int | None, Field(ge=1, description="unlimited by default")] = None
    min_samples_leaf: Annotated[int, Field(ge=1, description="samples a leaf")] = 1


class MultiYearTraining(Section):
    """Samples of the unchanged areas (METHOD section 6)."""

    train: Annotated[int, Field(ge=2, description="training samples a year")] = 24_000
    validation: Annotated[int, Field(ge=0, description="validation samples a year")] = 12_000
    min_per_class: Annotated[int, Field(ge=0, description="floor for each class; 0 is the paper's")] = 500
    split: Annotated[Literal["blocks", "random"], Field(description="apart by squares, or at random (the paper)")] = (
        "blocks"
    )
    block: Annotated[int, Field(ge=1, description="edge of a square in pixels")] = 64


class Lstm(Section):
    """The LSTM and its training (METHOD section 7)."""

    layers: Annotated[int, Field(ge=1, description="LSTM layers")] = 4
    hidden: Annotated[int, Field(ge=1, description="cells a layer and direction")] = 128
    bidirectional: Annotated[bool, Field(description="both directions in time")] = True
    dropout: Annotated[float, Field(ge=0, lt=1, description="between layers")] = 0.5713
    epochs: Annotated[int, Field(ge=1, description="passes over the samples")] = 100
    batch: Annotated[int, Field(ge=1, description="samples a step")] = 1024
    learning_rate: Annotated[float, Field(gt=0, description="of Adam")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, description="of Adam")] = 1e-6
    class_weights: Annotated[bool, Field(description="weigh classes by their inverse share")] = False
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of training; bfloat16 needs a processor with AMX, or a GPU")
    ] = "float32"


class Filter(Section):
    """Filtering of the maps (METHOD section 8)."""

    size: Annotated[int, Field(ge=1, description="edge of the window in pixels, odd")] = 11
    rule: Annotated[Literal["majority", "median", "none"], Field(description="median is the paper's")] = "majority"

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("the window needs a centre; use an odd number, 11 is the paper's")
        return size


class Evaluation(Section):
    """What the maps are judged by (METHOD section 9)."""

    truth: Annotated[
        str | None, Field(description="independent reference, a GeoTIFF of legend codes a year, e.g. truth/{year}.tif")
    ] = None

    @field_validator("truth")
    @classmethod
    def _one_a_year(cls, truth: str | None) -> str | None:
        if truth is not None and truth.count("{year}") != 1:
            raise ValueError("a reference belongs to a year; write {year} once where the year stands in the name")
        return truth


class Execution(Section):
    """How the work is done; nothing here changes a map."""

    cluster: Annotated[
        str, Field(description="local, gateway, kubernetes, slurm, or the address of a scheduler, tls://HOST:8786")
    ] = "local"
    options: Annotated[
        dict[str, Any], Field(description="keyword arguments of the cluster, as the backend's own class takes them")
    ] = {}
    workers: Annotated[int, Field(ge=1, description="worker processes; the most where a cluster adapts itself")] = 2
    memory: Annotated[
        str,
        Field(
            pattern=r"^(auto|\d+(\.\d+)? ?[kMGT]?i?B?)$",
            description="memory limit of a local worker, e.g. 8GiB; auto shares what there is",
        ),
    ] = "auto"
    patch: Annotated[int, Field(ge=1, description="edge of a patch in pixels, a multiple of 128")] = 2560
    dashboard: Annotated[str, Field(description="where a local run's dashboard listens; port 0 is any free one")] = (
        "127.0.0.1:8787"
    )
    tiles_at_once: Annotated[
        int, Field(ge=1, description="tiles whose patches are in the cluster's hands at a time")
    ] = 2

    @field_validator("dashboard")
    @classmethod
    def _on_loopback(cls, dashboard: str) -> str:
        if not re.fullmatch(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d{1,5}", dashboard):
            raise ValueError(
                "the dashboard shows paths and maps to whoever asks; give 127.0.0.1:PORT, and look at it from afar "
                "by: ssh -L PORT:127.0.0.1:PORT MACHINE"
            )
        return dashboard


class Config(Section):
    """Everything that one run needs."""

    output: Annotated[Path, AfterValidator(on_a_disk), Field(description="folder of the results")]
    tiles: Annotated[
        tuple[str, ...] | None, Field(description="map several tiles with common models; {tile} stands for their names")
    ] = None
    sensor: Annotated[str, Field(description="sensor whose bands these are")] = "sentinel-2"
    seed: Annotated[int, Field(ge=0, lt=2**32, description="of every random choice")] = 0
    source: Annotated[dict[str, Any], Field(description="where the acquisitions are; `kind` chooses the source")]
    product: Product | None = None
    acquisitions: Acquisitions = Acquisitions()
    gaps: GapRules = GapRules()
    annual_training: AnnualTraining = AnnualTraining()
    forest: Forest = Forest()
    multiyear_training: MultiYearTraining = MultiYearTraining()
    lstm: Lstm = Lstm()
    filter: Filter = Filter()
    evaluation: Evaluation = Evaluation()
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _tiles_differ(self) -> Self:
        if self.tiles is None:
            return self
        if not self.tiles or len(set(self.tiles)) < len(self.tiles):
            raise ValueError("tiles: name at least one tile, each once")
        if unfit := [t for t in self.tiles if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", t) or t in _RESERVED]:
            raise ValueError(f"tiles: {unfit[0]!r} cannot be a folder of the output; use letters, digits, - and _")
        if _named(self.source, self.tiles[0]) == self.source:
            raise ValueError(
                'tiles: no key of source holds {tile}, so that all tiles were one place; e.g. tile = "{tile}"'
            )
        return self

    def of_tile(self, tile: str) -> Config:
        """Return the configuration of one of the tiles: its own place and folder, and its part of the samples."""
        assert self.tiles is not None and tile in self.tiles, tile
        count, product = len(self.tiles), self.product
        annual, multi = self.annual_training, self.multiyear_training
        sizes = {"size": max(annual.size, 2 * count), "min_per_class": annual.min_per_class}
        parts = {"train": multi.train, "validation": multi.validation, "min_per_class": multi.min_per_class}
        own = {
            "output": self.output / tile,
            "tiles": None,
            "source": _named(self.source, tile),
            "product": product and product.model_copy(update={"path": Path(_named(str(product.path), tile))}),
            "evaluation": self.evaluation.model_copy(update={"truth": _named(self.evaluation.truth, tile)}),
            "annual_training": annual.model_copy(update={key: -(-n // count) for key, n in sizes.items()}),
            "multiyear_training": multi.model_copy(update={key: -(-n // count) for key, n in parts.items()}),
        }
        return self.model_copy(update=own)

    @model_validator(mode="after")
    def _dates_enough(self) -> Self:
        if self.gaps.min_valid > self.acquisitions.per_year:
            raise ValueError(
                f"gaps.min_valid = {self.gaps.min_valid} usable dates can never be met by acquisitions.per_year = "
                f"{self.acquisitions.per_year}; lower the first"
            )
        return self


_SOURCE_PATHS = ("folder", "index", "catalogue")
"""Keys of a source that are paths, unless they are URLs."""

_OPTION_PATHS = ("spec", "tls_ca_file", "tls_client_cert", "tls_client_key")
"""Options of a cluster that are paths."""


def load_config(path: str | Path) -> Config:
    """Read a configuration; relative paths in it are relative to the file.

    Raises
    ------
    InputError
        Naming the key, the value and the fix.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; make one with: mlc-dask init {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the configuration file in it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}; mend that line") from None
    config = validated(Config, data, str(path))
    return _anchored(config, path.parent.resolve())


def validated(model: type[Any], data: dict[str, Any], where: str) -> Any:
    """Build `model` from `data`, telling of the first fault in one line."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InputError(_explain(error, model, where)) from None


def _explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(p) for p in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
        return f"{where}: unknown key {key!r}; {hint}"
    if first["type"] == "missing":
        return f"{where}: {key!r} is missing; add it (mlc-dask init writes a commented file with every key)"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return f"{where}: {message}"
    return f"{where}: {key} = {first['input']!r}: {message[0].lower()}{message[1:]}"


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        (model,) = _models_in(model.model_fields[str(part)].annotation)
    return list(model.model_fields)


def _anchored(config: Config, base: Path) -> Config:
    """Return the configuration with its relative paths made absolute."""
    product = config.product and _anchored_product(config.product, base)
    truth = config.evaluation.truth
    evaluation = config.evaluation.model_copy(update={"truth": str(base / truth) if truth else None})
    source = {
        key: str(base / value) if key in _SOURCE_PATHS and isinstance(value, str) and "://" not in value else value
        for key, value in config.source.items()
    }
    options = {k: str(base / v) if k in _OPTION_PATHS else v for k, v in config.execution.options.items()}
    execution = config.execution.model_copy(update={"options": options})
    anchored = {"product": product, "evaluation": evaluation, "source": source, "execution": execution}
    return config.model_copy(update={"output": base / config.output, **anchored})


def _anchored_product(product: Product, base: Path) -> Product:
    own_table = product.crosswalk.endswith(".csv")
    return product.model_copy(
        update={
            "path": base / product.path,
            "legend": base / product.legend if product.legend else None,
            "crosswalk": str(base / product.crosswalk) if own_table else product.crosswalk,
        }
    )


def _named(value: Any, tile: str) -> Any:
    """Return `value` with every ``{tile}`` in its strings replaced."""
    if isinstance(value, str):
        return value.replace("{tile}", tile)
    if isinstance(value, dict):
        return {key: _named(v, tile) for key, v in value.items()}
    return [_named(v, tile) for v in value] if isinstance(value, list) else value


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
        for section in _models_in(field.annotation):
            lines += ["", f"# {(section.__doc__ or '').strip().splitlines()[0]}", f"[{name}]"]
            lines += [_commented_key(key, own) for key, own in section.model_fields.items()]
    return lines


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Models that a field may hold, seen through a union with None."""
    options = [annotation, *getattr(annotation, "__args__", ())]
    return [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]


def _commented_key(key: str, field: Any) -> str:
    if field.is_required():
        return f'{key} = "product.tif"  # {field.description}'
    value = field.default
    text = "…" if value is None else json.dumps(value)
    return f"# {key} = {text}  # {field.description}"
