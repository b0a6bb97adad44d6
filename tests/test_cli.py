"""The command line: bad input gives one line and exit code 2, before any work; good input is reported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from mlc_dask.classifiers.forest.settings import RandomForest
from mlc_dask.classifiers.lstm.compiled import engine_here
from mlc_dask.cli import app
from mlc_dask.config import load_config
from mlc_dask.pipeline.figure1 import CUBE, MAPS
from mlc_dask.pipeline.inputs import given_places
from mlc_dask.pipeline.plan import needs
from mlc_dask.worlds.demo import write_demo
from tests.runs import write_config

runner = CliRunner()


def first(world: Path) -> Path:
    return sorted((world / "acquisitions").iterdir())[0]


def rewrite(path: Path, change: Callable[[dict[str, object], np.ndarray], np.ndarray]) -> None:
    with rasterio.open(path) as file:
        profile, values = dict(file.profile), file.read(1)
    values = change(profile, values)
    path.unlink()
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)


def other_crs(profile: dict[str, object], values: np.ndarray) -> np.ndarray:
    profile["crs"] = "EPSG:32633"
    return values


def half_pixel(profile: dict[str, object], values: np.ndarray) -> np.ndarray:
    assert isinstance(profile["transform"], Affine)
    profile["transform"] = profile["transform"] @ Affine.translation(0.5, 0)
    return values


def drop_band(world: Path) -> str:
    (first(world) / "B04.tif").unlink()
    return "B04"


def shift_band(world: Path) -> str:
    rewrite(first(world) / "B03.tif", half_pixel)
    return "B03"


def move_band(world: Path) -> str:
    rewrite(first(world) / "B11.tif", other_crs)
    return "B11"


def truncate_band(world: Path) -> str:
    path = first(world) / "B02.tif"
    path.write_bytes(path.read_bytes()[:40])
    return "B02"


def unknown_label(world: Path) -> str:
    def change(_: dict[str, object], values: np.ndarray) -> np.ndarray:
        values[0, 0] = 77
        return values

    rewrite(world / "product" / "corine.tif", change)
    return r"77 \(\d+ px\)"


def single_class(world: Path) -> str:
    rewrite(world / "product" / "corine.tif", lambda _, values: np.full_like(values, 12))
    return "single class"


def no_product(world: Path) -> str:
    (world / "product" / "corine.tif").unlink()
    return "corine.tif"


def test_an_old_table_is_one_line_that_says_how_to_write_it_now(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    text = config.read_text(encoding="utf-8")
    assert "[classifier]" in text
    config.write_text(text.replace("[classifier]", "[lstm]"), encoding="utf-8")
    command = [sys.executable, "-m", "mlc_dask", "status", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == (
        'warning: [lstm] is the old name of a table; write [classifier] with kind = "lstm" and the same keys'
    )


@pytest.mark.parametrize("spoil", [drop_band, shift_band, move_band, truncate_band])
def test_kind_3_one_acquisition_with_a_bad_file_is_left_out_by_name(
    spoil: Callable[[Path], str], world: Path, tmp_path: Path
) -> None:
    told, name = spoil(world), first(world).name
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    for command in (["plan", str(config)], ["run", str(config), "--until", "acquisitions"]):
        result = runner.invoke(app, command)
        assert result.exit_code == 0, result.output
        (line,) = [line for line in result.output.splitlines() if "left out: " in line]
        assert re.search(told, line) and name in line, line


@pytest.mark.parametrize("spoil", [unknown_label, single_class, no_product])
def test_bad_files_are_told_of_before_any_work(spoil: Callable[[Path], str], world: Path, tmp_path: Path) -> None:
    told = spoil(world)
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    result = runner.invoke(app, ["run", str(config)])
    assert result.exit_code == 2, result.output
    (line,) = result.output.strip().splitlines()
    assert line.startswith("error: ") and re.search(told, line), line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("epochs", "0", "epochs = 0"),
        ("trees", '"many"', "trees = 'many'"),
        ("per_year", "9\nper_yaer = 3", "did you mean 'per_year'"),
        ("size", "4", "size"),
        ("kind", '"floppy"', "geotiff"),
        ("kind", '["stac"]', "source.kind = ['stac'] is unknown; did you mean 'stac'?"),
        ("kind", '"stac"\npreset = ["a"]', "preset ['a'] is unknown; choose one of earth-search"),
        ("kind", '"stac"\npreset = "earth-serch"', "preset 'earth-serch' is unknown; did you mean 'earth-search'?"),
        ("seed", '1\nsensor = "sentinel2"', "sensor = 'sentinel2' is unknown; did you mean 'sentinel-2'?"),
        ("folder", "3", "folder = 3"),
    ],
)
def test_bad_settings_are_told_of(key: str, value: str, told: str, world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out", **{key: value})
    if key == "size":
        config.write_text(config.read_text().replace("size = 4", "size = 400").replace("size = 5", "size = 4"))
    result = runner.invoke(app, ["plan", str(config)])
    assert result.exit_code == 2, result.output
    (line,) = result.output.strip().splitlines()
    assert told in line


def test_too_few_pairs_names_the_binding_limit(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out", per_year=9)
    result = runner.invoke(app, ["plan", str(config)])
    assert result.exit_code == 2
    assert re.search(r"only \d+ of 9 acquisition pairs are feasible", result.output.replace("\n", " "))


def test_too_few_acquisitions_are_told_of_before_any_mask_is_read(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out", per_year=20)
    result = runner.invoke(app, ["run", str(config)])
    assert result.exit_code == 2 and not (tmp_path / "out").exists()
    assert "2018 has 9 acquisitions, but acquisitions.per_year = 20; lower it to 9" in result.output.replace("\n", " ")


def test_unknown_step_is_refused(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    result = runner.invoke(app, ["run", str(config), "--until", "forest"])
    assert result.exit_code == 2 and "forests" in result.output


def test_init_writes_once(tmp_path: Path) -> None:
    path = tmp_path / "mlc.toml"
    assert runner.invoke(app, ["init", str(path)]).exit_code == 0
    text = path.read_text(encoding="utf-8")
    assert "[multiyear_training]" in text and "# train = 24000" in text
    again = runner.invoke(app, ["init", str(path)])
    assert again.exit_code == 2 and path.read_text(encoding="utf-8") == text


def test_plan_says_what_would_be_done_and_writes_nothing(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    result = runner.invoke(app, ["plan", str(config)])
    assert result.exit_code == 0, result.output
    assert len(re.findall(r"% +chosen *$", result.output, re.MULTILINE)) == 12 and "memory per worker" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_run_until_status_and_explain(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    result = runner.invoke(app, ["run", str(config), "--until", "preliminary", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "dashboard: http://127.0.0.1" in result.output and "cube: finished" in result.output
    assert f"engines: {engine_here()} on " in result.output
    status = runner.invoke(app, ["status", str(config)]).output
    assert re.search(r"preliminary +done", status) and re.search(r"models +to do", status)
    told = runner.invoke(app, ["explain", str(tmp_path / "out"), "product"])
    assert told.exit_code == 0 and "acquisitions" in told.output
    told = runner.invoke(app, ["explain", str(tmp_path / "out"), "preliminary"])
    (record,) = (tmp_path / "out" / "artifacts").glob("preliminary-*/record.json")
    engines = json.loads(record.read_bytes())["engines"]
    forest = RandomForest.engine_here()
    assert engines == [forest] and f"on {forest}" in told.output
    unknown = runner.invoke(app, ["explain", str(tmp_path / "out"), "nothing"])
    assert unknown.exit_code == 2


def test_cube_alone_and_what_it_holds(world: Path, tmp_path: Path) -> None:
    """Without a product; its steps are those of a whole run, which reuses them."""
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    text = config.read_text(encoding="utf-8")
    without = tmp_path / "cube.toml"
    without.write_text(text.replace("[product]\n", "").replace(f'path = "{world}/product/corine.tif"\n', ""))
    empty = runner.invoke(app, ["cube", str(without), "--info"])
    assert empty.exit_code == 2 and f"make one with: mlc-dask cube {without}" in empty.output.replace("\n", " ")
    made = runner.invoke(app, ["cube", str(without)])
    assert made.exit_code == 0, made.output
    (cube,) = (tmp_path / "out" / "artifacts").glob("cube-*")
    assert f"mlc_dask.open_cube('{cube}')" in made.output.replace("\n", "")
    for place in (without, cube, tmp_path / "out"):
        told = runner.invoke(app, ["cube", str(place), "--info"])
        assert told.exit_code == 0, told.output
        assert "2018, 2019" in told.output and len(re.findall(r"_T32TPS", told.output)) == 12
    assert len(list((tmp_path / "out" / "artifacts").glob("quicklooks-*/*.png"))) == 12
    needed = runner.invoke(app, ["run", str(without)])
    assert needed.exit_code == 2 and "'product' is missing" in needed.output
    status = runner.invoke(app, ["status", str(config)])
    assert re.search(r"cube +done", status.output) and re.search(r"product +to do", status.output)


def test_the_calendar_can_be_saved(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    result = runner.invoke(app, ["plan", str(config), "--calendar", str(tmp_path / "calendar.png")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "calendar.png").read_bytes().startswith(b"\x89PNG")
    assert "Conifers" in result.output and re.search(r"warped +none", result.output)
    assert not (tmp_path / "out").exists()


def test_another_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    config = write_demo(tmp_path / "demo", size=64, seed=1)
    config.write_text(config.read_text(encoding="utf-8") + "# my own\n", encoding="utf-8")
    before = sorted(p.name for p in (tmp_path / "demo" / "world" / "acquisitions").iterdir())
    assert write_demo(tmp_path / "demo", size=64, seed=1).read_text(encoding="utf-8").endswith("# my own\n")
    for other in (["--seed", "2"], ["--seed", "1", "--size", "66"]):
        size = ["--size", "64"] if "--size" not in other else []
        result = runner.invoke(app, ["demo", str(tmp_path / "demo"), *size, *other])
        assert result.exit_code == 2
        assert "holds the demo of seed 1 and 64 pixels; choose another folder" in result.output.replace("\n", " ")
    assert before == sorted(p.name for p in (tmp_path / "demo" / "world" / "acquisitions").iterdir())


def test_a_half_written_demo_is_begun_anew(tmp_path: Path) -> None:
    write_demo(tmp_path / "whole", size=64, seed=1)
    (tmp_path / "half" / "world" / "acquisitions" / "20200101_left_over").mkdir(parents=True)
    write_demo(tmp_path / "half", size=64, seed=1)
    names = [sorted(p.name for p in (tmp_path / f / "world" / "acquisitions").iterdir()) for f in ("whole", "half")]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ("truth/2018.tif", "write {year} once, where the year stands in the file's name"),
        ("truth/{yr}.tif", "write {year} once, where the year stands in the file's name"),
        ("{year}/{year}.tif", "write {year} once, where the year stands in the file's name"),
        ("nowhere/{year}.tif", "no mapped year has a file evaluation.truth"),
        ("{site}/{year}.tif", "no mapped year has a file evaluation.truth"),
    ],
)
def test_patterns_of_references(world: Path, tmp_path: Path, truth: str, message: str) -> None:
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out", truth=f'"{tmp_path}/{truth}"')
    result = runner.invoke(app, ["plan", str(config)])
    assert result.exit_code == 2 and message in result.output.replace("\n", " "), result.output


def test_every_worker_must_see_what_workers_read(world: Path, tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "mlc.toml", world, tmp_path / "out"))
    asked = needs(config, given_places(config), MAPS)
    references = sorted((world / "truth").glob("*.tif"))
    assert references and sorted(asked.inputs) == sorted([world / "acquisitions", *references])


def test_a_cube_needs_no_reference(world: Path, tmp_path: Path) -> None:
    nowhere = f'"{tmp_path}/nowhere/{{year}}.tif"'
    config = load_config(write_config(tmp_path / "mlc.toml", world, tmp_path / "out", truth=nowhere))
    assert needs(config, given_places(config), CUBE).inputs == [world / "acquisitions"]


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"seed": "5000000000"}, "seed = 5000000000: input should be less than 4294967296"),
        ({"per_year": "2"}, "gaps.min_valid = 3 usable dates cannot be reached with acquisitions.per_year = 2"),
        ({"folder": '"{world}/acquisitions"\nbands = []'}, "source: bands = []"),
        ({"folder": '"{world}/acquisitions"\noffset = nan'}, "source: offset = nan"),
        ({"folder": '"{world}/acquisitions"\ndate = "[a-z]+_([0-9]{8})[/y]"'}, "source.date = '[a-z]+_([0-9]{8})[/y]'"),
        ({"dashboard": '"127.0.0.1:0"\nmemory = "lots"'}, "execution.memory = 'lots'"),
        ({"per_year": "6\nyears = [2019, 2018]"}, "years = [2019, 2018]: give at least one year, in ascending order"),
    ],
)
def test_bad_settings_are_told_of_before_any_work(
    world: Path, tmp_path: Path, replaced: dict[str, str], message: str
) -> None:
    values = {key: value.replace("{world}", str(world)) for key, value in replaced.items()}
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out", **values)
    result = runner.invoke(app, ["run", str(config)])
    assert result.exit_code == 2 and message in result.output.replace("\n", " "), result.output
    assert not (tmp_path / "out").exists() and len(result.output.strip().splitlines()) == 1


def test_nothing_of_somebody_else_is_overwritten(world: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "report.html").write_text("mine")
    for output, message in (
        (tmp_path / "file", "is a file; give a folder"),
        (world / "acquisitions" / "out", "lies in source.folder"),
        (world / "acquisitions", "lies in source.folder"),
        (tmp_path / "foreign", "contains report.html, which no run wrote; choose another folder"),
    ):
        result = runner.invoke(app, ["run", str(write_config(tmp_path / "mlc.toml", world, output))])
        assert result.exit_code == 2 and message in result.output.replace("\n", " "), result.output
    assert (tmp_path / "foreign" / "report.html").read_text() == "mine"
    assert not (world / "acquisitions" / "artifacts").exists()
