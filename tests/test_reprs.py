"""How cubes, maps and runs show themselves: the facts, escaped, by few pixels, and nothing computed for it."""

from __future__ import annotations

import base64
import builtins
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from PIL import Image

import mlc_dask as mlc
from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.show.notebook import layers
from mlc_dask.storage.durable import NotPublished
from tests.cubes import landscape, map_of, product_of, raiser
from tests.runs import run_all, small_world, write_config

LIMIT = 300_000
VOID = ("img", "rect", "path", "br")
EVIL = "<script>alert('\"&')</script>"


class Page(HTMLParser):
    """Text, pictures and tags of a repr; fails where tags are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.pictures: list[Image.Image] = []
        self.feed(html)
        self.close()
        assert not self.open, self.open
        assert len(html) < LIMIT
        assert "script" not in self.tags and "http" not in html and "@import" not in html

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        source = dict(attrs).get("src")
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "img":
            assert source is not None and source.startswith("data:image/")
            self.pictures.append(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def page(data: Any) -> Page:
    return Page(data.mlc._repr_html_() if hasattr(data, "mlc") else data._repr_html_())


def series(side: int = 40, years: tuple[int, ...] = (2018, 2019, 2020)) -> xr.Dataset:
    """Maps whose class shares are known: a quarter Artificial and a row more every year, else Water; no data once."""
    labels = np.full((len(years), side, side), 10, np.uint8)
    for i in range(len(years)):
        labels[i, : side // 4 + i] = 1
    labels[-1, -1] = 0
    return xr.Dataset({"label": map_of(labels, years)}, attrs={"legend": DEFAULT_LEGEND.to_dict()})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = write_config(folder / "mlc.toml", small_world(folder / "world", 64), folder / "valley")
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(config)
    return folder / "valley"


class TestCube:
    def test_facts_calendar_and_a_picture_a_year(self) -> None:
        cube, _ = landscape(48, 64)
        found = page(cube.load())
        for fact in ("2018–2019", "6 acquisitions per year", "10 bands", "64 × 48 pixels", "GB before compression"):
            assert fact in found.text, fact
        assert found.tags.count("svg") == 1 and found.tags.count("rect") == 2 * 2 * 6
        assert [p.size for p in found.pictures] == [(64, 48)] * 2

    def test_bars_are_as_full_as_acquisitions_are_usable(self) -> None:
        cube, _ = landscape(48, 64)
        cloud = np.linspace(0, 1, 12).reshape(2, 6)
        own = cube.assign_coords(
            cloud=(("year", "acquisition"), cloud), valid=(("year", "acquisition"), np.ones((2, 6)))
        )
        html = own.mlc._repr_html_()
        assert re.findall(r"(\d+)% usable</title>", html) == [f"{100 * (1 - c):.0f}" for c in cloud.ravel()]
        heights = [float(h) for h in re.findall(r"height='([\d.]+)' fill='var\(--mark\)'/", html)]
        assert np.allclose(heights, 22 * (1 - cloud.ravel()), atol=0.06)

    def test_the_clearest_midsummer_is_shown(self) -> None:
        cube, _ = landscape(48, 64)
        cloud = np.full((2, 6), 0.05)
        cloud[0, 5], cloud[1, 5] = 0.0, 0.9
        own = cube.assign_coords(
            cloud=(("year", "acquisition"), cloud), valid=(("year", "acquisition"), np.ones((2, 6)))
        )
        assert re.findall(r"<figcaption>(\S+),", own.mlc._repr_html_()) == ["2018-07-10", "2019-06-10"]

    def test_of_a_large_cube_only_the_middle_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[int] = []
        cube, _ = landscape(48, 64)
        large = cube.isel(y=np.arange(1600) % 48, x=np.arange(1600) % 64).assign_coords(
            y=np.arange(1600, 0, -1) * 10.0, x=np.arange(1600) * 10.0,
            cloud=(("year", "acquisition"), np.zeros((2, 6))), valid=(("year", "acquisition"), np.ones((2, 6))),
        )  # fmt: skip
        glance = layers.glance
        monkeypatch.setattr(
            "mlc_dask.show.notebook.cube.glance", lambda raster, side: read.append(raster.size) or glance(raster, side)
        )
        monkeypatch.setattr("mlc_dask.show.notebook.cube.at_hand", lambda _: True)
        assert "the 768 × 768 pixels at the centre" in page(large).text
        assert read == [10 * 768 * 768] * 2

    def test_what_is_not_computed_is_not_computed_for_it(self) -> None:
        cube, _ = landscape(48, 64)
        waiting = cube.assign(reflectance=cube.reflectance + np.uint16(1), usable=~cube.usable)
        with dask.config.set(scheduler=raiser):
            found = page(waiting)
        assert "not computed yet" in found.text and not found.pictures

    def test_a_stored_cube_needs_no_cluster(self, run: Path) -> None:
        cube = mlc.open_run(run).cube
        with dask.config.set(scheduler=raiser):
            found = page(cube)
        assert len(found.pictures) == 3 and "EPSG:32632" in found.text


class TestMaps:
    def test_shares_by_class_and_year(self) -> None:
        found = page(series())
        rows = " ".join(found.text.split())
        assert "Artificial 25.0% 27.5% 30.8% Water 75.0% 72.5% 69.2% no data (of all pixels) 0.0% 0.0% 2.5%" in rows
        assert "Conifers" not in rows

    def test_thumbnails_have_the_legends_colours(self) -> None:
        pictures = [np.asarray(p.convert("RGBA")) for p in page(series()).pictures]
        assert len(pictures) == 3 and {p.shape for p in pictures} == {(40, 40, 4)}
        assert pictures[0][0, 0].tolist() == [*bytes.fromhex(DEFAULT_LEGEND.colours[1][1:]), 255]
        assert pictures[0][39, 0].tolist() == [*bytes.fromhex(DEFAULT_LEGEND.colours[10][1:]), 255]
        assert pictures[2][39, 0, 3] == 0

    def test_changes_are_counted(self) -> None:
        maps = series()
        maps["change_count"] = mlc.change_count(maps).compute()
        found = page(maps)
        assert len(found.pictures) == 4 and "changes: 5.0% of pixels" in found.text

    def test_one_map_shows_itself(self) -> None:
        found = page(product_of(np.full((20, 30), 3)))
        assert "Map: product" in found.text and "Crops 100.0%" in " ".join(found.text.split())

    def test_many_years_stay_small(self) -> None:
        noise = np.random.default_rng(0).integers(1, 12, (30, 400, 400)).astype(np.uint8)
        maps = xr.Dataset({"label": map_of(noise, tuple(range(1995, 2025)))})
        assert len(page(maps).pictures) == 30

    def test_names_and_colours_are_escaped(self) -> None:
        legend = {"1": {"name": EVIL, "colour": "#102030"}, "10": {"name": "<b>&amp;", "colour": "#aabbcc"}}
        maps = series().assign_attrs(legend=legend).rename(label="<i>label")
        found = page(maps)
        assert EVIL in found.text and "<b>&amp;" in found.text and "<i>label" in found.text
        assert not {"script", "b", "i"} & set(found.tags)

    def test_what_is_not_computed_is_not_computed_for_it(self) -> None:
        waiting = mlc.smooth(series().chunk(), size=3, rule="majority")
        with dask.config.set(scheduler=raiser):
            found = page(waiting)
        assert "not computed yet" in found.text and not found.pictures and "Conifers" in found.text

    def test_few_pixels_of_a_stored_map_are_handed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        maps = series(960).chunk(year=1, y=240, x=240)
        mlc.write_maps(maps, tmp_path / "maps")
        stored = mlc.open_maps(tmp_path / "maps")
        handed: list[int] = []
        compute = xr.DataArray.compute
        monkeypatch.setattr(
            xr.DataArray, "compute", lambda self, **how: handed.append(self.size) or compute(self, **how)
        )
        with dask.config.set(scheduler=raiser):
            assert len(page(stored).pictures) == 3
        assert handed == [3 * 240 * 240]

    def test_what_is_neither_cube_nor_maps(self) -> None:
        with pytest.raises(InputError, match=r"no map among temperature; open maps with open_maps"):
            xr.Dataset({"temperature": ("x", [1.0])}).mlc._repr_html_()

    def test_text(self) -> None:
        assert repr(series().mlc) == "<maps: year 3, y 40, x 40>"


class TestRun:
    def test_steps_figures_and_ways_on(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (run / "report.html").write_text("report", encoding="utf-8")
        monkeypatch.chdir(run.parent)
        opened = mlc.open_run("valley")
        assert repr(opened) == f"<run valley: finished, {len(opened.steps)} steps done>"
        found = Page(opened._repr_html_())
        for word in ("Run valley", "finished", "multi-year, filtered", "kappa", "multiyear-training"):
            assert word in found.text, word
        assert "href='valley/report.html'" in opened._repr_html_()
        assert "performance" not in found.text

    def test_steps_are_those_of_the_records(self, run: Path) -> None:
        steps = mlc.open_run(run).steps.set_index("step")
        records = [json.loads(p.read_bytes()) for p in run.glob("artifacts/*/record.json")]
        assert set(steps.index) == {r["name"] for r in records} and (steps.state == "done").all()
        assert {r["name"]: r["seconds"] for r in records} == steps.seconds.to_dict()
        assert steps.finished.is_monotonic_increasing

    def test_it_composes_what_there_is(self, run: Path) -> None:
        opened = mlc.open_run(run)
        xr.testing.assert_identical(opened.maps, mlc.open_maps(run))
        assert opened.cube.sizes["acquisition"] == 6 and "kappa" in set(opened.summary.metric)
        assert len(page(opened.maps).pictures) == 4
        with pytest.raises(AttributeError):
            opened.folder = run  # type: ignore[misc]

    def test_an_unfinished_run(self, tmp_path: Path) -> None:
        (tmp_path / "out/artifacts/cube-0123456789abcdef").mkdir(parents=True)
        opened = mlc.open_run(tmp_path / "out")
        assert repr(opened).endswith("unfinished, 0 steps done>")
        found = Page(opened._repr_html_())
        assert "not finished: run it again to continue" in found.text and "cube" in found.text
        with pytest.raises(NotPublished):
            _ = opened.maps

    def test_a_folder_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is not the output of a run; give the folder that `output`"):
            mlc.open_run(tmp_path)


class TestPlot:
    @pytest.fixture
    def drawn(self) -> Callable[[Any], Any]:
        pytest.importorskip("hvplot")
        import holoviews as hv

        hv.extension("bokeh")
        return lambda image: hv.render(image)

    def test_colours_and_names_of_the_legend(self, drawn: Callable[[Any], Any]) -> None:
        image = series().mlc.plot()
        assert [d.name for d in image.kdims] == ["year"]
        figure = drawn(image[2020])
        (renderer,) = figure.renderers
        (values,) = renderer.data_source.data["image"]
        mapper = renderer.glyph.color_mapper
        assert set(np.unique(values)) == {0, 1, 10} and values.dtype == np.uint8
        assert mapper.palette[0] == DEFAULT_LEGEND.colours[1] and mapper.palette[9] == DEFAULT_LEGEND.colours[10]
        assert (mapper.low, mapper.high) == (0.5, 11.5)
        (hover,) = [t for t in figure.tools if type(t).__name__ == "HoverTool"]
        assert hover.formatters["@image"].args["names"][:2] == ["no data", "Artificial"]
        assert figure.right[0].major_label_overrides[10] == "Water"

    def test_codes_with_holes_and_in_any_order(self, drawn: Callable[[Any], Any]) -> None:
        legend = {"200": {"name": "b", "colour": "#0000ff"}, "7": {"name": "a", "colour": "#ff0000"}}
        labels = np.kron(np.array([[7, 200]], np.uint8), np.ones((20, 10), np.uint8))
        one = map_of(labels).rename("own").assign_attrs(legend=legend)
        figure = drawn(one.mlc.plot())
        (values,) = figure.renderers[0].data_source.data["image"]
        assert figure.renderers[0].glyph.color_mapper.palette == ["#ff0000", "#0000ff"]
        assert values[0, 0] == 1 and values[0, -1] == 2

    def test_quantities_have_a_ramp(self, drawn: Callable[[Any], Any]) -> None:
        maps = series()
        maps["confidence"] = maps.label * 5
        assert (
            len(drawn(maps.mlc.plot("confidence", frame_width=200)[2018]).renderers[0].glyph.color_mapper.palette) > 99
        )

    def test_nothing_is_computed_before_it_is_shown(self) -> None:
        pytest.importorskip("hvplot")
        with dask.config.set(scheduler=raiser):
            mlc.smooth(series().chunk(), size=3, rule="majority").mlc.plot()

    def test_a_layer_that_is_not_there(self) -> None:
        with pytest.raises(InputError, match=r"there is no layer 'lable'; did you mean 'label'\?"):
            series().mlc.plot("lable")

    def test_a_map_without_a_legend(self) -> None:
        with pytest.raises(InputError, match=r"plot it from its Dataset: maps.mlc.plot\('label'\)"):
            series().label.mlc.plot()

    def test_a_cube(self) -> None:
        with pytest.raises(InputError, match="plot shows maps, but this is a cube"):
            landscape()[0].mlc.plot()

    def test_the_extra_is_named_where_it_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name.startswith("mlc_dask.show.notebook.interactive"):
                raise ModuleNotFoundError("No module named 'hvplot'", name="hvplot")
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(InputError, match=r'need hvplot; install it with: pip install "mlc-dask\[notebook\]"'):
            series().mlc.plot()
