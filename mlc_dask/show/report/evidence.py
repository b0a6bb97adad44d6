"""What the report shows, gathered from the results of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask.data.acquisitions import Selection
from mlc_dask.data.steps import step
from mlc_dask.data.years import CALENDAR, years_in_words
from mlc_dask.io.published import assemble
from mlc_dask.kernels.continuity import FEWEST, Verdict
from mlc_dask.kernels.radiometry import WHITE, WRONG
from mlc_dask.show.report.headline import headline
from mlc_dask.show.report.page import Alert, Evidence

if TYPE_CHECKING:
    from mlc_dask.classifiers import Model
    from mlc_dask.data.legend import Legend
    from mlc_dask.stages.evaluation import Evaluation


@step("report", kind="report", version=7, shown=True)
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
    return Evidence(
        title=f"Annual land cover {', '.join(map(str, selection.years))}",
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
            **_place(cube, selection),
            "Old map": f"{product.attrs['source']}, {crosswalk}",
            **_sizes(annual, samples),
        },
        rule=rule,
        headline=headline(tables, compared.get("controls", {}).get("controls"), compared.get("confidence")),
        alerts=_alerts(drift, int(annual.attrs["anchor"])),
        confidence=compared.get("confidence"),
        **compared.get("controls", {}),
    )


def _place(cube: xr.Dataset, selection: Selection) -> dict[str, str]:
    """Area and acquisitions, and what the years are, where they are no calendar years."""
    crs, start = cube.rio.crs.to_string() if cube.rio.crs else "unknown", selection.year_start
    years = {} if start == CALENDAR else {"Years": years_in_words(selection.years, start)}
    return years | {
        "Area": f"{cube.sizes['x']} × {cube.sizes['y']} pixels, {crs}",
        "Acquisitions": f"{selection.size} per year, bands {', '.join(cube.band.values.tolist())}",
    }


def _sizes(annual: xr.Dataset, samples: xr.Dataset) -> dict[str, str]:
    """Sizes of both training sets."""
    return {
        "Annual samples": f"{annual.sizes['sample']:,}",
        "Multi-year samples": f"{samples.sizes['sample']:,} of the unchanged area, validation included",
    }


def _notes(selection: Selection, radiometry: pd.DataFrame, annual: xr.Dataset, samples: xr.Dataset) -> list[str]:
    left_out = map("left out: {}".format, selection.left_out)
    return [*left_out, *_accepted(radiometry), *annual.attrs["notes"], *samples.attrs["notes"]]


def _accepted(radiometry: pd.DataFrame) -> list[str]:
    """Suspects of the radiometric check that were accepted by hand."""
    wrong = radiometry[radiometry["verdict"].isin(WRONG)]
    accepted = [
        f"{name}: {why or f'{verdict} (darkest pixels at {dark:.0f})'}, accepted"
        for name, verdict, dark, why in zip(wrong["id"], wrong["verdict"], wrong["dark"], wrong["why"], strict=True)
    ]
    return accepted + [f"{name}: {WHITE}" for name in radiometry[radiometry["verdict"] == WHITE]["id"]]


def alerts(drift: pd.DataFrame) -> Sequence[str]:
    """Return the sentences of a drift table that a reader must see first."""
    return [str(words) for words in drift["words"] if isinstance(words, str) and words]


def unjudged(drift: pd.DataFrame) -> list[str]:
    """Return one note that names the classes of a drift table of which too few pixels are known to judge them."""
    few = drift[drift["verdict"] == Verdict.UNJUDGED]
    names = [
        f"{name} ({', '.join(map(str, own))})"
        for name, own in few.groupby("class", sort=False)["year"].agg(list).items()
    ]
    about = f"fewer than {FEWEST} reliable pixels could be followed, so whether they changed as a whole is not judged"
    return [f"{', '.join(names)}: {about}"] if names else []


def _alerts(drift: pd.DataFrame, before: int) -> list[Alert]:
    """Sentences of a drift table; the place of a class is shown in the first year that has one."""
    found, shown = [], set()
    for words, year, name, text in zip(*(drift[c] for c in ("words", "year", "class", "places")), strict=True):
        if isinstance(words, str) and words:
            found.append(Alert(words, before, int(year), _places("" if name in shown else text)))
            shown.add(name)
    return found


def _places(text: object) -> npt.NDArray[np.float64]:
    pairs = [pair.split() for pair in text.split(";")] if isinstance(text, str) and text else []
    return np.array(pairs, np.float64).reshape(-1, 2)
