"""The table of controls for people: estimates, and differences from the multi-year maps with their intervals."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from mlc_dask.data.layers import BASELINE, MULTI, in_words, layer_name
from mlc_dask.kernels.squares import PLAIN
from mlc_dask.stages.evaluation import KEY_FIGURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SMOOTHERS = {"mode": "three-year mode", "last-year": "label of the last year", "constant": "first year for all"}


def control_table(controls: pd.DataFrame) -> pd.DataFrame:
    """One row per series, one column per measure: ``0.898 (−0.020: −0.024 to −0.016)``.

    Parameters
    ----------
    controls
        Table of :func:`mlc_dask.stages.controls.judge_controls`.

    Returns
    -------
    Columns ``maps`` and the measures by their names for people; a cell without an interval has the estimate alone.
    """
    named = controls.assign(
        maps=[_name(*who) for who in zip(controls["control"], controls["filtered"], controls["smoother"], strict=True)],
        cell=[_cell(row) for row in controls.to_dict("records")],
    )
    wide = named.pivot_table(index="maps", columns="metric", values="cell", aggfunc="first", sort=False)
    metrics = [m for m in KEY_FIGURES if m in wide]
    return wide[metrics].rename(columns=KEY_FIGURES).rename_axis(columns=None).fillna("–").reset_index()


def models_alone(controls: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the models, without those of null smoothers."""
    return controls[controls["smoother"] == PLAIN]


def sampled(controls: pd.DataFrame) -> str:
    """Say which part of the area the figures are from, and what their intervals are for."""
    judged, of = int(controls["blocks"].iloc[0]), int(controls["of"].iloc[0])
    if judged < of:
        return (
            f"From a random sample of {judged:,} of {of:,} blocks; the intervals are for the figures of the whole area."
        )
    return f"From all {of:,} blocks of the area; intervals, of resampled blocks, are for areas like this one."


def _name(control: str, filtered: bool, smoother: str) -> str:
    maps = in_words(layer_name(control, filtered))
    if smoother == PLAIN:
        return maps
    return f"{maps}, {_SMOOTHERS.get(smoother) or smoother.replace('hmm-', 'HMM ')}"


def _cell(row: Mapping[Hashable, object]) -> str:
    estimate, low, high = (float(str(row[c])) for c in ("estimate", "low", "high"))
    gap, gap_low, gap_high = (float(str(row[f"difference{c}"])) for c in ("", "_low", "_high"))
    if row["control"] == MULTI and row["smoother"] == PLAIN:
        return f"{estimate:.3f}" if pd.isna(low) else f"{estimate:.3f} ({low:.3f} to {high:.3f})"
    return f"{estimate:.3f} ({gap:+.3f}" + ("" if pd.isna(gap_low) else f": {gap_low:+.3f} to {gap_high:+.3f}") + ")"


def at_equal_alarms(controls: pd.DataFrame, planted: pd.DataFrame) -> pd.DataFrame:
    """Recall of planted change of every series, beside that of smoothed single-year maps that change as many pixels.

    Parameters
    ----------
    controls, planted
        Tables of :func:`mlc_dask.stages.controls.judge_controls`.

    Returns
    -------
    One row per series: ``maps``, the share of pixels that ``change`` between two years and, for every duration, the
    share ``found`` and what the hidden Markov model finds at this share of change, interpolated between its rates;
    no value beyond them. Empty where the run has no such model.
    """
    both = _with_alarms(controls, planted)
    whole = both[(both["year"].astype(str) == "all") & (both["pixels"].astype(str) == "all")]
    curves = whole[(whole["control"] == BASELINE) & ~whole["filtered"]]
    curves = curves[curves["smoother"].str.match(f"hmm|{PLAIN}")].sort_values("alarms")
    rows = whole[whole["smoother"] == PLAIN]
    if len(curves) <= curves["lasting"].nunique():
        return pd.DataFrame()
    names = [in_words(layer_name(*who)) for who in zip(rows["control"], rows["filtered"], strict=True)]
    table = rows.assign(maps=names)[["maps", "alarms"]].drop_duplicates().set_index("maps")
    table = table.rename(columns={"alarms": "change"})
    for lasting, own in rows.assign(maps=names).groupby("lasting", sort=False):
        curve, at = curves[curves["lasting"] == lasting], own.set_index("maps")
        table[f"found, {lasting}"] = at["recall"]
        smoother = np.interp(at["alarms"], curve["alarms"], curve["recall"], left=np.nan, right=np.nan)
        table[f"smoother, {lasting}"] = pd.Series(smoother, at.index)
    return table.reset_index()


def _with_alarms(controls: pd.DataFrame, planted: pd.DataFrame) -> pd.DataFrame:
    """Rows of planted change with the share of pixels that the same series changes where nothing was planted."""
    keys = ["control", "filtered", "smoother"]
    agreement = controls[controls["metric"] == "agreement"]
    return planted.merge(agreement.assign(alarms=1 - agreement["estimate"])[[*keys, "alarms"]], on=keys)


def planted_figure(controls: pd.DataFrame | None, planted: pd.DataFrame | None) -> Figure | None:
    """Recall of planted change against false alarms, with the curves of the smoothers, and by size; None without any.

    Parameters
    ----------
    controls, planted
        Tables of :func:`mlc_dask.stages.controls.judge_controls`.
    """
    if controls is None or planted is None or planted.empty:
        return None
    from matplotlib.figure import Figure

    both = _with_alarms(controls, planted)
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    whole = both[(both["year"].astype(str) == "all") & (both["pixels"].astype(str) == "all")]
    for axis, lasting in zip(axes, ("1 year", "all remaining years"), strict=False):
        _operating_points(axis, whole[whole["lasting"] == lasting])
        axis.set_title(f"planted for {lasting}", fontsize=10)
        axis.set_xlabel("share of all pixels that change between two years")
    _by_size(axes[2], both[(both["lasting"] == "all remaining years") & (both["pixels"].astype(str) != "all")])
    axes[0].set_ylabel("planted change found")
    axes[0].set_ylim(0, 1)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def _operating_points(axis: Axes, rows: pd.DataFrame) -> None:
    """One colour a control; filtered maps are hollow, and the curve of the HMM begins at the maps it smooths."""
    colours = {control: f"C{i}" if i < 10 else "black" for i, control in enumerate(rows["control"].unique())}
    for (control, filtered), own in rows[rows["smoother"] == PLAIN].groupby(["control", "filtered"], sort=False):
        fill: Literal["none", "full"] = "none" if filtered else "full"
        name = in_words(layer_name(str(control), bool(filtered)))
        axis.plot(own["alarms"], own["recall"], "o", color=colours[control], fillstyle=fill, label=name, zorder=3)
    for control, own in rows[~rows["filtered"]].groupby("control", sort=False):
        curve = own[own["smoother"].str.match(f"hmm|{PLAIN}")].sort_values("alarms")
        others = own[~own["smoother"].str.match(f"hmm|{PLAIN}")]
        if len(curve) > 1:
            axis.plot(
                curve["alarms"], curve["recall"], "-", color=colours[control], label=f"{in_words(str(control))}, HMM"
            )
        if len(others):
            name = f"{in_words(str(control))}, other smoothers"
            axis.plot(others["alarms"], others["recall"], "x", color=colours[control], label=name)


def _by_size(axis: Axes, rows: pd.DataFrame) -> None:
    shown = rows[(rows["smoother"] == PLAIN) & rows["control"].isin([MULTI, BASELINE])]
    for (control, filtered), own in shown.groupby(["control", "filtered"], sort=False):
        style = "--" if filtered else "-"
        name = in_words(layer_name(str(control), bool(filtered)))
        axis.plot(own["pixels"].astype(str), own["recall"], style, marker="o", label=name)
    axis.set_title("planted for all remaining years, by size", fontsize=10)
    axis.set_xlabel("pixels of the square")
    axis.legend(fontsize=8, frameon=False)
