"""Tables and paths as people write them: kind 6 of the faults of real inputs."""

from __future__ import annotations

import codecs
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app
from mlc_dask.config import load_config
from mlc_dask.data.errors import Doubt, InputError
from mlc_dask.data.legend import DEFAULT_LEGEND, Crosswalk, Legend
from mlc_dask.data.tables import read_table
from tests.runs import write_config
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
    rows = read_table(tmp_path / "t.csv", ("id",), key="id")
    assert [(line, cells["note"]) for line, cells in rows] == [(3, "one\ntwo; three"), (4, "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('id,note\na,"one\nb,two\nc,"three"\n', "t.csv, line 2: .* close its quotation marks"),
        ('id,note\na,one\nb,"two\nc,three\n', "t.csv, line 3: unexpected end of data; close its quotation marks"),
        ("id,note\na,one\n\na.0,two\n", r"t.csv, line 4: id a\.0 occurs twice, first in line 2; keep one row"),
        ("id,note,ID\na,one,b\n", "t.csv: the column id occurs twice; keep one, or rename the other"),
    ],
)
def test_kind_6_what_a_table_would_lose_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        read_table(tmp_path / "t.csv", ("id", "note"), key="id")
    assert "\n" not in str(error.value)


def test_kind_6_a_guessed_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("id;note\na;one\nb;Straße\n".encode("cp1252"))
    with pytest.warns(Doubt, match="t.csv is not UTF-8 text and is read as Windows-1252, e.g. 'b;Straße'; .* as UTF-8"):
        assert read_table(path, ("id",), key="id")[1].cells["note"] == "Straße"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            path.write_bytes("id;note\nb;Straße\n".encode(encoding))
            assert read_table(path, ("id",), key="id")[0].cells["note"] == "Straße"


def test_kind_6_a_plan_tells_the_guess_in_one_line(pristine: Path, tmp_path: Path) -> None:
    rows = "".join(f"{c.code},{c.name},{c.colour}\n" for c in DEFAULT_LEGEND.classes)
    (tmp_path / "legend.csv").write_bytes(f"code,name,colour\n{rows}99,Höhen,#123456\n".encode("cp1252"))
    config = write_config(tmp_path / "mlc.toml", pristine, tmp_path / "out")
    config.write_text(config.read_text().replace("[product]\n", '[product]\nlegend = "legend.csv"\n'))
    result = CliRunner().invoke(app, ["plan", str(config)])
    told = [line for line in result.output.splitlines() if "Windows-1252" in line]
    assert result.exit_code == 0 and len(told) == 1, result.output
    assert told[0].startswith("warning: ") and "'99,Höhen,#123456'" in told[0] and "tables.py" not in result.output


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
