"""The sections of the configuration file: one frozen model per stage."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from mlc_dask.classifiers import CLASSIFIERS, LSTM, RandomForest
from mlc_dask.data.errors import InputError, warn_outdated
from mlc_dask.data.settings import STRICT, base_of, of_kind, settings
from mlc_dask.data.years import CALENDAR, NO_DAY, check_year_start
from mlc_dask.kernels.pairing.rules import PairingRules
from mlc_dask.stages.settings import AnnualTraining, Filter, Gaps, Maps, MultiYearTraining
from mlc_dask.storage.durable import local, on_a_disk

_RESERVED = ("artifacts", "evaluation")
"""Folders that a run makes in its output."""

Baseline = Literal["sample", "whole", "none"]
Controls = Literal["none", "paper", "full"]

DEFAULT_KIND: Final = LSTM.name
"""Classifier of a configuration that names none."""


class Section(BaseModel):
    """A table of the file; immutable, and strict about its keys."""

    model_config = ConfigDict(**STRICT, frozen=True)


@settings
class Acquisitions(PairingRules):
    """Which acquisitions are paired (method section 2)."""

    # Narrower than the limits of pairing itself: one date per year, or dates of different seasons, make no map.
    size: Annotated[int, Field(ge=2, validation_alias="per_year", description="acquisitions per year")] = (
        PairingRules.size
    )
    max_days_apart: Annotated[int, Field(ge=0, le=60, description="δ, days between the years of a pair")] = (
        PairingRules.max_days_apart
    )
    years: Annotated[tuple[int, ...] | None, Field(description="years to map; all years of the source by default")] = (
        None
    )
    year_start: Annotated[
        str,
        Field(description="first day of a year, e.g. 07-01 in the south; a year is named for the one in which it ends"),
    ] = CALENDAR
    max_tile_cloud: Annotated[
        float, Field(ge=0, le=1, description="products above this cloud share, by their metadata, are ignored")
    ] = 0.9
    leave_out: Annotated[
        tuple[str, ...], Field(description="acquisitions to leave out, by id or date (2018-09-23)")
    ] = ()
    accept_radiometry: Annotated[
        bool, Field(description="accept and record acquisitions that contradict their offset or show missed clouds")
    ] = False

    @field_validator("leave_out", mode="before")
    @classmethod
    def _dates_as_text(cls, entries: Any) -> Any:
        # An unquoted date in TOML is a date.
        return (
            [str(e) if isinstance(e, date) else e for e in entries] if isinstance(entries, (list, tuple)) else entries
        )

    @field_validator("year_start")
    @classmethod
    def _of_every_year(cls, year_start: str) -> str:
        try:
            return check_year_start(year_start)
        except InputError:
            raise ValueError(NO_DAY) from None

    @field_validator("years")
    @classmethod
    def _ascending(cls, years: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if years is not None and (not years or list(years) != sorted(set(years))):
            raise ValueError("give at least one year, in ascending order, each year once")
        return years

    @property
    def rules(self) -> PairingRules:
        """The rules of pairing, without the settings that other steps take."""
        return base_of(PairingRules, self)


class Product(Section):
    """The old land-cover map (method section 10)."""

    path: Annotated[Path, BeforeValidator(local), Field(description="GeoTIFF of class codes")]
    crosswalk: Annotated[
        str, BeforeValidator(local), Field(description="corine, corine-clc, worldcover, or the path of a CSV")
    ] = "corine"
    legend: Annotated[
        Path | None, BeforeValidator(local), Field(description="CSV code,name,colour; the crosswalk's own by default")
    ] = None
    year: Annotated[
        int | None,
        Field(ge=1900, le=2200, description="year that the map shows; by default from a name such as CLC2018"),
    ] = None


class Evaluation(Section):
    """Reference that the maps are compared with (method section 9)."""

    truth: Annotated[
        str | None,
        BeforeValidator(local),
        Field(description="independent reference, one GeoTIFF of legend codes per year, e.g. truth/{year}.tif"),
    ] = None
    implausible: Annotated[
        Path | None,
        BeforeValidator(local),
        Field(description="CSV from,to,years,reason of implausible changes; by default one for the paper's classes"),
    ] = None

    @field_validator("truth")
    @classmethod
    def _one_a_year(cls, truth: str | None) -> str | None:
        if truth is not None and truth.count("{year}") != 1:
            raise ValueError(
                "every year needs its own reference; write {year} once, where the year stands in the file's name"
            )
        return truth


class Evidence(Section):
    """What the maps are compared with, beside a reference (method section 9).

    No setting of this section changes the maps of the multi-year model.
    """

    baseline: Annotated[
        Baseline,
        Field(description="single-year models: judged on a sample of blocks, mapped whole (the paper), or not trained"),
    ] = "sample"
    controls: Annotated[
        Controls,
        Field(description="comparisons on the sample: none, paper (the single-year models) or full (all controls)"),
    ] = "paper"
    seeds: Annotated[
        int,
        Field(ge=1, le=20, description="multi-year models of other seeds: the noise floor of full controls"),
    ] = 1


class Execution(Section):
    """How the work runs. No setting of this section changes a map."""

    cluster: Annotated[
        str, Field(description="local, gateway, kubernetes, slurm, or the address of a scheduler, e.g. tls://HOST:8786")
    ] = "local"
    options: Annotated[dict[str, Any], Field(description="keyword arguments for the cluster class of the backend")] = {}
    workers: Annotated[
        int, Field(ge=1, description="worker processes; the maximum where the cluster adapts its size")
    ] = 2
    memory: Annotated[
        str,
        Field(
            pattern=r"^(auto|\d+(\.\d+)? ?[kMGT]?i?B?)$",
            description="memory limit of a local worker, e.g. 8GiB; auto shares the free memory",
        ),
    ] = "auto"
    patch: Annotated[int, Field(ge=1, description="edge of a patch in pixels, a multiple of 128")] = 2560
    dashboard: Annotated[str, Field(description="address of a local run's dashboard; port 0 takes any free port")] = (
        "127.0.0.1:8787"
    )
    tiles_at_once: Annotated[int, Field(ge=1, description="tiles that are processed at the same time")] = 2

    @field_validator("dashboard")
    @classmethod
    def _on_loopback(cls, dashboard: str) -> str:
        loopback = re.fullmatch(r"(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]):(\d{1,5})", dashboard)
        if loopback and int(loopback[1]) > 65535:
            raise ValueError(f"port {loopback[1]} is above 65535; choose another port, or 0 for any free one")
        if not loopback:
            raise ValueError(
                "the dashboard shows paths and maps to anyone who connects; give 127.0.0.1:PORT, and open it from "
                "another machine through: ssh -L PORT:127.0.0.1:PORT MACHINE"
            )
        return dashboard


def chosen_classifier(given: Any) -> Any:
    """Return the classifier that a table ``[classifier]``, or its kind alone, describes; a classifier is returned.

    Raises
    ------
    InputError
        If `given` is none of these, or the table has an unknown kind or setting.
    """
    if hasattr(given, "fit"):
        return given
    table = {"kind": given} if isinstance(given, str) else given
    if not isinstance(table, dict):
        raise InputError(
            f"classifier = {given!r} is not a classifier; give a table with its kind: {', '.join(CLASSIFIERS)}"
        )
    return of_kind(CLASSIFIERS, table, "classifier", DEFAULT_KIND)


class Config(Section):
    """Everything that one run needs."""

    output: Annotated[Path, AfterValidator(on_a_disk), Field(description="folder of the results")]
    tiles: Annotated[
        tuple[str, ...] | None,
        Field(description="map several tiles with shared models; {tile} stands for the name of a tile"),
    ] = None
    sensor: Annotated[str, Field(description="sensor that the bands belong to")] = "sentinel-2"
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of every random choice")] = 0
    source: Annotated[dict[str, Any], Field(description="where the acquisitions are; `kind` chooses the source")]
    product: Product | None = None
    acquisitions: Acquisitions = Acquisitions()
    gaps: Gaps = Gaps()
    annual_training: AnnualTraining = AnnualTraining()
    forest: RandomForest = RandomForest()
    multiyear_training: MultiYearTraining = MultiYearTraining()
    classifier: Annotated[
        Any, BeforeValidator(chosen_classifier), Field(description="classifier of the maps; `kind` chooses it")
    ] = LSTM()
    maps: Maps = Maps()
    filter: Filter = Filter()
    evaluation: Evaluation = Evaluation()
    evidence: Evidence = Evidence()
    execution: Execution = Execution()

    @model_validator(mode="before")
    @classmethod
    def _old_lstm_table(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "lstm" not in given:
            return given
        if "classifier" in given:
            raise ValueError("[lstm] and [classifier] both name a classifier; keep [classifier] and remove [lstm]")
        warn_outdated('[lstm] is the old name of a table; write [classifier] with kind = "lstm" and the same keys')
        table = given["lstm"]
        rest = {key: value for key, value in given.items() if key != "lstm"}
        return rest | {"classifier": {"kind": "lstm", **table} if isinstance(table, dict) else table}

    @model_validator(mode="after")
    def _tiles_differ(self) -> Self:
        if self.tiles is None:
            return self
        if not self.tiles or len(set(self.tiles)) < len(self.tiles):
            raise ValueError("tiles: name at least one tile, and each tile once")
        if invalid := [t for t in self.tiles if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", t) or t in _RESERVED]:
            raise ValueError(f"tiles: {invalid[0]!r} cannot be a folder of the output; use letters, digits, - and _")
        if _named(self.source, self.tiles[0]) == self.source:
            raise ValueError(
                'tiles: no key of source contains {tile}, so all tiles would be the same; add it, e.g. tile = "{tile}"'
            )
        return self

    def of_tile(self, tile: str) -> Config:
        """Return the configuration of one tile, with its source, its output folder and its share of the samples."""
        assert self.tiles is not None and tile in self.tiles, tile
        count, product = len(self.tiles), self.product
        annual, multi = self.annual_training, self.multiyear_training

        def share(samples: int, least: int = 0) -> int:
            return max(-(-samples // count), least)

        changes = {
            "output": self.output / tile,
            "tiles": None,
            "source": _named(self.source, tile),
            "product": product and product.model_copy(update={"path": Path(_named(str(product.path), tile))}),
            "evaluation": self.evaluation.model_copy(update={"truth": _named(self.evaluation.truth, tile)}),
            "annual_training": replace(annual, size=share(annual.size, 2), min_per_class=share(annual.min_per_class)),
            "multiyear_training": replace(
                multi,
                train=share(multi.train, 2),
                validation=share(multi.validation),
                min_per_class=share(multi.min_per_class),
            ),
        }
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _dates_enough(self) -> Self:
        if self.gaps.min_valid > self.acquisitions.size:
            raise ValueError(
                f"gaps.min_valid = {self.gaps.min_valid} usable dates cannot be reached with acquisitions.per_year = "
                f"{self.acquisitions.size}; lower gaps.min_valid"
            )
        return self


def _named(value: Any, tile: str) -> Any:
    """Return `value` with every ``{tile}`` in its strings replaced."""
    if isinstance(value, str):
        return value.replace("{tile}", tile)
    if isinstance(value, dict):
        return {key: _named(v, tile) for key, v in value.items()}
    return [_named(v, tile) for v in value] if isinstance(value, list) else value
