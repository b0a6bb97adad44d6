"""The configuration file: one frozen model per stage, read from TOML, unknown keys refused with the nearest match."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from mlc_dask.storage.durable import on_a_disk

_RESERVED = ("artifacts", "evaluation")
"""Folders that a run makes in its output."""


class Section(BaseModel):
    """A table of the file; immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Acquisitions(Section):
    """Which acquisitions are paired (method section 2)."""

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
    """What happens to clouded and missing dates (method section 3)."""

    method: Annotated[Literal["interpolate", "keep"], Field(description="interpolate in time, or keep as observed")] = (
        "interpolate"
    )
    min_valid: Annotated[int, Field(ge=1, description="usable dates a year below which a pixel gets no label")] = 5


class Product(Section):
    """The old land-cover map (method section 10)."""

    path: Annotated[Path, Field(description="GeoTIFF of class codes")]
    crosswalk: Annotated[str, Field(description="corine, corine-clc, worldcover, or the path of a CSV")] = "corine"
    legend: Annotated[Path | None, Field(description="CSV code,name,colour; the crosswalk's own by default")] = None


class AnnualTraining(Section):
    """Cleaning of the old map's labels and the annual samples (method section 5)."""

    size: Annotated[int, Field(ge=2, description="samples a year")] = 24_000
    min_per_class: Annotated[int, Field(ge=0, description="floor for each class; 0 is the paper's")] = 500
    cluster_pixels: Annotated[int, Field(ge=10, description="pixels a class that decide the cluster centres")] = 50_000
    max_clusters: Annotated[int, Field(ge=1, le=64, description="clusters tried a class")] = 8
    min_silhouette: Annotated[float, Field(ge=-1, le=1, description="below it a class is one cluster")] = 0.25
    min_share: Annotated[
        float | None, Field(gt=0, le=1, description="keep every cluster above this share, not only the largest")
    ] = None


class Forest(Section):
    """The Random Forest behind the preliminary maps (method section 6)."""

    trees: Annotated[int, Field(ge=1, description="trees a forest")] = 200
    max_depth: Annotated[int | None, Field(ge=1, description="unlimited by default")] = None
    min_samples_leaf: Annotated[int, Field(ge=1, description="samples a leaf")] = 1


class MultiYearTraining(Section):
    """Samples of the unchanged areas (method section 6)."""

    train: Annotated[int, Field(ge=2, description="training samples a year")] = 24_000
    validation: Annotated[int, Field(ge=0, description="validation samples a year")] = 12_000
    min_per_class: Annotated[int, Field(ge=0, description="floor for each class; 0 is the paper's")] = 500
    split: Annotated[Literal["blocks", "random"], Field(description="apart by squares, or at random (the paper)")] = (
        "blocks"
    )
    block: Annotated[int, Field(ge=1, description="edge of a square in pixels")] = 64


class Lstm(Section):
    """The LSTM and its training (method section 7)."""

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
    """Filtering of the maps (method section 8)."""

    size: Annotated[int, Field(ge=1, description="edge of the window in pixels, odd")] = 11
    rule: Annotated[Literal["majority", "median", "none"], Field(description="median is the paper's")] = "majority"

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("the window needs a centre; use an odd number, 11 is the paper's")
        return size


class Evaluation(Section):
    """What the maps are judged by (method section 9)."""

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


def _named(value: Any, tile: str) -> Any:
    """Return `value` with every ``{tile}`` in its strings replaced."""
    if isinstance(value, str):
        return value.replace("{tile}", tile)
    if isinstance(value, dict):
        return {key: _named(v, tile) for key, v in value.items()}
    return [_named(v, tile) for v in value] if isinstance(value, list) else value
