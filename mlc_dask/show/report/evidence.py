"""What the report shows, gathered from the results of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from mlc_dask.data.acquisitions import Selection
from mlc_dask.data.steps import step
from mlc_dask.data.years import CALENDAR, years_in_words
from mlc_dask.io.published import assemble
from mlc_dask.kernels.radiometry import WHITE, WRONG
from mlc_dask.show.report.page import Evidence

if TYPE_CHECKING:
    from mlc_dask.classifiers import Model
    from mlc_dask.data.legend import Legend
    from mlc_dask.stages.evaluation import Evaluation


@step("report", kind="report", version=4, shown=True)
def gather_evidence(
    cube: xr.Dataset,
    product: xr.DataArray,
    selection: Selection,
    radiometry: pd.DataFrame,
    annual: xr.Dataset,
    samples: xr.Dataset,
    models: Mapping[str, Model],
    tables: Evaluation,
    layers: Mapping[str, xr.Dataset],
    drift: pd.DataFrame,
    legend: Legend,
    compared: Mapping[str, Any],
    *,
    rule: str,
    crosswalk: str,
) -> Evidence:
    """Everything that the report shows, with classes by the names and colours of `legend`."""
    years = ", ".join(str(y) for y in selection.years)
    return Evidence(
        title=f"Annual land cover {years}",
        maps=assemble(layers),
        cube=cube,
        product=product,
        legend=legend,
        agreement=tables.agreement,
        summary=tables.summary,
        histories={name: model.history for name, model in models.items()},
        notes=[legend.in_words(note) for note in _notes(selection, radiometry, annual, samples)],
        clusters=[{**row, "class": legend.in_words(row["class"])} for row in annual.attrs["clusters"]],
        selection=selection,
        facts={
            **_area(cube, selection),
            "Old map": f"{product.attrs['source']}, {crosswalk}",
            "Annual samples": f"{annual.sizes['sample']:,}",
            "Multi-year samples": f"{samples.sizes['sample']:,} of the unchanged area, validation included",
        },
        rule=rule,
        alerts=alerts(drift),
        **compared.get("controls", {}),
    )


def _area(cube: xr.Dataset, selection: Selection) -> dict[str, str]:
    crs = cube.rio.crs.to_string() if cube.rio.crs else "unknown"
    return {
        **_years(selection),
        "Area": f"{cube.sizes['x']} × {cube.sizes['y']} pixels, {crs}",
        "Acquisitions": f"{selection.size} per year, bands {', '.join(cube.band.values.tolist())}",
    }


def _years(selection: Selection) -> dict[str, str]:
    """Say what the years are, where they are no calendar years."""
    if selection.year_start == CALENDAR:
        return {}
    return {"Years": years_in_words(selection.years, selection.year_start)}


def _notes(selection: Selection, radiometry: pd.DataFrame, annual: xr.Dataset, samples: xr.Dataset) -> list[str]:
    left_out = map("left out: {}".format, selection.left_out)
    return [*left_out, *_accepted(radiometry), *annual.attrs["notes"], *samples.attrs["notes"]]


def _accepted(radiometry: pd.DataFrame) -> list[str]:
    """Suspects of the radiometric check that were accepted by hand."""
    wrong = radiometry[radiometry["verdict"].isin(WRONG)]
    accepted = [f"{r.id}: {r.verdict} (darkest pixels at {r.dark:.0f}), accepted" for r in wrong.itertuples()]
    return accepted + [f"{name}: {WHITE}" for name in radiometry[radiometry["verdict"] == WHITE]["id"]]


def alerts(drift: pd.DataFrame) -> Sequence[str]:
    """Return the sentences of a drift table that a reader must see first."""
    return [str(words) for words in drift["words"] if isinstance(words, str) and words]
