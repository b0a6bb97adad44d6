"""The notebooks: every script runs from top to bottom, and the stored notebook is of that script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem != "render")
PICTURES = {"quickstart": 8, "stac_to_maps": 1, "evidence": 1}
"""Figures in the least that a notebook draws; its cards come on top."""
CARDS = {"quickstart": 2, "stac_to_maps": 3, "evidence": 1, "own_legend_and_product": 2, "own_classifier": 1}
MEGABYTES = 3
SMALL = {
    "MLC_NOTEBOOK_SIZE": "128",
    # Its sampling of frames can deadlock Python before 3.11.10 (python/cpython#106883).
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


def pictures_and_cards(path: Path) -> tuple[int, int]:
    """Figures, and our own reprs among the outputs; no output may be an error."""
    outputs = [o for cell in nbformat.read(path, 4).cells for o in cell.get("outputs", ())]
    assert not [o for o in outputs if o.output_type == "error"]
    data = [o.get("data", {}) for o in outputs]
    return sum("image/png" in d for d in data), sum("class='mlc'" in d.get("text/html", "") for d in data)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "render.py"), "--into", str(tmp_path), name]
    environment = {**os.environ, **SMALL, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    pictures, cards = pictures_and_cards(tmp_path / f"{name}.ipynb")
    assert pictures >= PICTURES.get(name, 0) and cards >= CARDS[name], (pictures, cards)


@pytest.mark.parametrize("name", NAMES)
def test_stored_notebooks_are_those_of_the_scripts(name: str) -> None:
    script, stored = jupytext.read(FOLDER / f"{name}.py"), jupytext.read(FOLDER / f"{name}.ipynb")
    kept = [(cell.cell_type, cell.source) for cell in stored.cells]
    assert kept == [(cell.cell_type, cell.source) for cell in script.cells], "make notebooks"
    assert script.metadata["jupytext"]["formats"] == "ipynb,py:percent"
    assert all(cell.execution_count for cell in stored.cells if cell.cell_type == "code"), "make notebooks"
    pictures, cards = pictures_and_cards(FOLDER / f"{name}.ipynb")
    assert pictures >= PICTURES.get(name, 0) and cards >= CARDS[name], (pictures, cards)


def test_stored_notebooks_are_small_and_name_no_machine() -> None:
    stored = [FOLDER / f"{name}.ipynb" for name in NAMES]
    assert sum(p.stat().st_size for p in stored) < MEGABYTES * 1e6
    for path in stored:
        text = path.read_text(encoding="utf-8")
        assert "application/javascript" not in text and str(Path.home()) + "/" not in text, path.name
