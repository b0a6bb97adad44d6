"""Reference samples on disk: the folder, tables of points in every format, and the two commands."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app
from mlc_dask.io import geopackage
from mlc_dask.io.point_tables import read_points
from mlc_dask.io.reference_folder import read_labels, read_sample
from tests.test_assess import YEARS, figure, interpreted
from tests.test_reference_sample import labelled

runner = CliRunner()
SIZE = 200


def command(*words: object) -> str:
    """Output of a command that must succeed."""
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> str:
    """The only line of a command that must be refused."""
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == 2, result.output
    (line,) = result.output.strip().splitlines()
    assert line.startswith("error: "), line
    return line


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Maps of 60 × 60 pixels, and a sample of them."""
    folder = tmp_path_factory.mktemp("drawn")
    mlc.write_maps(labelled()[0], folder / "maps")
    told = command("sample", folder / "maps", folder / "sample", "--size", SIZE, "--seed", 4)
    assert f"{SIZE} points, expected standard error of the accuracy 0.0" in told
    return folder / "maps", folder / "sample"


@pytest.fixture
def sample(drawn: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the sample, with the truth as the labels of an interpreter."""
    folder = tmp_path / "sample"
    (folder / "labels").mkdir(parents=True)
    for file in drawn[1].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    write_labels(folder, "anna")
    return folder


def truth_at(folder: Path) -> pd.DataFrame:
    maps, truth = labelled()
    return interpreted(pd.read_csv(folder / "points.csv"), maps, truth)


def write_labels(folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda t: t) -> None:
    columns = [f"label_{year}" for year in YEARS]
    rows = truth_at(folder).melt("id", columns, "year", "class")
    rows["year"] = rows.year.str.removeprefix("label_")
    change(rows.assign(time="2026-01-01T00:00:00")).to_csv(folder / "labels" / f"{name}.csv", index=False)


def test_a_sample_is_a_folder_that_others_can_read(drawn: tuple[Path, Path]) -> None:
    maps, folder = drawn
    points, strata = pd.read_csv(folder / "points.csv"), pd.read_csv(folder / "strata.csv")
    assert list(points) == ["id", "x", "y", "lon", "lat", "stratum"] and len(points) == SIZE
    assert list(strata) == ["stratum", "pixels", "sampled", "expected_share", "expected_se"]
    assert strata.pixels.sum() == 3600 and strata.sampled.sum() == SIZE
    design = json.loads((folder / "design.json").read_text())
    assert design["years"] == list(YEARS) and design["seed"] == 4 and "EPSG" in design["crs"]
    assert design["grid"] == {"left": 600_000, "top": 5_100_000, "pixel": 10, "width": 60, "height": 60}
    assert [(c["code"], c["name"]) for c in design["classes"]] == [(1, "A"), (2, "B"), (3, "C")]
    assert list(design["fingerprints"]) == design["layers"] == ["multi_year_filtered", "single_year_filtered"]
    again = mlc.sample_reference(mlc.open_maps(maps), size=SIZE, seed=4)
    pd.testing.assert_frame_equal(points, again.points)
    assert "holds a sample; its labels would be lost" in refused("sample", maps, folder)


def test_the_geopackage_is_one(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    points = pd.read_csv(drawn[1] / "points.csv")
    path = drawn[1] / "points.gpkg"
    assert path.read_bytes()[68:72] == b"GPKG"
    table, crs = geopackage.read_points(path)
    assert crs == "EPSG:32632"
    pd.testing.assert_frame_equal(table[list(points)], points, check_dtype=False)
    with sqlite3.connect(path) as file:
        assert not file.execute("PRAGMA foreign_key_check").fetchall()
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    own = rasterio.crs.CRS.from_string("+proj=tmerc +lat_0=3 +lon_0=7.5 +ellps=GRS80 +units=m")
    geopackage.write_points(points, own.to_wkt(), tmp_path / "own.gpkg")
    _, other = geopackage.read_points(tmp_path / "own.gpkg")
    assert other is not None and rasterio.crs.CRS.from_user_input(other) == own


def test_assess_writes_the_tables_and_says_what_holds(drawn: tuple[Path, Path], sample: Path) -> None:
    told = command("assess", drawn[0], sample)
    strata = pd.read_csv(sample / "strata.csv")
    maps, _ = labelled()
    wanted = mlc.assess(maps, truth_at(sample), strata=strata)
    for name in ("accuracy", "areas", "change", "trajectories", "differences"):
        written = pd.read_csv(sample / "assessment" / f"{name}.csv", keep_default_na=True)
        pd.testing.assert_frame_equal(written.fillna({"note": ""}), getattr(wanted, name), check_dtype=False)
    keys = {"layer": "multi_year_filtered", "years": "all years", "measure": "overall"}
    value, low, high = (figure(wanted.accuracy, column, **keys) for column in ("value", "low", "high"))
    assert f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in told
    (row,) = wanted.differences.query("years == 'all years' and measure == 'accuracy'").to_dict("records")
    assert f"accuracy, multi-year, filtered minus single-year, filtered: {100 * row['value']:+.1f} [" in told
    (area,) = wanted.areas.query("years == 'all years' and `class` == 'C'").hectares
    assert re.search(rf"\n C +{area:.0f} +\d+ … \d+", told)
    assert "note: 3 comparisons: one interval in twenty excludes 0" in told and told.count("note:") == 1


def test_interpreters_are_compared_and_one_is_used(drawn: tuple[Path, Path], sample: Path) -> None:
    write_labels(sample, "ben", lambda rows: rows.iloc[:150].assign(**{"class": 1}))
    told = " ".join(command("assess", drawn[0], sample).split())
    agreed = pd.read_csv(sample / "assessment" / "interpreters.csv").iloc[0]
    assert (agreed["first"], agreed["second"], agreed["labels"]) == ("anna", "ben", 150)
    assert f"anna and ben agree on {agreed.share:.3f} of 150 labels, kappa" in told
    assert "labels of anna, of 2 interpreters (anna, ben); --interpreter chooses another" in told
    other = " ".join(command("assess", drawn[0], sample, "--interpreter", "ben").split())
    assert "no point has labels of successive years" in other
    assert "no labels of interpreter 'bne'; did you mean 'ben'?" in refused(
        "assess", drawn[0], sample, "--interpreter", "bne"
    )


def test_the_last_answer_counts_and_an_empty_one_is_none(drawn: tuple[Path, Path], sample: Path) -> None:
    plain = command("assess", drawn[0], sample)
    write_labels(sample, "anna", lambda rows: pd.concat([rows.assign(**{"class": 3}), rows]))
    assert command("assess", drawn[0], sample) == plain
    write_labels(sample, "anna")
    labels = (sample / "labels" / "anna.csv").read_text().splitlines()
    rows = [line for line in labels[1:] if not re.match("7,", line)]
    (sample / "labels" / "anna.csv").write_text("\n".join([labels[0], "7,2018,,", *rows]))
    assert "199 of 200 points have a label; the estimates assume" in " ".join(
        command("assess", drawn[0], sample).split()
    )


def test_a_torn_last_line_is_no_label(sample: Path) -> None:
    """A writer that was killed leaves `…,7,2018,3` of a class 31: the line is ignored, as where labels are given."""
    path = sample / "labels" / "anna.csv"
    write_labels(sample, "anna", lambda rows: rows.assign(confidence=1)[["id", "year", "class", "confidence", "time"]])
    whole = path.read_bytes()
    points, _, _ = read_sample(sample)
    before = read_labels(sample, points)["anna"]
    for torn in (b"7,2018,1", b"7,2018", b"7,2018,99,1,2026-0", b"7"):
        path.write_bytes(whole + torn)
        pd.testing.assert_frame_equal(read_labels(sample, points)["anna"], before)


def spoil_labels(old: str, new: str) -> Callable[[Path], None]:
    def spoil(sample: Path) -> None:
        path = sample / "labels" / "anna.csv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return spoil


def no_labels(sample: Path) -> None:
    (sample / "labels" / "anna.csv").unlink()


def no_design(sample: Path) -> None:
    (sample / "design.json").write_text('{"crs": ')


def no_points(sample: Path) -> None:
    (sample / "points.csv").unlink()


def doubled_id(sample: Path) -> None:
    path = sample / "points.csv"
    path.write_text(path.read_text().replace("\n2,", "\n1,", 1))


def no_stratum(sample: Path) -> None:
    path = sample / "strata.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "alternating" not in line))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_labels("\n7,", "\n700,"), r"anna.csv, line 8: id 700 is none of the points"),
        (spoil_labels("\n7,", "\n7.5,"), r"anna.csv, line 8: id '7.5' is no whole number"),
        (spoil_labels("\n7,2018,", "\n7,2018,9"), r"labels that are not in the legend: 9\d"),
        (spoil_labels("year", "jahr"), r"anna.csv: no column year; the table needs class, id, year"),
        (no_labels, r"labels has no labels; interpret the points, or write NAME.csv with id, year, class"),
        (no_design, r"design.json is missing or damaged; draw the sample again"),
        (no_points, r"holds no points.csv; draw a sample with mlc-dask sample"),
        (doubled_id, r"points.csv, line 3: id 1 occurs twice, first in line 2"),
        (no_stratum, r"strata without a size: id \d+ \('alternating'\)"),
    ],
)
def test_a_folder_with_faults_is_told_of_in_one_line(
    spoil: Callable[[Path], None], told: str, drawn: tuple[Path, Path], sample: Path
) -> None:
    spoil(sample)
    assert re.search(told, refused("assess", drawn[0], sample))
    assert not (sample / "assessment").exists()


# Tables of the user's own


def wide(points: pd.DataFrame, path: Path) -> None:
    points.drop(columns=["id", "stratum", "lon", "lat"]).to_csv(path, index=False)


def german(points: pd.DataFrame, path: Path) -> None:
    plain = points.drop(columns=["id", "stratum", "lon", "lat"]).rename(columns=lambda c: c.replace("label_", "Class "))
    path.write_bytes(b"\xef\xbb\xbf" + plain.to_csv(index=False, sep=";", decimal=",").encode())


def long(points: pd.DataFrame, path: Path) -> None:
    columns = [f"label_{year}" for year in YEARS]
    rows = points.melt(["id", "x", "y"], columns, "year", "label")
    rows.assign(year=rows.year.str.removeprefix("label_")).to_csv(path, index=False)


def degrees(points: pd.DataFrame, path: Path) -> None:
    points.drop(columns=["id", "stratum", "x", "y"]).to_csv(path, index=False)


def as_geopackage(points: pd.DataFrame, path: Path) -> None:
    geopackage.write_points(points.drop(columns=["id", "stratum", "lon", "lat"]), "EPSG:32632", path)


def as_geoparquet(points: pd.DataFrame, path: Path, crs: object = "absent") -> None:
    pa = pytest.importorskip("pyarrow", reason="GeoParquet needs pyarrow")
    import struct

    import pyarrow.parquet

    places = [struct.pack("<BIdd", 1, 1, x, y) for x, y in zip(points.lon, points.lat, strict=True)]
    columns = {c: points[c] for c in points if c.startswith("label_")} | {"geometry": places}
    column = {"encoding": "WKB", "geometry_types": ["Point"]} | ({} if crs == "absent" else {"crs": crs})
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = pa.table(columns).replace_schema_metadata({"geo": json.dumps(geo)})
    pyarrow.parquet.write_table(table, path)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (wide, "wide.csv"),
        (german, "german.csv"),
        (long, "long.csv"),
        (degrees, "degrees.csv"),
        (as_geopackage, "points.gpkg"),
        (as_geoparquet, "points.parquet"),
    ],
)
def test_points_of_every_format_give_the_same_figures(
    write: Callable[[pd.DataFrame, Path], None], name: str, drawn: tuple[Path, Path], sample: Path, tmp_path: Path
) -> None:
    points = truth_at(sample)
    write(points, tmp_path / name)
    told = " ".join(command("assess", drawn[0], tmp_path / name).split())
    assert "no strata: the points are taken as a simple random sample of the 3,600 pixels" in told
    found = pd.read_csv(tmp_path / "assessment" / "accuracy.csv").fillna({"note": ""})
    wanted = mlc.assess(labelled()[0], points.drop(columns=["id", "stratum"])).accuracy
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)


def test_own_strata_are_a_table(drawn: tuple[Path, Path], sample: Path, tmp_path: Path) -> None:
    points = truth_at(sample)
    points.drop(columns=["lon", "lat"]).to_csv(tmp_path / "points.csv", index=False)
    told = command("assess", drawn[0], tmp_path / "points.csv", "--strata", sample / "strata.csv")
    assert "no strata" not in told and told.count("note:") == 1
    line = refused("assess", drawn[0], tmp_path / "points.csv")
    assert "the points have strata, but the strata have no sizes" in line


def no_crs(points: pd.DataFrame, folder: Path) -> Path:
    as_geopackage(points, folder / "a.gpkg")
    with sqlite3.connect(folder / "a.gpkg") as file:
        file.execute("UPDATE gpkg_geometry_columns SET srs_id = -1")
    return folder / "a.gpkg"


def null_crs(points: pd.DataFrame, folder: Path) -> Path:
    as_geoparquet(points, folder / "a.parquet", crs=None)
    return folder / "a.parquet"


def not_a_geopackage(points: pd.DataFrame, folder: Path) -> Path:
    (folder / "a.gpkg").write_bytes(b"PK\x03\x04" * 300)
    return folder / "a.gpkg"


def not_parquet(points: pd.DataFrame, folder: Path) -> Path:
    (folder / "a.parquet").write_bytes(b"PK\x03\x04" * 300)
    return folder / "a.parquet"


def a_line(points: pd.DataFrame, folder: Path) -> Path:
    as_geopackage(points, folder / "a.gpkg")
    with sqlite3.connect(folder / "a.gpkg") as file:
        (place,) = file.execute("SELECT geom FROM points WHERE fid = 3").fetchone()
        file.execute("UPDATE points SET geom = ? WHERE fid = 3", (place[:9] + b"\x02" + place[10:],))
    return folder / "a.gpkg"


def no_place(points: pd.DataFrame, folder: Path) -> Path:
    as_geopackage(points, folder / "a.gpkg")
    with sqlite3.connect(folder / "a.gpkg") as file:
        file.execute("UPDATE points SET geom = NULL WHERE fid = 3")
    return folder / "a.gpkg"


def no_y(points: pd.DataFrame, folder: Path) -> Path:
    points.drop(columns=["y", "lat", "stratum"]).to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


def no_number(points: pd.DataFrame, folder: Path) -> Path:
    plain = points.drop(columns="stratum").astype({"x": object})
    plain.loc[3, "x"] = "east"
    plain.to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


def no_rows(points: pd.DataFrame, folder: Path) -> Path:
    (folder / "a.csv").write_text("x,y,label_2018\n")
    return folder / "a.csv"


def two_labels(points: pd.DataFrame, folder: Path) -> Path:
    long(points, folder / "a.csv")
    text = (folder / "a.csv").read_text().splitlines()
    (folder / "a.csv").write_text("\n".join([*text, text[4]]))
    return folder / "a.csv"


def two_columns(points: pd.DataFrame, folder: Path) -> Path:
    points.assign(**{"2019": 1}).to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


def no_year(points: pd.DataFrame, folder: Path) -> Path:
    long(points, folder / "a.csv")
    (folder / "a.csv").write_text((folder / "a.csv").read_text().replace(",2018,", ",18,"))
    return folder / "a.csv"


def nothing(points: pd.DataFrame, folder: Path) -> Path:
    return folder / "nothing.csv"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (no_crs, "a.gpkg has no CRS; assign the one of its coordinates, or give it with --crs"),
        (null_crs, "a.parquet has no CRS"),
        (not_a_geopackage, "a.gpkg cannot be read as a GeoPackage"),
        (not_parquet, "a.parquet cannot be read as Parquet"),
        (a_line, "a.gpkg, row 3: the geometry is no single point"),
        (no_place, "a.gpkg, row 3: there is no point"),
        (no_y, "a.csv: no column y; the table needs x and y, or lon and lat"),
        (no_number, "a.csv, line 5: x 'east' is no number"),
        (no_rows, "a.csv has no points"),
        (two_labels, "id 4 has two labels of 2018; keep one row"),
        (two_columns, "a.csv: two columns of 2019; keep one column"),
        (no_year, "a.csv: '18' is no year; write four digits"),
        (nothing, "nothing.csv does not exist; give the path of a CSV"),
    ],
)
def test_tables_with_faults_are_told_of_in_one_line(
    spoil: Callable[[pd.DataFrame, Path], Path], told: str, drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    path = spoil(truth_at(drawn[1]), tmp_path)
    assert told in refused("assess", drawn[0], path)
    assert not (tmp_path / "assessment").exists()


def test_a_crs_is_given_once(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    points = truth_at(drawn[1])
    path = no_crs(points, tmp_path)
    assert read_points(path, "EPSG:32632")[1] == "EPSG:32632"
    as_geopackage(points, tmp_path / "b.gpkg")
    line = refused("assess", drawn[0], tmp_path / "b.gpkg", "--crs", "EPSG:4326")
    assert "b.gpkg is in EPSG:32632, not in EPSG:4326; leave out --crs" in line
    assert "has its own strata and CRS" in refused("assess", drawn[0], drawn[1], "--crs", "EPSG:4326")


def test_other_maps_than_those_of_the_strata_are_told_of(sample: Path, tmp_path: Path) -> None:
    mlc.write_maps(labelled(seed=1)[0], tmp_path / "maps")
    told = " ".join(command("assess", tmp_path / "maps", sample).split())
    assert "the strata are from other maps than these; the estimates hold" in told
    assert np.isfinite(pd.read_csv(sample / "assessment" / "accuracy.csv").value).any()
