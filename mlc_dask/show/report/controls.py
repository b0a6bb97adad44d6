"""The table of controls for people: estimates, and differences from the multi-year maps with their intervals."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import pandas as pd

from mlc_dask.data.layers import in_words, layer_name
from mlc_dask.stages.evaluation import KEY_FIGURES

PLAIN = "none"
"""What the table calls a series without smoother."""

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
    if row["control"] == "multi_year" and row["smoother"] == PLAIN:
        return f"{estimate:.3f}" if pd.isna(low) else f"{estimate:.3f} ({low:.3f} to {high:.3f})"
    return f"{estimate:.3f} ({gap:+.3f}" + ("" if pd.isna(gap_low) else f": {gap_low:+.3f} to {gap_high:+.3f}") + ")"
