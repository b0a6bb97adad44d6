"""The layout of an output folder, which only RunFolder knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import mlc_dask
from mlc_dask.config import Config
from mlc_dask.runs.folder import ARTIFACTS, RunFolder, step_of


def test_the_parts_of_a_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "out")
    assert not run.begun and not run.published and run.layers() == {} and run.artifacts() == []
    cube, old = run.artifact("cube", "a" * 64), run.artifact("old-map", "b" * 64)
    for folder in (cube, old):
        folder.mkdir(parents=True)
    assert run.begun and cube == tmp_path / "out" / "artifacts" / f"cube-{'a' * 16}"
    assert run.artifacts() == [cube, old] and run.artifacts("old-map") == [old] and step_of(old) == "old-map"
    assert RunFolder.around(cube) == run and RunFolder.around(tmp_path) is None
    run.publish({"cube": {"name": "cube"}})
    assert run.published and run.layers() == {"cube": {"name": "cube"}}


def test_tiles_are_runs_of_their_own(tmp_path: Path) -> None:
    whole, east, west = RunFolder(tmp_path), RunFolder(tmp_path / "east"), RunFolder(tmp_path / "west")
    east.artifact("cube", "0" * 64).mkdir(parents=True)
    west.path.mkdir()
    (tmp_path / "evaluation").mkdir()
    west.publish({})
    assert whole.tiles() == [east, west]
    assert east.relatives()[:2] == [east, whole] and west in east.relatives()


def test_a_tile_cannot_take_the_name_of_a_part() -> None:
    with pytest.raises(ValidationError, match="cannot be a folder of the output"):
        Config(output=Path("out"), source={"kind": "geotiff", "folder": "f"}, tiles=(ARTIFACTS,))


def test_no_other_module_spells_the_layout() -> None:
    package = Path(mlc_dask.__file__).parent
    apart = {package / "runs" / "folder.py", package / "config" / "sections.py"}
    spelled = re.compile(r'"(?:\*/)?(?:artifacts|CURRENT\.json)\b')
    assert [str(p) for p in package.rglob("*.py") if p not in apart and spelled.search(p.read_text("utf-8"))] == []
