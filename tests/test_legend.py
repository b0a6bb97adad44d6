"""Legend and crosswalks: the shipped tables against the list of the method, and a message for every fault in a CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from mlc_dask.data import legend as module
from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND, Crosswalk, LandCoverClass, Legend, legend_of_crosswalk

TABLES = Path(module.__file__).parent / "crosswalks"
HEADER = "code,label,class,quota,reason\n"

# method section 10, by CLC code.
CORINE = {
    "Artificial": (111, 112, 121, 122, 123), "Mineral": (131,), "Crops": (211, 212, 213, 221, 222, 223),
    "Grass": (231, 321), "Broadleaves": (311,), "Conifers": (312,), "Shrubland": (322, 323), "Sand": (331,),
    "Rocks": (332,), "Snow": (335,), "Water": (511, 512, 521, 522, 523),
}  # fmt: skip
QUARTER = {112, 122, 223, 511, 522}
EXCLUDED = {
    124, 132, 133, 334, 141, 142, 241, 242, 243, 244, 313, 324, 333, 411, 412, 421, 422, 423,
}  # fmt: skip
WORLDCOVER = {
    10: "Tree",
    60: "Bare",
    20: "Shrubland",
    30: "Grass",
    40: "Crops",
    50: "Artificial",
    70: "Snow",
    80: "Water",
}


def write(folder: Path, text: str, name: str = "own.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_default_legend_is_the_papers() -> None:
    assert set(DEFAULT_LEGEND.names.values()) == set(CORINE)
    assert DEFAULT_LEGEND.codes == tuple(range(1, 12)) and DEFAULT_LEGEND.size == 12
    assert len(set(DEFAULT_LEGEND.colours.values())) == 11
    assert all(len(c) == 7 and int(c[1:], 16) >= 0 and c[0] == "#" for c in DEFAULT_LEGEND.colours.values())
    assert Legend.from_dict(DEFAULT_LEGEND.to_dict()) == DEFAULT_LEGEND
    assert DEFAULT_LEGEND.code(" conifers ") == DEFAULT_LEGEND.code("Conifers")


def test_corine_has_all_44_codes() -> None:
    known = sorted([c for codes in CORINE.values() for c in codes] + sorted(EXCLUDED))
    assert len(known) == 44
    assert sorted(e.code for e in Crosswalk.named("corine-clc", DEFAULT_LEGEND).entries) == known
    assert sorted(e.code for e in Crosswalk.named("corine", DEFAULT_LEGEND).entries) == list(range(1, 45))


def test_corine_follows_the_method() -> None:
    crosswalk = Crosswalk.named("corine-clc", DEFAULT_LEGEND)
    for name, codes in CORINE.items():
        for code in codes:
            entry = crosswalk.by_code[code]
            assert entry.target == DEFAULT_LEGEND.code(name), code
            assert entry.quota == (0.25 if code in QUARTER else 1.0), code
            assert bool(entry.reason) == (code in QUARTER), f"{code}: a lower quota needs a reason"
    for code in EXCLUDED:
        entry = crosswalk.by_code[code]
        assert (entry.target, entry.quota) == (0, 0.0) and entry.reason, code


def test_grid_codes_and_clc_codes_agree() -> None:
    grid, clc = (Crosswalk.named(n, DEFAULT_LEGEND) for n in ("corine", "corine-clc"))
    ordered = sorted(clc.entries, key=lambda e: e.code)
    for position, entry in enumerate(ordered, 1):
        other = grid.by_code[position]
        assert (other.label, other.target, other.quota, other.reason) == (
            entry.label, entry.target, entry.quota, entry.reason,
        )  # fmt: skip
    assert np.array_equal(grid.table()[1:45], clc.table()[[e.code for e in ordered]])


def test_worldcover_follows_the_method() -> None:
    legend = legend_of_crosswalk("worldcover")
    crosswalk = Crosswalk.named("worldcover", legend)
    assert set(crosswalk.by_code) == {*WORLDCOVER, 90, 95, 100}
    assert set(legend.names.values()) == set(WORLDCOVER.values())
    for code, entry in crosswalk.by_code.items():
        assert entry.target == (legend.code(WORLDCOVER[code]) if code in WORLDCOVER else 0), code
        assert bool(entry.reason) == (code not in WORLDCOVER), code


def test_classes_of_both_legends_have_one_code_and_colour() -> None:
    paper, worldcover = DEFAULT_LEGEND, legend_of_crosswalk("worldcover")
    for name in set(paper.names.values()) & set(worldcover.names.values()):
        code = paper.code(name)
        assert worldcover.code(name) == code and worldcover.colours[code] == paper.colours[code]
    assert not (set(worldcover.codes) - set(paper.codes)) & set(paper.codes)
    with pytest.raises(InputError, match="class 'Tree' is not in the legend"):
        Crosswalk.named("worldcover", paper)


@pytest.mark.parametrize("named", ["corine", "corine-clc"])
def test_corine_is_recognised_by_its_codes(named: str) -> None:
    table = Crosswalk.named(named, DEFAULT_LEGEND)
    assert table.fitting([1, 12, 44, 48]).name == table.fitting([1]).name
    assert table.fitting([0, 1, 12]).by_code.keys() == Crosswalk.named("corine", DEFAULT_LEGEND).by_code.keys()
    assert table.fitting([0, 111, 523]).by_code.keys() == Crosswalk.named("corine-clc", DEFAULT_LEGEND).by_code.keys()
    assert table.fitting([777]) == table.fitting([]) == table
    mixed = table.fitting([1, 111])
    with pytest.raises(InputError, match="codes outside"):
        mixed.check({1: 5, 111: 5}, "mixed.tif")


@pytest.mark.parametrize(
    ("name", "no_data"), [("corine", (-128, -1, 0, 48, 49, 50, 128, 255)), ("corine-clc", (-128, -1, 0, 990, 995, 999))]
)
def test_lookups(name: str, no_data: tuple[int, ...]) -> None:
    crosswalk = Crosswalk.named(name, DEFAULT_LEGEND)
    table, quotas = crosswalk.table(), crosswalk.quotas()
    assert table.shape == quotas.shape == (65536,) and table.dtype == quotas.dtype == np.uint8
    assert set(np.flatnonzero(table)) == {e.code for e in crosswalk.entries if e.target}
    assert sorted(np.unique(quotas)) == [0, 25, 100]
    assert not table[[code for code in no_data if code >= 0]].any()
    crosswalk.check(dict.fromkeys(no_data, 9), "map.tif")


def test_unknown_codes_are_listed_with_their_counts() -> None:
    crosswalk = Crosswalk.named("corine", DEFAULT_LEGEND)
    with pytest.raises(InputError, match=r"old.tif: codes outside the corine legend: 45 \(7 px\), 200 \(3 px\); add"):
        crosswalk.check({200: 3, 12: 5, 45: 7, 0: 2, 255: 9}, "old.tif")


def test_own_crosswalk(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER + '7,"Wood, broad",broadleaves,,\n9,Lake,Water,0.5,shores\n\n12,Bog,,,no class\n'
    crosswalk = Crosswalk.from_csv(write(tmp_path, text), DEFAULT_LEGEND)
    assert crosswalk.name == "own"
    assert [(e.code, e.label, e.target, e.quota) for e in crosswalk.entries] == [
        (7, "Wood, broad", 7, 1.0), (9, "Lake", 10, 0.5), (12, "Bog", 0, 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("code;label;class;reason\n1;a;Water;\n", ("no column quota", "the table needs")),
        (HEADER + "1,a,Watter,1,\n", ("code 1", "'Watter'", "Water")),
        (HEADER + "x,a,Water,1,\n", ("code x", "'x' is not an integer", "whole number")),
        (HEADER + "1.5,a,Water,1,\n", ("'1.5'", "whole number")),
        (HEADER + "70000,a,Water,1,\n", ("70000", "0..65535")),
        (HEADER + "-1,a,Water,1,\n", ("-1", "0..65535")),
        (HEADER + "1,a,Water,a quarter,\n", ("code 1", "'a quarter'", "between 0 and 1")),
        (HEADER + "1,a,Water,25,\n", ("code 1", "25", "between 0 and 1")),
        (HEADER + "1,a,Water,nan,\n", ("code 1", "nan", "between 0 and 1")),
        (HEADER + "1,a,,,\n", ("code 1", "neither a class nor a reason", "reason for excluding")),
        (HEADER + "1,a,Water,1,\n1,b,Grass,1,\n", ("code 1", "twice", "keep one row")),
    ],
)
def test_bad_crosswalks(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        Crosswalk.from_csv(path, DEFAULT_LEGEND)
    message = str(error.value)
    assert (
        message.startswith((f"{path}: ", f"{path}, line ")) and "\n" not in message and all(p in message for p in parts)
    ), message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("code,name\n1,Water\n", ("no column colour", "code, colour, name")),
        ("code,name,colour\n", ("no classes", "two rows")),
        ("code,name,colour\n0,Water,#000000\n", ("0", "1..254", "renumber")),
        ("code,name,colour\n255,Water,#000000\n", ("255", "1..254", "renumber")),
        (
            "code,name,colour\n1,A,#000000\n1,B,#000001\n",
            ("line 3: code 1 occurs twice, first in line 2", "keep one row"),
        ),
        ("code,name,colour\n1,A,#000000\n2,A,#000001\n", ("name A", "twice", "unique")),
        ("code,name,colour\none,A,#000000\n", ("'one'", "whole number")),
    ],
)
def test_bad_legends(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = write(tmp_path, text, "legend.csv")
    with pytest.raises(InputError) as error:
        Legend.from_csv(path)
    message = str(error.value)
    assert message.startswith((f"{path}: ", f"{path}, line ")) and all(p in message for p in parts), message


def test_unreadable_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv does not exist; give the path"):
        Crosswalk.from_csv(tmp_path / "none.csv", DEFAULT_LEGEND)
    with pytest.raises(InputError, match="is a folder; give the path of a CSV"):
        Legend.from_csv(tmp_path)
    path = tmp_path / "latin.csv"
    path.write_bytes("code,name,colour\n1,Forêt,#000000\n".encode("latin-1"))
    assert Legend.from_csv(path).names == {1: "Forêt"}


def test_unknown_crosswalk_names_the_known() -> None:
    with pytest.raises(InputError, match="'corin' is neither shipped nor the path of a CSV; did you mean 'corine'"):
        Crosswalk.named("corin", DEFAULT_LEGEND)


def test_a_smaller_legend_refuses_the_shipped_crosswalk() -> None:
    small = Legend((LandCoverClass(1, "Water", "#0000ff"), LandCoverClass(2, "Land", "#00ff00")))
    with pytest.raises(
        InputError, match=r"corine.csv, line 2: code 1: class 'Artificial' is not in the .*; it has Water"
    ):
        Crosswalk.named("corine", small)


def test_shipped_tables_are_plain_csv() -> None:
    for path in TABLES.glob("*.csv"):
        rows = list(csv.reader(path.open(newline="", encoding="utf-8")))
        assert len({len(row) for row in rows}) == 1, path
