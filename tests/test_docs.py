"""The documentation: its site builds without a warning, has every key, command and name, and its examples hold."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer.main

import mlc_dask as mlc
from mlc_dask.cli import app
from mlc_dask.config import Config, Product
from mlc_dask.data.settings import validated
from mlc_dask.io.sources import SOURCES
from mlc_dask.pipeline.inputs import source_of

ROOT = Path(__file__).parent.parent
PAGES = sorted(p for p in ROOT.glob("docs/**/*.md"))
NEEDED = {"output": "out", "source": {"kind": "geotiff", "folder": "acquisitions"}}
"""What makes a section of a configuration a whole one."""


def build(docs: Path, site: Path) -> str:
    """Build the site of `docs` as `make docs` does, in this process; returns the warnings."""
    pytest.importorskip("furo", reason="the site needs the extra docs")
    pytest.importorskip("myst_parser", reason="the site needs the extra docs")
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    told = StringIO()
    with patch_docutils(docs), docutils_namespace():
        app = Sphinx(docs, docs, site, site / ".doctrees", "html", status=None, warning=told, warningiserror=True)
        app.build()
    assert bool(app.statuscode) == bool(told.getvalue()), "warnings are errors"
    return told.getvalue()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("site")
    assert build(ROOT / "docs", folder) == ""
    return folder


def words(html: str) -> str:
    """Text of a page, or a part of one, as a reader sees it."""
    return unescape(re.sub(r"<[^>]+>", "", html))


def identifiers(page: Path) -> set[str]:
    return set(re.findall(r'id="([^"]+)"', page.read_text(encoding="utf-8")))


def test_every_page_is_in_the_navigation(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    own = [p.relative_to(ROOT / "docs").with_suffix(".html") for p in PAGES]
    missing = [str(p) for p in own if p.name != "index.html" and f'href="{p.as_posix()}"' not in start]
    assert [m for m in missing if not m.startswith("decisions/0")] == []
    decisions = (site / "decisions" / "README.html").read_text(encoding="utf-8")
    assert [m for m in missing if f'href="{Path(m).name}"' not in decisions] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """The site works without a network, and nobody learns who reads it."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)", text)
        loaded += re.findall(r"<link\b(?=[^>]*\brel=\"(?:stylesheet|preload|icon)\")[^>]*\bhref=\"([^\"]+)", text)
        assert [place for place in loaded if re.match(r"(\w+:)?//", place)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_every_key_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "configuration.html").read_text(encoding="utf-8")
    parts = [words(part) for part in page.split("<section id=")]
    models = {f"[{name}]": f.annotation for name, f in Config.model_fields.items()}
    models["[product]"] = Product
    models |= {f'kind = "{kind}"': source for kind, source in SOURCES.items()} | {"At the top": Config}
    for heading, model in models.items():
        fields = getattr(model, "model_fields", {})
        keys = {f.alias or name for name, f in fields.items() if f"[{name}]" not in models or model is not Config}
        found = [part for part in parts if heading in part.split("¶")[0]]
        assert not fields or any(keys <= set(part.split()) for part in found), (heading, keys)


def test_every_command_is_in_the_reference(site: Path) -> None:
    text = words((site / "reference" / "cli.html").read_text(encoding="utf-8"))
    group: Any = typer.main.get_command(app)
    assert {"init", "plan", "run"} <= group.commands.keys()
    for name, command in group.commands.items():
        assert f"mlc-dask {name}" in text and command.help.splitlines()[0] in text, name
        options = [o for p in command.params for o in p.opts if o.startswith("--") and o != "--help"]
        assert [o for o in options if o not in text] == [], name


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    known = identifiers(site / "reference" / "api.html")
    assert [name for name in mlc.__all__ if f"mlc_dask.{name}" not in known] == []
    assert {
        "mlc_dask.show.notebook.Showing.plot",
        "mlc_dask.compute.backends.connect",
        "mlc_dask.data.acquisitions.Source.read",
    } <= known
    assert {"mlc_dask.Classifier.fit", "mlc_dask.Model.predict"} <= known


PLANTED = {
    "nowhere.md": "[the way](nowhere.md)",
    "no-such-heading": "[a heading](index.md#no-such-heading)",
    "no-such.png": "![a picture](no-such.png)",
    "classify_by_magic": "```{eval-rst}\n.. autofunction:: mlc_dask.classify_by_magic\n```",
    "mlc_dask.Magician": "{py:class}`mlc_dask.Magician`",
    "toctree contains reference to nonexisting document 'lost'": "```{toctree}\nlost\n```",
}


def test_what_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    """Each fault in a copy of the site's settings is reported, and the page without faults builds."""
    for name in ("conf.py", "generate.py"):
        shutil.copy(ROOT / "docs" / name, tmp_path / name)
    page = tmp_path / "index.md"
    page.write_text("# Planted\n\nWithout a fault.\n", encoding="utf-8")
    assert build(tmp_path, tmp_path / "sound") == ""
    page.write_text("\n\n".join(["# Planted", *PLANTED.values()]), encoding="utf-8")
    warnings = build(tmp_path, tmp_path / "broken")
    assert [fault for fault in PLANTED if fault not in warnings] == [], warnings


def examples() -> list[Any]:
    found = []
    for page in [ROOT / "README.md", *PAGES]:
        for i, text in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)):
            found.append(pytest.param(text, id=f"{page.relative_to(ROOT)}-{i}"))
    return found


@pytest.mark.parametrize("text", examples())
def test_examples_of_configurations_hold(text: str) -> None:
    """A whole configuration or some of its sections, sources included; backends know their options themselves."""
    given = tomllib.loads(text)
    config = validated(Config, {**NEEDED, **given}, "the example")
    source_of(config.of_tile(config.tiles[0]) if config.tiles else config)


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = [place for place in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in place]
    assert len(places) > 20
    assert [p for p in places if not (ROOT / p.partition("#")[0]).exists()] == []


def test_sizes_are_those_of_the_measured_rates(capsys: pytest.CaptureFixture[str]) -> None:
    """The tables of the page are what the command prints, and its rates stand in the decisions."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        sizing = __import__("sizing")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    sizing.main()
    tables = capsys.readouterr().out.strip().split("\n\n")
    page = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
    assert len(tables) == 5 and [table for table in tables if table not in page] == []
    decided = "".join(p.read_text(encoding="utf-8") for p in ROOT.glob("docs/decisions/00[68]*.md"))
    rates = [*sizing.MEASURED.values(), *sizing.ELSEWHERE.values(), sizing.TRAINING]
    assert [r for r in rates if f"{r:,}" not in decided and f"{r / 1e6:.1f} million" not in decided] == []
