"""Settings of the stages, which are also tables of the configuration file.

This module imports neither arrays nor Dask, since configurations are read, written and explained without them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mlc_dask.data.settings import GapMethod, base_of, settings

SplitRule = Literal["blocks", "random"]
Rule = Literal["majority", "median", "none"]
Anchor = Literal["product-year", "none"]


@settings
class Gaps:
    """Treatment of cloudy and missing dates (method section 3).

    Parameters
    ----------
    method
        ``interpolate`` (linear in time, constant at both ends) or ``keep`` (values as observed, clouds included).
    min_valid
        A pixel with fewer usable dates in a year gets no label in that year.
    """

    method: Annotated[GapMethod, Field(description="interpolate in time, or keep as observed")] = "interpolate"
    min_valid: Annotated[int, Field(ge=1, description="usable dates per year that a pixel needs to get a label")] = 5


@settings
class Clustering:
    """Cleaning of labels: pixels per class for clustering, number of clusters tried, and which clusters are kept."""

    pixels: Annotated[
        int,
        Field(ge=10, validation_alias="cluster_pixels", description="pixels per class that determine cluster centres"),
    ] = 50_000
    max_clusters: Annotated[int, Field(ge=1, le=64, description="most clusters tried per class")] = 8
    min_silhouette: Annotated[float, Field(ge=-1, le=1, description="a class below this is one cluster")] = 0.25
    min_share: Annotated[
        float | None, Field(gt=0, le=1, description="keep every cluster of at least this share, not only the largest")
    ] = None
    anchor: Annotated[
        Anchor,
        Field(description="keep the cluster that continues the class of the product's year; the paper: none"),
    ] = "product-year"


@settings
class AnnualTraining(Clustering):
    """Cleaning of the old map's labels and the annual samples (method section 5)."""

    size: Annotated[int, Field(ge=2, description="samples per year")] = 24_000
    min_per_class: Annotated[int, Field(ge=0, description="least samples per class; the paper has 0")] = 500

    @property
    def clustering(self) -> Clustering:
        """The settings of the cleaning alone."""
        return base_of(Clustering, self)


@settings
class MultiYearTraining:
    """Samples of the unchanged areas (method section 6)."""

    train: Annotated[int, Field(ge=2, description="training samples per year")] = 24_000
    validation: Annotated[int, Field(ge=0, description="validation samples per year")] = 12_000
    min_per_class: Annotated[int, Field(ge=0, description="least samples per class; the paper has 0")] = 500
    split: Annotated[SplitRule, Field(description="separate by squares, or at random (the paper)")] = "blocks"
    block: Annotated[int, Field(ge=1, description="edge of a square in pixels")] = 64


@settings
class Maps:
    """Optional layers of the multi-year maps (method section 7). No setting of this table changes another layer."""

    probabilities: Annotated[bool, Field(description="probability of every class, a plane each, in per cent")] = False
    entropy: Annotated[bool, Field(description="entropy of the probabilities, in per cent of the largest")] = False
    margin: Annotated[bool, Field(description="lead of the first class over the second, in per cent")] = False

    @property
    def wanted(self) -> dict[str, Any]:
        """The layers that are wanted, as arguments of the classification; none leaves its fingerprint as it was."""
        return {name: True for name in ("probabilities", "entropy", "margin") if getattr(self, name)}


@settings
class Filter:
    """Filtering of the maps (method section 8)."""

    size: Annotated[int, Field(ge=1, description="edge of the window in pixels, odd")] = 11
    rule: Annotated[Rule, Field(description="median is the paper's")] = "majority"

    @property
    def in_words(self) -> str:
        """The filter as the report names it."""
        return f"{self.rule}, {self.size} pixels"

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("the window needs a centre pixel; use an odd number (the paper: 11)")
        return size
