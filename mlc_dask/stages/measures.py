"""Rows of the tables about single years and pairs of years, without and with a reference (method section 9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy.typing as npt

from mlc_dask.data.legend import Legend
from mlc_dask.kernels import agreement as measures
from mlc_dask.kernels.detection import Detection
from mlc_dask.kernels.tallies import MapTally, TruthTally
from mlc_dask.stages.over_time import ALL, OVERALL, Row, pairs_of, size_names

Array = npt.NDArray[Any]

AGREEMENT: Final = ("pair", "class", "agreement", "reverse", "iou", "n")
"""Columns of the table of agreement."""


def agreement_rows(years: Sequence[int], matrices: Array, legend: Legend) -> Iterator[dict[str, Any]]:
    """Rows of the pairs, and of all pairs together."""
    for pair, matrix in zip([*pairs_of(years), ALL], [*matrices, matrices.sum(axis=0)], strict=True):
        yield from _agreement_of(pair, matrix, legend)


def _agreement_of(pair: str, matrix: Array, legend: Legend) -> Iterator[dict[str, Any]]:
    by_class = measures.per_class(matrix)
    for code, name in legend.names.items():
        if by_class.n[code] or matrix[:, code].any():
            yield {
                "pair": pair,
                "class": name,
                "agreement": by_class.agreement[code],
                "reverse": by_class.reverse[code],
                "iou": by_class.iou[code],
                "n": int(by_class.n[code]),
            }
    share = measures.overall(matrix)
    pixels = int(matrix.sum())
    both = int(matrix.trace())
    union = 2 * pixels - both
    yield {
        "pair": pair,
        "class": OVERALL,
        "agreement": share,
        "reverse": share,
        "iou": both / union if union else float("nan"),
        "n": pixels,
    }


def consistency(years: Sequence[int], tally: MapTally, legend: Legend) -> Iterator[Row]:
    """Measures that do not need a reference."""
    for pair, matrix in zip(pairs_of(years), tally.transitions, strict=True):
        yield "agreement", pair, measures.overall(matrix)
        yield "kappa", pair, measures.kappa(matrix)
    for n, pixels in enumerate(tally.changes.tolist()):
        yield "pixels_by_changes", str(n), float(pixels)
    if len(years) > 2:
        yield "flicker_share", OVERALL, tally.flickered / max(1, tally.seen)
        yield "sustained_share", OVERALL, tally.sustained / max(1, tally.seen)
    for year, counts in zip(years, tally.classes, strict=True):
        yield "entropy", str(year), measures.entropy(counts)
        for code, name in legend.names.items():
            if counts[code]:
                yield "class_share", f"{year} {name}", float(measures.shares(counts)[code])


def against_truth(years: Sequence[int], compared: TruthTally, legend: Legend) -> Iterator[Row]:
    """Accuracy by year and class, and the share of true change that the maps show, by size of change.

    Changes are judged only if the shared years are successive years of the maps, since a gap would merge two changes.
    """
    for year, matrix in zip(years, compared.matrices, strict=True):
        scores = measures.accuracy(matrix)
        yield "accuracy", str(year), scores.overall
        yield "macro_f1", str(year), scores.macro_f1
    total = compared.matrices.sum(axis=0)
    scores = measures.accuracy(total)
    yield "accuracy", OVERALL, scores.overall
    yield "macro_f1", OVERALL, scores.macro_f1
    yield "reference_kappa", OVERALL, measures.kappa(total)
    for code, name in legend.names.items():
        if total[code].any():
            yield "users_accuracy", name, float(scores.precision[code])
            yield "producers_accuracy", name, float(scores.recall[code])
            yield "f1", name, float(scores.f1[code])
    for pair, true in zip(pairs_of(years), compared.true, strict=True):
        yield "reference_agreement", pair, measures.overall(true)
    if compared.change:
        yield from _recall_rows(compared.change.detection())


def _recall_rows(found: Detection) -> Iterator[Row]:
    yield "change_recall", OVERALL, found.recall
    yield "change_precision", OVERALL, found.precision
    for i, size in enumerate(size_names(found.edges)):
        yield "change_objects", size, float(found.objects[i])
        yield "change_recall", size, float(found.recall_by_size[i])
        yield "change_precision", size, float(found.precision_by_size[i])
