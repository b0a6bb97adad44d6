"""What a maintainer reads names files and code that are there, and its recipes work as they are written."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio
from affine import Affine

from mlc_dask.classifiers import CLASSIFIERS, load_model, save_model
from mlc_dask.config import Config
from mlc_dask.data.legend import DEFAULT_LEGEND, Crosswalk
from mlc_dask.io.sources import SOURCES
from mlc_dask.pipeline.inputs import source_of
from tests.test_benchmarks import benchmark
from tests.test_classifiers import make_set, pixels, same_bytes

pytestmark = pytest.mark.usefixtures("parsing")
ROOT = Path(__file__).parents[1]
CONTRIBUTING, ARCHITECTURE = ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"
DECISIONS = ROOT / "docs" / "decisions"
PLACES = (ROOT, ROOT / "mlc_dask", ROOT / "docs", ROOT / "mlc_dask" / "io" / "patchstore")
SOURCE = "\n".join(p.read_text("utf-8") for folder in ("mlc_dask", "tests") for p in (ROOT / folder).rglob("*.py"))


def prose(page: Path) -> str:
    """Text of a page without its blocks of code and its links, which another test follows."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"\[[^\]\n]*\]\([^)\s]+\)", "", text)


def block(heading: str, language: str) -> str:
    """The block of code below a heading of CONTRIBUTING.md."""
    section = CONTRIBUTING.read_text(encoding="utf-8").partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
    return str(found)


def recipe(heading: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The block of Python below a heading, as a module."""
    name = f"recipe_{heading.split()[1]}"
    (folder / f"{name}.py").write_text(block(heading, "python"), encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module(name)


def marked(page: Path) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", prose(page)))


def missing_paths(words: set[str]) -> set[str]:
    """Those of `words` that look like files or folders of the repository, and are none."""
    shaped = {w for w in words if re.fullmatch(r"[\w./-]+", w) and ("/" in w or re.search(r"\.(py|md|toml|csv)$", w))}
    return {w for w in shaped if not any((place / w).exists() for place in PLACES)}


def missing_names(words: set[str]) -> set[str]:
    """Those of `words` that look like names of the code, and are defined nowhere."""
    shaped = {w.rpartition(".")[2] for w in words if re.fullmatch(r"(?:[A-Za-z]\w*\.)*_?[A-Za-z]\w*", w)}
    names = {w for w in shaped if "_" in w or w[0].isupper()}
    return {n for n in names if not re.search(rf"\b(?:def|class) {n}\b|^\s*{n}\b\s*[:=(]|\bas {n}\b", SOURCE, re.M)}


def tree(page: Path) -> set[str]:
    """Paths in the drawn tree of the package."""
    (drawn,) = re.findall(r"^```\n(mlc_dask/\n.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    paths, folders = set(), [""]
    for line in drawn.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders[depth:] = [f"{folders[depth - 1] if depth else ''}{name}"]
        paths.add(folders[depth])
    return paths


@pytest.mark.parametrize("page", [CONTRIBUTING, ARCHITECTURE], ids=lambda p: p.name)
def test_files_and_names_are_there(page: Path) -> None:
    words = marked(page)
    assert len(words) > 20
    assert missing_paths(words) == set()
    assert missing_names(words) == set()


def test_a_wrong_file_or_name_is_found() -> None:
    assert missing_paths({"mlc_dask/io/nowhere.py", "no/such/folder/", "README.md", "pipeline/figure1.py"}) == {
        "mlc_dask/io/nowhere.py",
        "no/such/folder/",
    }
    assert missing_names({"Magician", "classify_by_magic", "lazy.map_pixels", "lazy.map_nothing", "SOURCES"}) == {
        "Magician",
        "classify_by_magic",
        "map_nothing",
    }


def test_the_tree_is_the_package() -> None:
    drawn = tree(ARCHITECTURE)
    assert {p for p in drawn if not (ROOT / p).exists()} == set()
    entries = {p.stem for p in (ROOT / "mlc_dask").iterdir() if p.name[0] != "." and p.stem != "__pycache__"}
    assert entries == {Path(p).stem for p in drawn if len(Path(p).parts) == 2}
    packages = {f"{p.parent.relative_to(ROOT)}/" for p in ROOT.glob("mlc_dask/*/*/__init__.py")}
    assert "mlc_dask/classifiers/torch_network/" in packages and packages - drawn == set()


DAILY = {"lines", "test ÷ code", "public documented", "largest file"}
"""Columns that change with almost every commit, so the page gives them as of its last print."""


def test_the_shape_on_the_page_is_the_one_counted() -> None:
    table = ARCHITECTURE.read_text("utf-8").partition("<!-- house -->\n")[2].partition("<!-- /house -->")[0]
    head, _, row = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    house = benchmark("house")
    counted = dict(zip(house.HEAD, house.row(ROOT / "mlc_dask", ROOT / "tests"), strict=True))
    told = dict(zip(head, row, strict=True))
    lasting = counted.keys() - DAILY
    assert told.keys() == counted.keys() and len(lasting) == len(counted) - len(DAILY)
    again = "print the table again: python benchmarks/house.py"
    assert {k: told[k] for k in lasting} == {k: counted[k] for k in lasting}, again


def test_links_lead_somewhere() -> None:
    for page in (CONTRIBUTING, ARCHITECTURE, *DECISIONS.glob("*.md")):
        links = [p for p in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")) if "://" not in p]
        assert [p for p in links if not (page.parent / p.partition("#")[0]).exists()] == [], page


def test_every_decision_is_in_the_index_with_its_state() -> None:
    index = (DECISIONS / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(\d{3})\]\(([^)]+)\) \|.*\| ([^|]+) \|$", index, re.M)
    assert [file for _, file, _ in rows] == sorted(p.name for p in DECISIONS.glob("[0-9]*.md"))
    assert all(file.startswith(number) and re.match("in force|superseded by", state) for number, file, state in rows)
    superseded = {number for number, _, state in rows if "superseded" in state}
    assert superseded == {p.name[:3] for p in DECISIONS.glob("[0-9]*.md") if "**Superseded" in p.read_text("utf-8")}


def test_sections_of_the_method_that_docstrings_cite_are_there() -> None:
    there = set(re.findall(r"^## (\d+)\. ", (ROOT / "docs" / "method.md").read_text("utf-8"), re.M))
    cited = re.findall(r"method sections? (\d+)(?: and (\d+))?", SOURCE)
    assert len(cited) > 50 and {number for pair in cited for number in pair if number} <= there


def test_the_recipe_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(2 * 8 * 8, dtype=np.uint16).reshape(2, 8, 8) + 1500
    values[:, 0, 0] = 0
    form = {"driver": "GTiff", "width": 8, "height": 8, "count": 2, "dtype": "uint16", "crs": "EPSG:32632"}
    for time in ("20180412T103021", "20190410T103021", "20190420T103021"):
        with rasterio.open(tmp_path / f"{time}.tif", "w", transform=Affine(10, 0, 0, 0, -10, 80), **form) as file:
            file.write(values)
            file.descriptions = ("B04", "B08")
    monkeypatch.setitem(SOURCES, "flat", recipe("A source of images", tmp_path, monkeypatch).Flat)
    given = {"kind": "flat", "folder": str(tmp_path), "bands": ["B08", "B04"]}
    source = source_of(Config(output=tmp_path / "out", source=given))
    found = source.catalogue((2019,))
    assert [a.time.day for a in found.acquisitions] == [10, 20] and len(source.catalogue().acquisitions) == 3
    dn, usable = source.read(found.acquisitions[0], found.grid, slice(0, 8), slice(2, 8))
    # Without an offset of its own, reflectance 0 is DN 0 of the file and DN 1000 of the cube.
    assert np.array_equal(dn, values[::-1, :, 2:] + 1000) and usable.all()
    assert not source.read(found.acquisitions[0], found.grid, slice(0, 1), slice(0, 1))[1].any()


def test_the_recipe_of_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = recipe("A classifier", tmp_path, monkeypatch).Means
    monkeypatch.setitem(CLASSIFIERS, classifier.name, classifier)
    model = classifier().fit(make_set(), seed=0)
    dn, labels = pixels(500)
    codes, confidence = model.predict(dn)
    assert (codes == labels).mean() > 0.9 and codes.dtype == confidence.dtype == np.uint8 and confidence.min() >= 1
    assert same_bytes(model.predict(dn[..., 7:9]), (codes[7:9], confidence[7:9]))
    *answer, shares = model.predict(dn, probabilities=True)
    assert same_bytes(answer, (codes, confidence)) and shares.shape == (len(model.classes), 500)
    np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=1e-5)
    middle = int(np.median(dn))
    clipped = classifier(clip=middle).fit(make_set(), seed=0)
    assert same_bytes(clipped.predict(dn), clipped.predict(np.minimum(dn, middle)))
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.digest == model.digest and loaded.settings == model.settings
    assert same_bytes(loaded.predict(dn), (codes, confidence))


def test_the_recipe_of_a_crosswalk(tmp_path: Path) -> None:
    (tmp_path / "my-map.csv").write_text(block("A crosswalk for another old map", "text"), encoding="utf-8")
    found = Crosswalk.from_csv(tmp_path / "my-map.csv", DEFAULT_LEGEND)
    classes = [DEFAULT_LEGEND.names.get(int(found.table()[code])) for code in (1, 2, 3, 9)]
    assert classes == ["Broadleaves", "Crops", "Artificial", None]
    assert found.quotas()[3] == 25
