"""The series of maps that a run makes and the layers of its result: one table for all code that makes or shows maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

CLASSIFIED: Final = ("label", "confidence", "valid_count")
"""Variables that a classification stores."""

FILTERED: Final = "_filtered"
PER_CENT: Final = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
COUNTS: Final = ("#ffeda0", "#fd8d3c", "#bd0026")
UNRANKED: Final = 1_000
"""Rank of a layer that is not in the table; it is shown after the layers of the table."""


@dataclass(frozen=True)
class Series:
    """Annual maps of one model, filtered or not; layer, step and title are named after `model` and `filtered`.

    `model` is the name in the tables of the evaluation, `rank` the position among all layers that are shown (lowest
    first), and `stored` lists the variables that the step stores. A series that is made from the maps of another step
    names this step in `made_from`, and in `smoother` a row of :data:`mlc_dask.stages.filtering.SMOOTHERS`.
    """

    model: str
    filtered: bool
    rank: int
    stored: tuple[str, ...] = CLASSIFIED
    made_from: str = ""
    smoother: str = ""

    @property
    def key(self) -> tuple[str, bool]:
        """`model` and `filtered`, the key of the series in the evaluation."""
        return self.model, self.filtered

    @property
    def name(self) -> str:
        """Name of the layer that holds the labels."""
        return layer_name(self.model, self.filtered)

    @property
    def step(self) -> str:
        """Name of the step that makes the series."""
        return self.name.replace("_", "-")

    @property
    def title(self) -> str:
        """Name of the series in words."""
        return in_words(self.name)


@dataclass(frozen=True)
class Layer:
    """One layer of the result of a run: `variable` of the result of `step`.

    `values` are codes of the legend, percentages (0 is no data) or counts (0 is a value). Percentages and counts have a
    `unit` and a `ramp` of equally spaced colours (#rrggbb). Layers of lower `rank` are shown first; one that is not
    `yearly` has one map for all years, and one that is `optional` exists where it was asked for.
    """

    name: str
    step: str
    variable: str
    title: str
    values: Literal["classes", "percent", "count"] = "classes"
    unit: str = ""
    ramp: tuple[str, ...] = ()
    rank: int = UNRANKED
    yearly: bool = True
    optional: bool = False


def layer_name(model: str, filtered: bool) -> str:
    """Name of the layer of a series."""
    return f"{model}{FILTERED}" if filtered else model


def in_words(name: str) -> str:
    """Name of a series or layer of classes in words: ``multi_year_filtered`` is "multi-year, filtered"."""
    return name.replace(FILTERED, ", filtered").replace("_", "-")


SERIES: Final = (
    Series("preliminary", False, 5),
    Series("single_year", False, 4),
    Series("single_year", True, 2, ("label",), made_from="single-year", smoother="filter"),
    Series("multi_year", False, 3),
    Series("multi_year", True, 1, ("label",), made_from="multi-year", smoother="filter"),
)
"""Series in the order in which they are made."""

SMOOTHED: Final = tuple(s for s in SERIES if s.smoother)
"""Series that are made from other maps."""

MULTI: Final = "multi_year"
"""Model of the series that others are compared with."""

BASELINE: Final = "single_year"
"""Model of the series that a run maps only where its baseline is to be mapped whole."""

SMOOTHED_ALONE: Final = tuple(s for s in SMOOTHED if s.model != BASELINE)
"""The same without the baseline."""

RANKED_SERIES: Final = tuple(sorted(SERIES, key=lambda s: s.rank))
"""Series in the order in which they are shown."""

CHANGES: Final = "changes"

LAYERS: Final = {
    layer.name: layer
    for layer in (
        *(Layer(s.name, s.step, "label", s.title, rank=s.rank) for s in sorted(SERIES, key=lambda s: s.filtered)),
        Layer("confidence", "multi-year", "confidence", "score (confidence)", "percent", "%", PER_CENT, 11),
        Layer("valid_count", "multi-year", "valid_count", "usable dates", "count", "usable dates", COUNTS, 14),
        Layer("change_count", CHANGES, "change_count", "changes, multi-year", "count", "changes", COUNTS, 12, False),
        Layer(
            "change_count_single_year", CHANGES, "change_count_single_year", "changes, single-year",
            "count", "changes", COUNTS, 13, False,
        ),
        *(
            Layer(name, "multi-year", name, title, "percent", "%", PER_CENT, rank, optional=True)
            for name, title, rank in (
                ("entropy", "entropy of the probabilities", 15),
                ("margin", "lead over the second class", 16),
                ("probability", "probability of every class", 17),
            )
        ),
    )
}  # fmt: skip
"""Layers of the result by name, in the order of the result."""

STEPS: Final = tuple(dict.fromkeys(layer.step for layer in LAYERS.values()))
"""Steps whose results contain the layers."""


def planes(years: int, *, baseline: bool = True, optional: int = 0) -> int:
    """Count the uint8 planes that a run of so many years stores as maps.

    Parameters
    ----------
    baseline
        Whether the single-year models are mapped, too.
    optional
        Planes of optional layers in a year.
    """
    series = {s.step: s.stored for s in SERIES if baseline or s.model != BASELINE}
    steps = {s.step for s in SERIES}
    others = [layer for layer in LAYERS.values() if layer.step not in steps]
    others = [layer for layer in others if baseline or not layer.name.endswith(BASELINE)]
    return years * (optional + sum(map(len, series.values()))) + sum(years if layer.yearly else 1 for layer in others)


def layer_called(name: str) -> Layer:
    """Row of a layer; a layer outside the table holds classes and is shown after the layers of the table."""
    return LAYERS.get(name) or Layer(name, "", name, in_words(name))
