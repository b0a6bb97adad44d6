"""What a user gives is refused by ``plan``, not by a step of the run: kind 5 of the faults of real inputs.

The table has every input with the step in which it was found before, if it was found at all.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask
import numpy as np
import pytest
import rasterio
from rasterio import Affine
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app
from tests.runs import small_world, write_config

Prepare = Callable[[Path], None]
"""Changes the world in a folder before the plan."""


@dataclass(frozen=True)
class Case:
    """One input: the step that found it before, the table of the configuration and its lines, and the new line."""

    name: str
    step: str
    table: str
    lines: str
    words: str
    prepare: Prepare | None = None
    scheduler: Literal["configured", "current"] = "current"


def text(name: str, content: str | bytes) -> Prepare:
    """Write a file beside the configuration."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data) and None


def legend(old: str = "", new: str = "") -> Prepare:
    rows = "".join(f"{c.code},{c.name},{c.colour}\n" for c in mlc.DEFAULT_LEGEND.classes)
    table = f"code,name,colour\n{rows}"
    assert old in table
    return text("own.csv", table.replace(old, new, 1))


def crosswalk(change: Callable[[list[str]], list[str]] = lambda row: row, end: str = "") -> Prepare:
    """CORINE's crosswalk for grid codes, with changed rows."""
    shipped = Path(mlc.__file__).parent / "data/crosswalks/corine.csv"
    head, *rows = csv.reader(io.StringIO(shipped.read_text(encoding="utf-8")))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["code", "other", *head[2:]], *map(change, rows)])
    return text("own.csv", out.getvalue() + end)


def quota(value: str) -> Prepare:
    return crosswalk(lambda row: [*row[:4], value, row[5] or "why"])


def raster(place: str, change: Callable[[Any, dict[str, Any]], Any], skip: int = 0) -> Prepare:
    """Change the pixels and the profile of all files that fit a pattern, but the first ones."""

    def prepare(folder: Path) -> None:
        found = sorted((folder / "world").glob(place))[skip:]
        assert found, place
        for path in found:
            with rasterio.open(path) as file:
                data, profile = file.read(1), {**file.profile, "driver": "GTiff"}
            data = change(data, profile)
            path.unlink()
            with rasterio.open(path, "w", **profile) as file:
                file.write(np.broadcast_to(data, (profile["count"], *data.shape[-2:])))

    return prepare


def put(**values: Any) -> Callable[[Any, dict[str, Any]], Any]:
    """Change the profile, and leave the pixels; their type is that of the profile."""

    def change(data: Any, profile: dict[str, Any]) -> Any:
        profile.update(values)
        return data.astype(profile["dtype"])

    return change


def fill(value: int, rows: int | None = None) -> Callable[[Any, dict[str, Any]], Any]:
    """Set the first rows, or all, to a value."""

    def change(data: Any, profile: dict[str, Any]) -> Any:
        data = data.copy()
        data[:rows] = value
        return data

    return change


FAR = Affine(10, 0, 100_000, 0, -10, 4_000_000)
OWN_LEGEND, OWN_CROSSWALK = 'legend = "own.csv"', 'crosswalk = "own.csv"'
SHADOW, CLOUD = 3, 9
YEAR = "leave 2019 out of acquisitions.years"

TABLE = [
    Case("empty colour", "report", "product", OWN_LEGEND, "own.csv, line 11: colour '' is not #rrggbb",
         legend("#2f7fd6", "")),
    Case("colour by name", "report", "product", OWN_LEGEND, "line 9: colour 'green' .* #rrggbb",
         legend("#0b6b2d", "green")),
    Case("class without name", "evaluation", "product", OWN_LEGEND, "line 9: the class has no name; give one",
         legend("Conifers", "")),
    Case("class of a reserved name", "evaluation", "product", OWN_LEGEND, "cannot be called 'Overall'",
         legend("Snow", "Overall")),
    Case("names that differ by case", "product", "product", OWN_LEGEND, "legend name .*Water.* occurs twice",
         legend("Snow", "water")),
    Case("code twice", "product", "product", OWN_LEGEND, "line 12: code 10 occurs twice, first in line 11",
         legend("11,Snow", "10,Snow")),
    Case("code of no data", "cube", "product", OWN_LEGEND, "legend code 255 is not in 1..254",
         legend("11,Snow", "255,Snow")),
    Case("class without crosswalk", "product", "product", OWN_LEGEND, "class 'Conifers' is not in the legend",
         legend("Conifers", "Needles")),
    Case("quotation mark", "product", "product", OWN_LEGEND, "line 10: unexpected end of data; close its quotation",
         legend("Shrubland", '"Shrubland')),
    Case("column twice", "product", "product", OWN_LEGEND, "the column code occurs twice",
         legend("code,name,colour", "code,name,colour,code")),
    Case("legend that is not there", "product", "product", OWN_LEGEND, "own.csv does not exist; give the path"),
    Case("quotas of nothing", "annual-training", "product", OWN_CROSSWALK, "the quotas leave samples of no class",
         quota("0")),
    Case("quota that rounds to nothing", "annual-training", "product", OWN_CROSSWALK, "is less than half a per cent",
         quota("0.004")),
    Case("quota in per cent", "product", "product", OWN_CROSSWALK, r"quota 25\.0 is outside 0\.\.1", quota("25")),
    Case("code twice in the crosswalk", "product", "product", OWN_CROSSWALK, "code 1 occurs twice, first in line 2",
         crosswalk(end="1,111,Towns,Crops,1,\n")),
    Case("no reason", "product", "product", OWN_CROSSWALK, "neither a class nor a reason",
         crosswalk(lambda row: [*row[:3], "", "", ""])),
    Case("unknown crosswalk", "product", "product", 'crosswalk = "corin"', "did you mean 'corine'"),
    Case("code outside the crosswalk", "product", "product", "", r"codes outside the corine legend: 77 \(",
         raster("product/corine.tif", fill(77, 1))),
    Case("old map of another place", "product", "product", "", "no pixel of the area has a class of the legend",
         raster("product/corine.tif", put(transform=FAR))),
    Case("old map of one class", "annual-training", "product", "", "the area has a single class, Crops",
         raster("product/corine.tif", fill(12))),
    Case("old map of floats", "product", "product", "", "holds float32, not integer class codes",
         raster("product/corine.tif", put(dtype="float32", nodata=None))),
    Case("year before any map", "annual-training", "product", "year = 1800", "product.year = 1800"),
    Case("shadow all year", "preliminary", "acquisitions", "", f"2019: 6 of 6 .* have no usable pixel, .*{YEAR}",
         raster("acquisitions/2019*/SCL.tif", fill(SHADOW))),
    Case("cloud all year", "preliminary", "acquisitions", "max_cloud = 1.0", f"2019: 6 of 6 .* no usable .*{YEAR}",
         raster("acquisitions/2019*/SCL.tif", fill(CLOUD))),
    Case("cloud in all but two", "preliminary", "acquisitions", "max_cloud = 1.0", "lower gaps.min_valid to [12]",
         raster("acquisitions/2019*/SCL.tif", fill(CLOUD), skip=2)),
    Case("a band without data all year", "preliminary", "acquisitions", "", f"2019: 6 of 6 .* no usable .*{YEAR}",
         raster("acquisitions/2019*/B04.tif", fill(0))),
    Case("no data all year", "preliminary", "acquisitions", "", f"9 in 2019 have no data in the area; {YEAR}",
         raster("acquisitions/2019*/*.tif", fill(0))),
    Case("mask that calls all unusable", "preliminary", "source",
         f"mask = {{ unusable = {list(range(12))}, cloud = [9] }}", "2018: 6 of 6 .* compare source.mask"),
    Case("dates below the least", "preliminary", "gaps", "min_valid = 7", "gaps.min_valid = 7 usable dates cannot be"),
    Case("year that the source lacks", "acquisitions", "acquisitions", "years = [2018, 2031]", "2031"),
    Case("years in another order", "acquisitions", "acquisitions", "years = [2019, 2018]", "in ascending order"),
    Case("too many a year", "acquisitions", "acquisitions", "per_year = 50", "(6|9).* 50.* lower "),
    Case("acquisition that is none", "acquisitions", "acquisitions", 'leave_out = ["2018-13-01"]', "names no acquis"),
    Case("cloud in per cent", "acquisitions", "acquisitions", "max_cloud = 40", "acquisitions.max_cloud = 40"),
    Case("band twice", "cube", "source", 'bands = ["B02", "B02"]', "band B02 occurs twice; name every band once"),
    Case("band that is not there", "cube", "source", 'bands = ["B02", "B99"]', "18 left out, .*B99.tif is missing"),
    Case("unknown sensor", "annual-training", "", 'sensor = "sentinel2"', "did you mean 'sentinel-2'"),
    Case("date without a group", "catalogue", "source", r"date = '\d{8}'", "put parentheses around the date"),
    Case("dates twice", "cube", "source", 'index = "dates.csv"', "line 3: id a occurs twice, first in line 2",
         text("dates.csv", "id,datetime_utc\na,2018-01-01\na,2018-02-01\n")),
    Case("squares larger than the area", "models", "multiyear_training", "block = 5000", "block = 5000 leaves no squ"),
    Case("hardly any training", "models", "multiyear_training", "train = 2", "no square for training in 64 × 64"),
    Case("forest without trees", "forests", "forest", "trees = 0", "forest.trees = 0"),
    Case("dropout of all", "models", "classifier", "dropout = 1.0", "classifier: dropout = 1.0"),
    Case("unknown classifier", "models", "classifier", 'kind = "lstn"', "classifier.kind = 'lstn' .* mean 'lstm'"),
    Case("even window", "single-year-filtered", "filter", "size = 4", "filter.size = 4: .* odd"),
    Case("unknown rule", "single-year-filtered", "filter", 'rule = "mode"', "filter.rule = 'mode'"),
    Case("reference that is not there", "evaluation", "evaluation", 'truth = "none/{year}.tif"', "no mapped year has"),
    Case("one reference for all years", "evaluation", "evaluation", 'truth = "t.tif"', r"write \{year\} once"),
    Case("reference of other codes", "evaluation", "", "", r"codes \[77\] are not in the legend",
         raster("truth/2018.tif", fill(77, 1))),
    Case("reference of another place", "evaluation", "", "", "no file has a class in the area",
         raster("truth/*.tif", put(transform=FAR))),
    Case("reference of nothing", "evaluation", "", "", "no file has a class in the area",
         raster("truth/*.tif", fill(0))),
    Case("reference of floats", "evaluation", "", "", "holds float32, not integer class codes",
         raster("truth/2019.tif", put(dtype="float32"))),
    Case("reference without CRS", "evaluation", "", "", "2019.tif has no CRS; write one",
         raster("truth/2019.tif", put(crs=None))),
    Case("patch", "cube", "execution", "patch = 50", "execution.patch = 50 is not a multiple of 128"),
    Case("unknown cluster", "catalogue", "execution", 'cluster = "slum"', "did you mean 'slurm'", None, "configured"),
    Case("address of nothing", "catalogue", "execution", 'cluster = "tcp://host:99x"', "is no address",
         None, "configured"),
    Case("options that nothing uses", "catalogue", "execution", "options = { cores = 3 }", "is not used by local work",
         None, "configured"),
    Case("port", "catalogue", "execution", 'dashboard = "127.0.0.1:99999"', "port 99999 is above 65535"),
    Case("output below a file", "catalogue", "", 'output = "own.csv/out"', "lies below the file", legend()),
    Case("tile without a folder", "catalogue", "", 'tiles = ["a", "b"]', "no key of source contains {tile}"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_world(tmp_path_factory.mktemp("pristine") / "world", size=64, years=(2018, 2019))


def configured(case: Case, pristine: Path, folder: Path) -> Path:
    """Write the small configuration with the lines of a case in place of its own."""
    shutil.copytree(pristine, folder / "world")
    if case.prepare:
        case.prepare(folder)
    config = write_config(folder / "mlc.toml", folder / "world", folder / "out")
    head, *tables = re.split(r"(?m)^(?=\[)", config.read_text(encoding="utf-8"))
    keys = [line.partition(" =")[0] for line in case.lines.splitlines()]
    own = {"": head, **{re.match(r"\[(\w+)\]", t)[1]: t for t in tables}}  # type: ignore[index]
    kept = [line for line in own[case.table].splitlines() if line.partition(" =")[0] not in keys]
    own[case.table] = "\n".join([*kept, case.lines, ""])
    config.write_text("".join(own.values()), encoding="utf-8")
    return config


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name.replace(" ", "-"))
def test_kind_5_plan_refuses_what_a_step_would_have_found(case: Case, pristine: Path, tmp_path: Path) -> None:
    config = configured(case, pristine, tmp_path)
    result = CliRunner().invoke(app, ["plan", str(config)])
    *_, last = result.output.strip().splitlines()
    assert result.exit_code == 2 and last.startswith("error: ") and "Traceback" not in result.output, result.output
    assert re.search(case.words, last), last
    reached: list[str] = []
    with pytest.raises(mlc.InputError, match=case.words):
        mlc.run(config, scheduler=case.scheduler, listener=lambda e: reached.append(e.step))
    assert case.step not in reached


def test_what_the_table_changes_is_fine_as_it_is(pristine: Path, tmp_path: Path) -> None:
    """The legend and the crosswalk of the table without its changes, together."""
    case = Case("", "", "product", f'legend = "legend.csv"\n{OWN_CROSSWALK}', "", crosswalk())
    config = configured(case, pristine, tmp_path)
    legend()(tmp_path / "world")
    shutil.move(tmp_path / "world/own.csv", tmp_path / "legend.csv")
    result = CliRunner().invoke(app, ["plan", str(config)])
    assert result.exit_code == 0, result.output
