"""The page to interpret a reference sample: it shows points of the cube, and never a map or a stratum of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, HTTPException, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from mlc_dask.data.errors import InputError
from mlc_dask.io.labels import Answer, Answers, Labels, check_name, interpreters_of, labels_file, read_labels
from mlc_dask.kernels.interpreters import interpreters_agreement
from mlc_dask.show.viewer.app import guarded_app
from mlc_dask.show.viewer.chips import CENTRE, EDGE, Chips
from mlc_dask.show.viewer.places import open_places
from mlc_dask.show.viewer.sample import Point, Sample, open_sample

Position = Annotated[int, InPath(ge=0)]


class Told(BaseModel):
    """The answer for one year, as the page sends it."""

    code: Annotated[int, Field(ge=0, le=254)]
    confidence: Annotated[int, Field(ge=0, le=1)]


@contextmanager
def interpretation(output: Path, folder: Path, name: str) -> Iterator[FastAPI]:
    """Return the application with which `name` interprets the sample in `folder` by the cube of the run in `output`.

    Raises
    ------
    InputError
        If the name is none, there is no finished run or no cube, the sample is none of this run, or the file of
        answers is held by another process or holds other answers.
    """
    check_name(name)
    places = open_places(output)
    if len(places) > 1:
        raise InputError(
            f"{output} has the tiles {', '.join(places)}; give the folder of one, e.g. {output / next(iter(places))}"
        )
    (place,) = places.values()
    if place.cube is None:
        raise InputError(f"the cube of {output} was deleted; make it again: mlc-dask run CONFIG --until cube")
    chips = Chips(place.cube, place.years)
    sample = open_sample(folder, chips.grid, place.years, place.legend)
    with Labels(folder, name) as labels:
        sample.check(labels.answers, labels.path)
        yield make_app(sample, Chips(place.cube, sample.years), labels)


def make_app(sample: Sample, chips: Chips, labels: Labels) -> FastAPI:
    """Return the application that shows the points of `sample` and adds what is told of them to `labels`."""
    app = guarded_app("interpret.html")
    app.include_router(_shown(sample, chips, labels), prefix="/api")
    app.include_router(_told(sample, labels), prefix="/api")
    return app


def _shown(sample: Sample, chips: Chips, labels: Labels) -> APIRouter:
    router = APIRouter()

    @router.get("/sample")
    def description() -> dict[str, Any]:
        of = sample.describe() | {"interpreter": labels.name, "edge": EDGE, "centre": CENTRE}
        return of | {"composites": chips.describe(), "answers": _by_point(labels.answers)}

    @router.get("/points/{position}")
    def point(position: Position) -> dict[str, Any]:
        one = _point(sample, position)
        place = {"id": one.id, "x": one.x, "y": one.y, "lon": one.lon, "lat": one.lat}
        return place | chips.series(one.pixel)

    @router.get("/points/{position}/{composite}.png")
    def sheet(position: Position, composite: Position) -> Response:
        one = _point(sample, position)
        if composite >= len(chips.composites):
            raise HTTPException(404, f"there is no composite {composite}")
        return Response(chips.sheet(one.pixel, composite), media_type="image/png")

    return router


def _told(sample: Sample, labels: Labels) -> APIRouter:
    router = APIRouter()

    @router.post("/points/{position}")
    def answer(position: Position, answers: dict[int, Told]) -> dict[str, int]:
        """Every year is told at once, so no point is left half-answered."""
        one = _point(sample, position)
        if set(answers) != set(sample.years):
            raise HTTPException(422, f"an answer has a class for each of {', '.join(map(str, sample.years))}")
        for year, told in answers.items():
            fault = sample.fault(one.id, year, told.code)
            if fault:
                raise HTTPException(422, fault)
        try:
            labels.add(one.id, {year: Answer(a.code, a.confidence) for year, a in sorted(answers.items())})
        except OSError as error:
            raise HTTPException(507, str(error)) from None
        return {"saved": len(answers)}

    @router.get("/agreement")
    def agreement() -> list[dict[str, Any]]:
        """Only after the last point: who knows where another disagrees is not independent."""
        open_points = len(sample.points) - len(_whole(sample, labels.answers))
        if open_points:
            raise HTTPException(409, f"{open_points} points have no answer yet")
        others = (name for name in interpreters_of(sample.folder) if name != labels.name)
        return [_compared(sample, labels, name) for name in others]

    return router


def _point(sample: Sample, position: int) -> Point:
    if position >= len(sample.points):
        raise HTTPException(404, f"there is no point {position}")
    return sample.points[position]


def _by_point(answers: Answers) -> dict[str, dict[int, list[int]]]:
    found: dict[str, dict[int, list[int]]] = {}
    for (point, year), a in answers.items():
        found.setdefault(point, {})[year] = [a.code, a.confidence]
    return found


def _whole(sample: Sample, answers: Answers) -> list[str]:
    """Ids of the points with an answer in every year, in the order of the sample."""
    return [p.id for p in sample.points if all((p.id, year) in answers for year in sample.years)]


def _compared(sample: Sample, labels: Labels, name: str) -> dict[str, Any]:
    """Agreement with another interpreter on the points that both have answered, or why there is none."""
    path = labels_file(sample.folder, name)
    try:
        theirs = read_labels(path)
        sample.check(theirs, path)
    except InputError as error:
        return {"name": name, "fault": str(error)}
    ours, common = labels.answers, _whole(sample, theirs)
    shape = (len(common), len(sample.years))
    first, second = (
        np.array([[of[p, year].code for year in sample.years] for p in common], np.uint8).reshape(shape)
        for of in (ours, theirs)
    )
    found = interpreters_agreement(first, second)
    rows = zip([*map(str, sample.years), "all years"], found.n, found.share, found.kappa, strict=True)
    return {
        "name": name,
        "points": len(common),
        "rows": [{"year": y, "n": int(n), "share": _plain(s), "kappa": _plain(k)} for y, n, s, k in rows],
        "differing": [p for p, differs in zip(common, found.differing, strict=True) if differs],
    }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
