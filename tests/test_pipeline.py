"""Whole runs: results depend on data, settings and seed, never on patches, workers or interruptions."""

from __future__ import annotations

from pathlib import Path

import dask
import pandas as pd
import pytest
import xarray as xr

import mlc_dask as mlc
from mlc_dask.compute.backends import connect
from mlc_dask.config import load_config
from mlc_dask.pipeline.figure1 import annual_maps
from mlc_dask.pipeline.formats import kinds
from mlc_dask.pipeline.inputs import Given
from mlc_dask.runs.artifacts import StopRun
from mlc_dask.runs.records import explain
from mlc_dask.runs.run import Run
from mlc_dask.storage.durable import NotPublished
from tests.runs import artifacts, run_all, small_world, write_config

pytestmark = pytest.mark.slow

LAYERS = {
    "preliminary", "single_year", "multi_year", "single_year_filtered", "multi_year_filtered", "confidence",
    "valid_count", "change_count", "change_count_single_year",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of an undisturbed run."""
    folder = tmp_path_factory.mktemp("finished")
    config = write_config(folder / "mlc.toml", world, folder / "out")
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(config)
    return config


def test_result_is_complete(finished: Path) -> None:
    output = finished.parent / "out"
    maps = mlc.open_maps(output)
    assert set(maps.data_vars) == LAYERS
    assert maps.multi_year.dims == ("year", "y", "x") and maps.change_count.dims == ("y", "x")
    assert {v.dtype.name for v in maps.data_vars.values()} == {"uint8"}
    assert maps.rio.crs.to_epsg() == 32632
    assert maps.attrs["legend"]["8"]["name"] == "Conifers"
    assert not (maps == 255).any().to_array().values.any(), "a pixel was never written"
    labelled = maps.multi_year > 0
    assert (labelled == (maps.valid_count >= 3)).all().compute()
    assert (labelled == (maps.confidence > 0)).all().compute()
    tables = {n: pd.read_csv(artifacts(output, "evaluation")[0] / f"{n}.csv") for n in ("agreement", "summary")}
    assert list(tables["agreement"]) == ["model", "filtered", "pair", "class", "agreement", "reverse", "iou", "n"]
    assert set(tables["agreement"]["pair"]) == {"2018-2019", "2019-2020", "all"}
    assert {"kappa", "accuracy", "macro_f1", "change_recall", "flicker_share"} <= set(tables["summary"]["metric"])
    page = (artifacts(output, "report")[0] / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 7 and "http" not in page.replace("http-equiv", "")


def test_agreement_table_equals_a_recount(finished: Path) -> None:
    output = finished.parent / "out"
    maps = mlc.open_maps(output).multi_year_filtered.values
    table = pd.read_csv(artifacts(output, "evaluation")[0] / "agreement.csv")
    rows = table[(table.model == "multi_year") & table.filtered].set_index(["pair", "class"])
    seen = (maps[0] > 0) & (maps[1] > 0)
    assert rows.loc[("2018-2019", "overall"), "agreement"] == pytest.approx((maps[0] == maps[1])[seen].mean(), abs=1e-5)
    conifers = seen & (maps[0] == 8)
    found = rows.loc[("2018-2019", "Conifers")]
    assert found["n"] == conifers.sum()
    assert found["agreement"] == pytest.approx((maps[1][conifers] == 8).mean(), abs=1e-5)


def test_maps_do_not_depend_on_patches_or_workers(tmp_path: Path) -> None:
    world = small_world(tmp_path / "world", size=288, years=(2018, 2019))
    results: list[tuple[xr.Dataset, list[str], xr.Dataset]] = []
    for patch, workers in ((128, 2), (256, 1), (1024, None)):
        output = tmp_path / f"patch{patch}"
        config = load_config(
            write_config(tmp_path / "mlc.toml", world, output, f"patch = {patch}\nworkers = {workers or 1}")
        )
        if workers is None:
            with dask.config.set(scheduler="threads", num_workers=2):
                run_all(config)
        else:
            with connect(config.execution):
                run_all(config)
        models = mlc.open_models(artifacts(output, "models")[0])
        samples = mlc.open_samples(artifacts(output, "multiyear-training")[0] / "samples.zarr").load()
        results.append((mlc.open_maps(output).load(), [m.digest for m in models.values()], samples))
    (maps, digests, samples), *others = results
    assert len(artifacts(tmp_path / "patch128", "multi-year")) == 1
    assert len(list(artifacts(tmp_path / "patch128", "multi-year")[0].glob("patches/*.json"))) == 2 * 9
    for other_maps, other_digests, other_samples in others:
        assert digests == other_digests
        xr.testing.assert_identical(samples, other_samples)
        xr.testing.assert_equal(maps, other_maps)
    fingerprints = {tuple(p.name for p in artifacts(tmp_path / f"patch{n}", "multi-year")) for n in (128, 256, 1024)}
    assert len(fingerprints) == 1, "execution choices entered a fingerprint"


def test_second_run_reuses_everything_and_a_setting_redoes_only_its_own(finished: Path) -> None:
    with dask.config.set(scheduler="threads"):
        assert {e.state for e in run_all(finished)} == {"reused"}
        other = finished.with_name("other.toml")
        other.write_text(finished.read_text().replace("[filter]", '[filter]\nrule = "median"'))
        states = {e.step: e.state for e in run_all(other)}
    redone = {step for step, state in states.items() if state != "reused"}
    assert redone == {"single-year-filtered", "multi-year-filtered", "changes", "evaluation", "report"}


def test_damage_is_found_and_only_the_damaged_step_is_redone(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    with dask.config.set(scheduler="threads"):
        run_all(config)
        before = mlc.open_maps(tmp_path / "out").load()
        victim = next((artifacts(tmp_path / "out", "multi-year")[0] / "label" / "c").rglob("*/*/*"))
        victim.write_bytes(victim.read_bytes()[:-9])
        with pytest.raises(mlc.InputError, match="run it again"):
            mlc.open_maps(tmp_path / "out")
        states = {e.step: e.state for e in run_all(config)}
    assert [step for step, state in states.items() if state == "finished"] == ["multi-year"]
    xr.testing.assert_identical(before, mlc.open_maps(tmp_path / "out").load())


def test_explain_leads_back_to_the_files(finished: Path) -> None:
    origin = explain(finished.parent / "out", "multi-year-filtered")
    names = set()

    def visit(node: object) -> None:
        names.add(node.name)  # type: ignore[attr-defined]
        for parent in node.inputs:  # type: ignore[attr-defined]
            visit(parent)

    visit(origin)
    assert {
        "multi-year",
        "models",
        "multiyear-training",
        "unchanged",
        "forests",
        "cube",
        "source",
        "product-file",
    } <= names


def test_unfinished_run_is_not_published(world: Path, tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "mlc.toml", world, tmp_path / "out"))
    with pytest.raises(NotPublished):
        mlc.open_maps(config.output)


def test_images_may_move_between_two_runs(tmp_path: Path) -> None:
    world = small_world(tmp_path / "here", size=64, years=(2018, 2019))
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    settings = load_config(config)
    with dask.config.set(scheduler="threads"), Run(settings.output, kinds(64), until="acquisitions") as run:
        with pytest.raises(StopRun):
            annual_maps(run, Given(settings))
        world.rename(tmp_path / "there")
    moved = load_config(write_config(tmp_path / "mlc.toml", tmp_path / "there", tmp_path / "out"))
    with dask.config.set(scheduler="threads"), Run(moved.output, kinds(64), until="cube") as run:
        with pytest.raises(StopRun):
            annual_maps(run, Given(moved))
        assert [e.state for e in run.steps] == ["reused", "reused", "finished", "finished"]


def test_a_forest_takes_the_place_of_the_lstm(world: Path, tmp_path: Path) -> None:
    """``[classifier] kind`` alone chooses what the maps are made by."""
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    text = config.read_text(encoding="utf-8")
    before, _, rest = text.partition("[classifier]")
    _, filtering, after = rest.partition("[filter]")
    config.write_text(f'{before}[classifier]\nkind = "forest"\ntrees = 5\n{filtering}{after}', encoding="utf-8")
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(config)
    models = mlc.open_models(artifacts(tmp_path / "out", "models")[0])
    assert {type(model.settings) for model in models.values()} == {mlc.RandomForest}
    assert {model.settings.trees for model in models.values()} == {5} and "multi-year" in models
    assert set(mlc.open_maps(tmp_path / "out").data_vars) == LAYERS
