"""The table of the package's size and shape, on a small package whose figures are counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_architecture import PACKAGE, ROOMS
from tests.test_benchmarks import benchmark

pytestmark = pytest.mark.usefixtures("parsing")
house = benchmark("house")

MODULES = {
    "__init__.py": "",
    "__init__.pyi": "from .top import run as run\n",
    "top.py": "from small.middle.verbs import verb\n\ndef run(a: int) -> int:\n    '''Run.'''\n    return verb(a)\n",
    "middle/__init__.py": "",
    "middle/verbs.py": """from typing import TYPE_CHECKING, overload

import small.ground

if TYPE_CHECKING:
    from small.top import run

@overload
def verb(a: int) -> int: ...
def verb(a):
    '''Do it.

    Twice.
    '''
    b = a
    return b

class _Hidden:
    def seen(self, *more: int) -> None:
        return None

class Shown:
    async def bare(self) -> None:
        def inner(c: int) -> None:
            pass
""",
    "ground.py": "",
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        path = tmp_path / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "small" / "__pycache__").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_small.py").write_text("\n" * 16, encoding="utf-8")
    return tmp_path / "small"


def test_figures_counted_by_hand(small: Path) -> None:
    figures = dict(zip(house.HEAD, house.row(small, small.parent / "tests"), strict=True))
    assert figures == {
        "package": "small",
        "modules": "5",
        "lines": "30",
        "function median / p90 / max": "2 / 3 / 3",
        "annotated": "80.0%",
        "test ÷ code": "0.53",
        "public documented": "67% of 3",
        "largest file": "25",
        "entries": "4",
        "rooms": "4",
        "floors": "4",
        "arrows": "3",
    }


def test_the_table_of_the_rooms_has_as_many(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["house.py"])
    house.main()
    head, _, figures = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    own = dict(zip(head, figures, strict=True))
    assert own["package"] == PACKAGE.name and int(own["rooms"]) == len(ROOMS)
