"""Tables and paths as people write them: kind 6 of the faults of real inputs."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np
import pytest

import mlc_dask as mlc
from mlc_dask.config import load_config
from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND, Crosswalk, Legend
from mlc_dask.data.tables import read_table
from tests.test_geotiff import write

ROWS = [["code", "name", "colour"], ["1", "Grünland", "#CC3333"], ["12", "Wald", "#063"]]


def table(delimiter: str, *, end: str = "\n", head: str = "", tail: str = "") -> str:
    return head + end.join(delimiter.join(row) for row in ROWS) + end + tail


@pytest.mark.parametrize(
    "content",
    [
        table(",").encode(),
        table(";").encode("utf-8-sig"),
        table("\t", end="\r\n").encode(),
        table(";", end="\r\n", head="sep=;\r\n").encode("cp1252"),
        codecs.BOM_UTF16_LE + table("\t", end="\r\n").encode("utf-16-le"),
        table(" ; ", head="\n", tail=";;\n\n").encode(),
        table(",").replace("code,name", "Code, NAME").replace("Wald", '"Wald"').replace("12,", "12.0,").encode(),
    ],
)
def test_kind_6_one_legend_in_the_forms_that_spreadsheets_write(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "legend.csv"
    path.write_bytes(content)
    assert Legend.from_csv(path).to_dict() == {
        "1": {"name": "Grünland", "colour": "#cc3333"}, "12": {"name": "Wald", "colour": "#006633"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column code, colour, name; .* its first line has nothing"),
        ("code;name\n1;a\n", r"no column colour; .* its first line has code, name \(separated by ';'\)"),
        ("code,name,colour\n1,Wood, evergreen,#112233\n", "legend.csv, line 2: 4 cells in 3 columns; put .* quotation"),
        ("code,name,colour\n\n1,Wood,\n", "legend.csv, line 3: colour '' is not #rrggbb"),
        ("code,name,colour\n1,Wood,green\n", "legend.csv, line 2: colour 'green' is not #rrggbb"),
        ("code,name,colour\n1,,#112233\n", "legend.csv, line 2: the class has no name"),
        ("code,name,colour\n1.5,Wood,#112233\n", "legend.csv, line 2: '1.5' is not an integer code"),
    ],
)
def test_kind_5_a_legend_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "legend.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        Legend.from_csv(tmp_path / "legend.csv")
    assert "\n" not in str(error.value)


def test_kind_6_a_crosswalk_with_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "crosswalk.csv"
    path.write_bytes(
        "Code;Label;Class;Quota;Reason\r\n7;Stra\xdfe;Artificial;0,25;schmal\r\n9;;;;Wolken\r\n".encode("cp1252")
    )
    known = Crosswalk.from_csv(path, DEFAULT_LEGEND).by_code
    assert (known[7].quota, known[7].label, known[9].target) == (0.25, "Straße", 0)


def test_kind_6_quoted_cells_may_span_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id,note\na,"one\ntwo; three"\nb,\n', encoding="utf-8")
    rows = read_table(tmp_path / "t.csv", ("id",))
    assert [(line, cells["note"]) for line, cells in rows] == [(3, "one\ntwo; three"), (4, "")]


def test_kind_6_dates_that_a_spreadsheet_wrote(tmp_path: Path) -> None:
    write(tmp_path / "scenes" / "a" / "B04.tif", np.full((4, 4), 900, np.uint16))
    (tmp_path / "dates.csv").write_bytes("ID;Datetime_UTC;Notiz\r\na;2018-05-03;geprüft\r\n".encode("cp1252"))
    settings = {"bands": ("B04",), "mask": None, "index_column": "datetime_utc"}
    source = mlc.GeoTiff(folder=tmp_path / "scenes", index=tmp_path / "dates.csv", **settings)
    assert [a.time.date().isoformat() for a in source.catalogue().acquisitions] == ["2018-05-03"]


MINIMAL = (
    'output = "{output}"\n[source]\nkind = "geotiff"\nfolder = "{home}/scenes"\n[product]\npath = "{home}/map.tif"\n'
)


def test_kind_6_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "c.toml"
    text = MINIMAL.format(output="~/maps", home="~") + 'legend = "~/l.csv"\n[evaluation]\ntruth = "~/t_{year}.tif"\n'
    path.write_text(text, encoding="utf-8-sig")
    config, home = load_config(path), tmp_path / "home"
    assert config.output == home / "maps" and config.source["folder"] == str(home / "scenes")
    assert config.product is not None and config.product.path == home / "map.tif"
    assert config.product.legend == home / "l.csv" and config.evaluation.truth == str(home / "t_{year}.tif")


def test_kind_6_a_configuration_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"# Gr\xfcnland\n" + MINIMAL.format(output="out", home=".").encode())
    with pytest.raises(InputError, match=r"c\.toml is not UTF-8 text; save it as UTF-8"):
        load_config(path)
