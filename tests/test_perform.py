"""A run and a plan as functions: the same output as the command line, and every input looked at once per command."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from rich.console import Console
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.classifiers import RandomForest
from mlc_dask.cli import app
from mlc_dask.compute.progress import StepProgress, worth_a_line
from mlc_dask.config import load_config
from mlc_dask.io.sources.packages import Product, ProductSource
from mlc_dask.pipeline import inputs
from mlc_dask.show.report.figures import training_curves
from mlc_dask.worlds import World, write_products
from tests.runs import small_world, write_config

WORLD = World(size=64, seed=1, years=(2018, 2019), acquisitions_per_year=9)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_world(tmp_path_factory.mktemp("world"), size=64, years=(2018, 2019))


@pytest.fixture
def config(world: Path, tmp_path: Path) -> Path:
    return write_config(tmp_path / "mlc.toml", world, tmp_path / "out")


class Counts(Counter[str]):
    """How often something was called."""

    def watch(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, by_argument: bool = False) -> None:
        original = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self[f"{args[0].place}/{args[1]}" if by_argument else name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)


def test_every_input_is_looked_at_once_per_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of agencies' products, whose metadata is what takes time: by plan, a first run, and a resumed one."""
    write_products(tmp_path, WORLD, format="safe")
    config = write_config(tmp_path / "mlc.toml", tmp_path, tmp_path / "out", kind='"safe"', min_valid="2")
    calls, parsed = Counts(), Counts()
    for name in ("catalogue", "files"):
        calls.watch(monkeypatch, ProductSource, name)
    calls.watch(monkeypatch, inputs, "open_product")
    parsed.watch(monkeypatch, Product, "xml", by_argument=True)
    mlc.plan(config)
    assert calls == {"catalogue": 1, "files": 1, "open_product": 1} and not (tmp_path / "out").exists()
    assert len(parsed) == 2 * 18 and set(parsed.values()) == {1}
    calls.clear()
    first = mlc.run(config, until="acquisitions", scheduler="current")
    assert calls["catalogue"] == 1 and calls["files"] == 1 and {e.state for e in first} == {"finished"}
    calls.clear()
    again = mlc.run(config, until="acquisitions", scheduler="current")
    assert calls["catalogue"] == 0 and calls["files"] == 1 and {e.state for e in again} == {"reused"}
    calls.clear()
    assert mlc.plan(config).steps[0].state == "reused" and calls["catalogue"] == 0 and calls["files"] == 1
    assert set(parsed.values()) == {1}


def test_metadata_that_changed_is_read_again(tmp_path: Path) -> None:
    write_products(tmp_path, WORLD, format="safe")
    source = mlc.Safe(folder=tmp_path / "acquisitions")
    before = source.catalogue().acquisitions[0]
    (path,) = (tmp_path / "acquisitions" / f"{before.granules[0].id}.SAFE").glob("MTD_MSIL2A.xml")
    text, told = path.read_text(), "PROCESSING_BASELINE"
    path.write_text(re.sub(f"<{told}>.*</{told}>", f"<{told}>05.99</{told}>", text))
    assert source.catalogue().acquisitions[0].granules[0].baseline == "05.99" != before.granules[0].baseline


def test_the_last_step_is_checked_before_any_work(config: Path, tmp_path: Path) -> None:
    with pytest.raises(mlc.InputError, match="there is no step 'forest'; did you mean 'forests'"):
        mlc.run(config, until="forest", scheduler="current")
    with pytest.raises(mlc.InputError, match="there is no step 'xyz'; choose one of catalogue, acquisitions, "):
        mlc.run(config, until="xyz")
    with pytest.raises(mlc.InputError, match="scheduler = 'here' is unknown; choose one of configured, current"):
        mlc.run(config, scheduler="here")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_listener_is_told_of_every_step(config: Path) -> None:
    told: list[tuple[str, str]] = []
    steps = mlc.run(load_config(config), until="acquisitions", scheduler="current",
                    listener=lambda event: told.append((event.step, event.state)))  # fmt: skip
    assert [e.step for e in steps] == ["catalogue", "acquisitions"]
    assert told == [(e.step, state) for e in steps for state in ("started", "finished")]


def test_a_plan_shows_what_stands_against_too_few_pairs(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out", per_year="9\nmax_cloud = 0.05")
    place = mlc.plan(config).places[""]
    reasons = Counter(s.reason for row in place.selection.rejected.values() for s in row)
    assert place.selection.size == 0 and reasons.total() == 18 and reasons["cloud over limit"] > 0
    assert re.match(r"only \d of 9 acquisition pairs are feasible", str(place.infeasible))
    result = CliRunner().invoke(app, ["plan", str(config), "--calendar", str(tmp_path / "c.png")])
    assert result.exit_code == 2 and (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    *_, last = result.output.strip().splitlines()
    assert last == f"error: {place.infeasible}" and "cloud over limit" in result.output
    assert len(re.findall(r"(?m)^ *201[89]-\d\d-\d\d ", result.output)) == 18
    assert not (tmp_path / "out").exists()


def test_a_plan_without_an_old_map_is_that_of_the_cube(config: Path, world: Path) -> None:
    text = config.read_text().replace("[product]\n", "").replace(f'path = "{world}/product/corine.tif"\n', "")
    config.write_text(text)
    made = mlc.plan(config)
    assert made.steps[-1].step == "quicklooks" and made.infeasible is None
    result = CliRunner().invoke(app, ["plan", str(config)])
    assert result.exit_code == 0 and "only the cube can be made" in result.output, result.output


def test_a_log_names_some_epochs() -> None:
    assert [e for e in range(1, 101) if worth_a_line(e, 100)] == [1, *range(10, 101, 10)]
    assert [e for e in range(1, 4) if worth_a_line(e, 3)] == [1, 2, 3]
    log = io.StringIO()
    progress = StepProgress(Console(file=log, width=120), None)  # type: ignore[arg-type]
    for epoch in range(1, 26):
        progress._on_epoch((0, {"model": "multi_year", "epoch": epoch, "epochs": 25, "train_loss": 1 / epoch}))
    lines = log.getvalue().splitlines()
    assert lines[0] == "multi_year: epoch 1 of 25, training loss 1.000" and len(lines) == 14
    assert lines[-1] == "multi_year: epoch 25 of 25, training loss 0.040"


def test_rows_of_any_classifier_are_shown() -> None:
    """Only `epoch` is required of a row."""
    log = io.StringIO()
    progress = StepProgress(Console(file=log, width=120), None)  # type: ignore[arg-type]
    for epoch in range(1, 21):
        progress._on_epoch((0, {"model": "boosting", "epoch": epoch, "loss": 1 / epoch}))
    assert log.getvalue().splitlines() == [f"boosting: epoch {epoch}" for epoch in (1, 10, 20)]
    bare, rows = (
        [{"epoch": 1, "loss": 0.5}],
        [{"epoch": e, "train_loss": 1 / e, "validation_loss": None} for e in (1, 2)],
    )
    assert training_curves({"boosting": bare}) is None
    figure = training_curves({"boosting": bare, "lstm": rows})
    assert figure is not None
    (axis,) = figure.axes
    assert axis.get_title() == "lstm" and [line.get_label() for line in axis.lines] == ["training"]


def test_workers_of_a_forest_import_no_pytorch() -> None:
    """The engines that a run names at its start are those of the configured classifier."""
    code = """
import sys
from types import SimpleNamespace
from rich.console import Console
from mlc_dask import RandomForest
from mlc_dask.compute.progress import introduce
client = SimpleNamespace(run=lambda function: {"worker": function()})
introduce(Console(width=200), client, RandomForest())
print("torch" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    dashboard, engines, torch = shown.splitlines()
    assert engines == f"engines: {RandomForest.engine_here()} on 1" and torch == "False"
    assert dashboard.startswith("dashboard: not available")


def content(output: Path) -> dict[str, Any]:
    """Files of an output: their bytes, and of records all but moments, processes and digests."""
    found: dict[str, Any] = {}
    for path in (p for p in output.rglob("*") if p.is_file() and p.suffix != ".lock"):
        data: Any = path.read_bytes()
        if path.suffix == ".json" and path.name != "zarr.json":
            data = json.loads(data)
            for key in ("started", "finished", "seconds", "published", "files", "pid", "written"):
                data.pop(key, None)
        found[path.relative_to(output).as_posix()] = b"" if path.name == "performance.html" else data
    return found


@pytest.mark.slow
def test_a_run_through_python_leaves_the_output_of_the_command_line(config: Path, world: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", str(config)])
    assert done.exit_code == 0 and "epoch 3 of 3" in done.output, done.output
    other = write_config(tmp_path / "other.toml", world, tmp_path / "other")
    mlc.run(other)
    one, two = content(tmp_path / "out"), content(tmp_path / "other")
    assert {"report.html", "evaluation/agreement.csv", "evaluation/summary.csv", "performance.html"} <= one.keys()
    assert one.keys() == two.keys()
    assert not [name for name in one if one[name] != two[name]]
    assert CliRunner().invoke(app, ["status", str(other)]).output.count(" done ") == len(mlc.plan(other).steps)
