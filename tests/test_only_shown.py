"""Names and colours change no map, and what only shows the maps stops none: kind 5 of the faults of real inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app
from mlc_dask.data.errors import FetchError
from mlc_dask.data.layers import LAYERS
from mlc_dask.data.legend import DEFAULT_LEGEND, Crosswalk, Legend
from mlc_dask.data.steps import step
from mlc_dask.io.published import made_by
from mlc_dask.pipeline import figure1, perform
from mlc_dask.runs.artifacts import Artifact, Event, read_current
from mlc_dask.runs.run import Run
from mlc_dask.show.viewer.places import open_places
from mlc_dask.storage.durable import canonical
from tests.runs import artifacts, run_all, small_world, write_config
from tests.test_run import KINDS

SHOWN = ("quicklooks", "drift", "evaluation", "report")
NEEDED = {"drift": ["drift", "report"], "evaluation": ["evaluation", "report"]}
"""What is missing where a step fails, if more than the step."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def write_legend(path: Path, **changed: tuple[str, str]) -> Path:
    """Write the default legend; `changed` maps the names of classes to new names and colours."""
    rows = [(c.code, *changed.get(c.name, (c.name, c.colour))) for c in DEFAULT_LEGEND.classes]
    path.write_text("code,name,colour\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows), encoding="utf-8")
    return path


CROSSWALK = Path(mlc.__file__).parent / "data/crosswalks/corine.csv"


def write_crosswalk(path: Path, **changed: str) -> Path:
    """Write CORINE's crosswalk for grid codes; `changed` maps words in it to others."""
    text = CROSSWALK.read_text(encoding="utf-8").replace("grid_code,clc_code", "code,other", 1)
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a finished run with a legend and a crosswalk of its own."""
    folder = tmp_path_factory.mktemp("finished")
    world = small_world(folder / "world", size=64, years=(2018, 2019))
    write_legend(folder / "legend.csv")
    write_crosswalk(folder / "own.csv")
    product = f'"{world}/product/corine.tif"\nlegend = "legend.csv"\ncrosswalk = "own.csv"'
    with dask.config.set(scheduler="threads", num_workers=2):
        config = write_config(folder / "mlc.toml", world, folder / "out")
        text = config.read_text(encoding="utf-8").replace(f'"{world}/product/corine.tif"', product)
        config.write_text(text, encoding="utf-8")
        run_all(config)
    return config


def performed(config: Path) -> list[str]:
    return [e.step for e in run_all(config) if e.state == "finished"]


def test_a_new_colour_makes_no_map_anew(finished: Path, tmp_path: Path) -> None:
    """The same bytes of maps; the colour in the maps' legend, the export, the viewer and the report."""
    output = finished.parent / "out"
    mlc.export_maps(output, tmp_path / "export", layers=["multi_year_filtered", "confidence"])
    before, folders = mlc.open_maps(output).load(), {n: a.folder for n, a in made_by(output).items()}
    first = artifacts(output, "report")[0] / "report.html"
    write_legend(finished.parent / "legend.csv", Conifers=("Conifers", "#ff00ff"))
    try:
        assert performed(finished) == ["legend", "report"]
        after = mlc.open_maps(output)
        assert {n: a.folder for n, a in made_by(output).items()} == folders and set(folders) == set(LAYERS)
        xr.testing.assert_equal(before, after)
        assert before.attrs["legend"]["8"]["colour"] != after.attrs["legend"]["8"]["colour"] == "#ff00ff"
        written: dict[str, bool] = {}
        mlc.export_maps(output, tmp_path / "export", layers=["multi_year_filtered", "confidence"],
                        listener=lambda path, reused: written.update({path.name: reused}))  # fmt: skip
        assert not written["multi_year_filtered_2018.tif"] and written["confidence_2018.tif"]
        with rasterio.open(tmp_path / "export/2018/multi_year_filtered_2018.tif") as cog:
            assert cog.colormap(1)[8][:3] == (255, 0, 255)
            assert np.array_equal(cog.read(1), before.multi_year_filtered.sel(year=2018))
        group = json.loads(next((tmp_path / "export").glob("*.zarr/zarr.json")).read_text())
        assert group["attributes"]["legend"]["8"]["colour"] == "#ff00ff"
        (place,) = open_places(output).values()
        assert place.layers["multi_year"].colours[8] == (255, 0, 255, 255) and place.old_map is not None
        assert read_current(output)["report"].folder / "report.html" != first
    finally:
        write_legend(finished.parent / "legend.csv")
        run_all(finished)


def test_a_new_name_makes_anew_what_names_it(finished: Path) -> None:
    output = finished.parent / "out"
    (old, new), page = ("Conifers", "Needles"), "report.html"
    assert old in (output / page).read_text(encoding="utf-8")
    write_legend(finished.parent / "legend.csv", Conifers=(new, DEFAULT_LEGEND.colours[8]))
    write_crosswalk(finished.parent / "own.csv", Conifers=new)
    try:
        assert performed(finished) == ["drift", "legend", "evaluation", "report"]
        assert mlc.open_maps(output).attrs["legend"]["8"]["name"] == new
        for place in ("evaluation/agreement.csv", "evaluation/summary.csv", page):
            text = (output / place).read_text(encoding="utf-8")
            assert new in text and old not in text, place
    finally:
        write_legend(finished.parent / "legend.csv")
        write_crosswalk(finished.parent / "own.csv")
        run_all(finished)


def test_reasons_labels_and_the_order_of_rows_are_no_part_of_results(finished: Path) -> None:
    own = finished.parent / "own.csv"
    head, *rows = own.read_text(encoding="utf-8").splitlines()
    try:
        own.write_text("\n".join([head, *reversed(rows)]).replace("Continuous urban fabric", "Towns"), encoding="utf-8")
        assert performed(finished) == []
    finally:
        write_crosswalk(own)


def test_no_result_of_a_computing_step_names_a_class(finished: Path) -> None:
    """Not even in its attributes; only what is shown, and the legend itself, do."""
    output = finished.parent / "out"
    naming = {
        step_folder.name.rpartition("-")[0]
        for step_folder in (output / "artifacts").iterdir()
        for path in step_folder.rglob("*")
        if path.is_file() and path.suffix in (".json", ".csv", ".html") and b"Conifers" in path.read_bytes()
    }
    assert naming == {"drift", "legend", "evaluation", "report"}


def test_a_quota_is_part_of_the_identity() -> None:
    legend = DEFAULT_LEGEND
    one, other = Crosswalk.named("corine", legend), Crosswalk.named("corine-clc", legend)
    assert canonical(one.coded) != canonical(other.coded) and one.coded == one.coded.coded
    assert np.array_equal(one.coded.table(), one.table()) and np.array_equal(one.coded.quotas(), one.quotas())
    assert np.array_equal(one.coded.fitting([111, 211]).table(), other.table())
    renamed = Legend.from_dict({c: {"name": v["name"] + "x", "colour": "#123456"} for c, v in legend.to_dict().items()})
    assert legend.coded == renamed.coded and legend.uncoloured != renamed.uncoloured
    assert legend.in_words("2019: class {8} has {x} {99}") == "2019: class Conifers has {x} {99}"


def broken(name: str, error: Exception) -> Any:
    """Return the step function of figure 1 that makes `name`, and one of its name and kind that fails."""
    functions = {n: f for n, f in vars(figure1).items() if getattr(f, "step_name", None) == name}
    ((attribute, function),) = functions.items()

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise error

    vars(fails).update({k: v for k, v in vars(function).items() if k.startswith("step_")})
    return attribute, fails


@pytest.mark.parametrize("step", SHOWN)
@pytest.mark.parametrize(
    ("error", "code", "words", "fix"),
    [
        (ZeroDivisionError("of nothing"), 1, "ZeroDivisionError: of nothing", "correct this and run again: only what"),
        (mlc.InputError("a; b"), 2, "a; b", "correct this and run again: only what is missing is made"),
        (FetchError("B04", "503 (3 attempts)"), 1, "B04: 503 (3 attempts)", "run again; finished work is kept"),
    ],
    ids=["unexpected", "bad input", "fetch"],
)
def test_maps_are_published_without_what_only_shows_them(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Exception,
    code: int,
    words: str,
    fix: str,
) -> None:
    output = finished.parent / "out"
    missing = NEEDED.get(step, [step])
    for folder in (f for lost in missing for f in artifacts(output, lost)):
        (folder / "record.json").unlink(missing_ok=True)
    attribute, fails = broken(step, error)
    with monkeypatch.context() as patched:
        patched.setattr(figure1, attribute, fails)
        patched.setattr(perform, "make_maps", partial(perform.make_maps, scheduler="current"))
        result = CliRunner().invoke(app, ["run", str(finished)])
        assert result.exit_code == code, result.output
        *_, last = result.output.strip().splitlines()
        assert f"{', '.join(missing)} not made: {words}; all other results are finished" in last, last
        assert f"all other results are finished; {fix}" in last and "Traceback" not in result.output
        assert ("details in" in last) == isinstance(error, ZeroDivisionError)
        assert "maps: mlc_dask.open_maps(" in result.output
        assert ("report: " in result.output) == ("report" not in missing)
        assert set(mlc.open_maps(output).data_vars) == {n for n, row in LAYERS.items() if not row.optional}
        assert not set(missing) & read_current(output).keys()
        assert (output / "report.html").exists() == ("report" not in missing)
    assert performed(finished) == [s for s in SHOWN if s in missing]
    assert set(SHOWN) <= read_current(output).keys() and (output / "report.html").exists()


@step("made", kind="json")
def make() -> int:
    return 1


@step("picture", kind="json", shown=True)
def draw(made: int, *, error: str) -> int:
    if error:
        raise ValueError(error)
    return made


@step("page", kind="json", shown=True)
def lay_out(picture: int) -> int:
    return picture


@step("last", kind="json")
def end(made: int) -> int:
    return made + 1


def go(folder: Path, error: str, told: list[Event]) -> None:
    with Run(folder, KINDS, listener=told.append) as run:
        made = run.do(make)
        picture = run.do(draw, made, error="", how={"error": error} if error else {})
        page = run.do(lay_out, picture)
        run.publish({"made": made, "picture": picture, "page": page, "last": run.do(end, made)})


def test_a_run_goes_on_without_what_is_only_shown(tmp_path: Path) -> None:
    told: list[Event] = []
    go(tmp_path, "no ink", told)
    states = {e.step: (e.state, str(e.error or "")) for e in told}
    assert states["picture"] == ("failed", "no ink") and states["page"] == ("skipped", "no ink")
    assert states["last"] == ("finished", "") and read_current(tmp_path).keys() == {"made", "last"}
    told.clear()
    go(tmp_path, "", told)
    assert [e.step for e in told if e.state == "finished"] == ["picture", "page"]
    assert read_current(tmp_path).keys() == {"made", "picture", "page", "last"}


def test_a_damaged_input_of_what_is_only_shown_ends_the_run(tmp_path: Path) -> None:
    """It is no fault of the picture: what comes later would read it, too."""
    with Run(tmp_path, KINDS) as run:
        made = run.do(make)
        (made.folder / "value.json").write_text("1 ")
        with pytest.raises(mlc.InputError, match="run it again"):
            run.do(draw, made, error="", how={"error": "checksum do not match"})
    assert not made.finished


def test_no_step_that_makes_results_needs_what_is_only_shown(tmp_path: Path) -> None:
    with Run(tmp_path, KINDS) as run:
        picture = run.do(draw, run.do(make), error="", how={"error": "no ink"})
        with pytest.raises(AssertionError, match="last needs what is only shown"):
            run.do(end, picture)


def test_one_line_names_all_that_is_missing_in_all_tiles(tmp_path: Path) -> None:
    cause, other = ValueError("no ink"), mlc.InputError("a.tif is gone; put it back")
    artifact = Artifact("page", "json", tmp_path, "0")
    events = [
        Event("a/picture", "failed", artifact, error=cause),
        Event("a/page", "skipped", artifact, error=cause),
        Event("b/page", "failed", artifact, error=other),
    ]
    fault = perform._fault(events)
    assert isinstance(fault, perform.Incomplete) and fault.__cause__ is cause and "\n" not in str(fault)
    assert str(fault).startswith("a/picture, a/page not made: ValueError: no ink; b/page not made: a.tif is gone; put")
    assert isinstance(perform._fault(events[2:]), mlc.InputError) and perform._fault([]) is None
    passing = Event("b/page", "failed", artifact, error=FetchError("B04", "503"))
    fault = perform._fault([passing])
    assert type(fault) is FetchError
    assert str(fault) == "b/page not made: B04: 503; all other results are finished; run again; finished work is kept"
    assert type(perform._fault([passing, events[2]])) is mlc.InputError, "what must be corrected decides"


def test_what_is_missing_in_one_run_is_missing_in_the_runs_that_it_is_given_to(tmp_path: Path) -> None:
    """As a step that several tiles share: its error is the only one, and it is told once for all that lacks it."""
    told: list[Event] = []
    with (
        Run(tmp_path / "joint", KINDS, listener=told.append) as joint,
        Run(tmp_path / "a", KINDS, listener=told.append) as own,
    ):
        picture = joint.do(draw, joint.do(make), error="", how={"error": "no ink"})
        own.publish({"made": own.do(make), "page": own.do(lay_out, picture)})
    missing = [e for e in told if e.state in ("failed", "skipped")]
    assert [(e.step, e.state) for e in missing] == [("picture", "failed"), ("page", "skipped")]
    assert str(perform._fault(missing)).startswith("picture, page not made: ValueError: no ink; all other")
    assert read_current(tmp_path / "a").keys() == {"made"}
