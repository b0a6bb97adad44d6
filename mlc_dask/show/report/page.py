"""The page: figures as embedded PNGs and tables, rendered into one HTML file without external references.

matplotlib takes a second to import, so it is imported where a figure is drawn.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask.data.acquisitions import Selection
from mlc_dask.data.layers import CHANGES, LAYERS, RANKED_SERIES, in_words, layer_name
from mlc_dask.data.legend import Legend
from mlc_dask.show.report.calendar import calendar_figure
from mlc_dask.show.report.confidence import Tables, confidence_figure, in_detail, measure_table, score_table
from mlc_dask.show.report.controls import at_equal_alarms, control_table, planted_figure, sampled
from mlc_dask.show.report.headline import Headline
from mlc_dask.stages.evaluation import KEY_FIGURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Alert:
    """What a reader must see first: a sentence and, where a class changed, the place in two years.

    `places` (n, 2) float64 has x and y of pixels that are no longer what they were in the year `before`.
    """

    words: str
    before: int
    year: int
    places: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Everything that the page shows.

    `maps` is the Dataset of :func:`mlc_dask.open_maps`; `histories` the training curves by model; `notes` one line
    each; `clusters` the clusters per class and year of the annual training set; `facts` the provenance, by name;
    `headline` what the figures say in words.
    `controls` and `planted` the comparisons on a sample of blocks, `confidence` the tables of the scores there, if any.
    """

    title: str
    maps: xr.Dataset
    cube: xr.Dataset
    product: xr.DataArray
    legend: Legend
    agreement: pd.DataFrame
    summary: pd.DataFrame
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    notes: Sequence[str]
    clusters: Sequence[Mapping[str, Any]]
    selection: Selection
    facts: Mapping[str, str]
    rule: str
    headline: Headline
    alerts: Sequence[Alert] = ()
    controls: pd.DataFrame | None = None
    planted: pd.DataFrame | None = None
    confidence: Tables | None = None


def write_report(evidence: Evidence, path: Path) -> None:
    """Write the evidence card as one HTML file."""
    from mlc_dask.show.report import figures

    template = jinja2.Environment(
        loader=jinja2.PackageLoader("mlc_dask.show.report", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html.jinja")
    maps, legend = evidence.maps, evidence.legend
    changes = {row.title: maps[name] for name, row in LAYERS.items() if row.step == CHANGES and name in maps}
    series = [s for s in RANKED_SERIES if s.name in maps]
    shown = {
        "true_colour": figures.true_colour(evidence.cube),
        "product": figures.one_map(evidence.product, legend, "old map"),
        "final": figures.map_series({s.title: maps[s.name] for s in series if s.smoother}, legend),
        "unfiltered": figures.map_series({s.title: maps[s.name] for s in series if not s.smoother}, legend),
        "changes": figures.change_counts(changes, maps.sizes["year"]),
        "recall": figures.recall_by_size(evidence.summary),
        "planted": planted_figure(evidence.controls, evidence.planted),
        "confidence": confidence_figure(evidence.confidence),
        "curves": figures.training_curves(evidence.histories),
        "calendar": calendar_figure(evidence.selection),
    }
    places = [figures.place(evidence.cube, a.before, a.year, a.places) for a in evidence.alerts]
    page = template.render(
        evidence=evidence,
        places=[_embedded(figure) if figure else "" for figure in places],
        figures={name: _embedded(figure) for name, figure in shown.items() if figure is not None},
        key_table=_html(key_figures(evidence.summary)),
        table_one=_html(table_one(evidence.agreement)),
        categories=_html(categories(evidence.summary)),
        **_compared(evidence.controls, evidence.planted),
        **_scores(evidence.confidence),
        clusters=_html(_ambiguous(evidence.clusters)),
    )
    path.write_text(page, encoding="utf-8")


def _compared(controls: pd.DataFrame | None, planted: pd.DataFrame | None) -> dict[str, str]:
    """Tables of the comparisons on a sample; none where the run has made none."""
    if controls is None or planted is None:
        return {}
    tables = {"controls": control_table(controls), "matched": at_equal_alarms(controls, planted)}
    return {"sampled": sampled(controls), **{name: _html(table) for name, table in tables.items()}}


def _scores(confidence: Tables | None) -> dict[str, str]:
    """Return what the page says of the scores; nothing where the run has not judged them."""
    if confidence is None or confidence["reliability"].empty:
        return {}
    shown = {"measures": measure_table(confidence), "scores": score_table(confidence)}
    return {"detail": in_detail(confidence), **{name: _html(table) for name, table in shown.items()}}


def key_figures(summary: pd.DataFrame) -> pd.DataFrame:
    """One row per series with the figures to compare them by: agreement, accuracy and the recall of true changes."""
    rows = summary[summary.metric.isin(list(KEY_FIGURES))]
    by_year = rows[(rows.scope == "overall") | rows.metric.isin(["agreement", "kappa"])]
    table = by_year.pivot_table(index=["model", "filtered"], columns="metric", values="value", sort=False)
    named = table[[m for m in KEY_FIGURES if m in table]].rename(columns=KEY_FIGURES).rename_axis(columns=None)
    maps = [in_words(layer_name(model, filtered)) for model, filtered in table.index]
    return named.assign(maps=maps).set_index("maps").reset_index()


def table_one(agreement: pd.DataFrame) -> pd.DataFrame:
    """Agreement of the filtered maps by class and pair of years, models side by side: the paper's Table 1."""
    rows = agreement[agreement.filtered & (agreement["pair"] != "all")]
    table = rows.pivot_table(index="class", columns=["model", "pair"], values="agreement", sort=False)
    table.columns = pd.Index([f"{in_words(column[0])} {column[1]}" for column in table.columns.tolist()])
    order = sorted(table.index, key=lambda name: name == "overall")
    return table.loc[order].reset_index()


def categories(summary: pd.DataFrame) -> pd.DataFrame:
    """One row per series with the share of its pixels in each of the five categories of change."""
    rows = summary[summary.metric == "category"]
    table = rows.pivot_table(index=["model", "filtered"], columns="scope", values="value", sort=False)
    maps = [in_words(layer_name(model, filtered)) for model, filtered in table.index]
    named = table.rename(columns=lambda name: str(name).replace("_", " ")).rename_axis(columns=None)
    return named.assign(maps=maps).set_index("maps").reset_index()


def _ambiguous(clusters: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    rows = [c for c in clusters if c["ambiguous"]]
    return pd.DataFrame(
        {
            "year": [c["year"] for c in rows],
            "class": [c["class"] for c in rows],
            "cluster sizes": [", ".join(map(str, c["sizes"])) for c in rows],
            "silhouette": [c["silhouette"] for c in rows],
        }
    )


def _html(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    return str(table.to_html(index=False, border=0, na_rep="–", float_format=lambda v: f"{v:.3f}"))


def _embedded(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
