"""A step whose code changed has another version, or somebody said that its meaning is the same."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from mlc_dask.data.steps import step_of
from mlc_dask.pipeline import figure1
from mlc_dask.stages.filtering import SMOOTHERS
from tests.step_digests import COMMAND, COMPILED, PACKAGE, TABLE, House, digest, essence, faults, main
from tests.test_architecture import imports_of

pytestmark = pytest.mark.usefixtures("parsing")
Table = dict[str, dict[str, Any]]


def test_a_changed_step_has_another_version() -> None:
    found = faults(House(PACKAGE), json.loads(TABLE.read_bytes()))
    assert not found, "\n".join(found)


def test_every_step_of_the_pipeline_is_in_the_table() -> None:
    called = set(re.findall(r"\.do\(\s*(\w+),", Path(figure1.__file__).read_text(encoding="utf-8")))
    functions = {getattr(figure1, name) for name in called} | set(SMOOTHERS.values())
    names = {step_of(function).step_name for function in functions}
    assert len(names) > 15 and names == set(json.loads(TABLE.read_bytes())["versions"])


def test_every_module_with_compiled_kernels_is_known() -> None:
    paths = (p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py"))
    texts = {path: (PACKAGE / path).read_text(encoding="utf-8") for path in paths}
    callers = {
        path for path, text in texts.items() if "mlc_dask.native" in {name for _, name in imports_of(path, text)}
    }
    assert callers == set(COMPILED)


@pytest.fixture(scope="module")
def table() -> Table:
    return House(PACKAGE).recorded()


def edited(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str) -> House:
    """The package with one text replaced, as it is read."""
    read = House.text
    assert old in read(House(PACKAGE), module), f"{module} holds no {old!r}"

    def text(self: House, path: str) -> str:
        return read(self, path).replace(old, new, 1) if path == module else read(self, path)

    monkeypatch.setattr(House, "text", text)
    return House(PACKAGE)


SAMPLED = {"annual-training", "pooled-samples", "unchanged", "multiyear-training"}
TRAINED = {"forests", "models", "multi-year-model", "controls-training", "classified", "controls", "confidence"}
JUDGED = {"annual-training", "unchanged", "multiyear-training", "drift"}
CHANGES = {
    "kernel": ("kernels/change.py", "0", "1", {"changes", "evaluation", "controls", "confidence", "report"}),
    "C++": ("native/gaps.cpp", "0", "1", SAMPLED | TRAINED | {"drift"}),
    "network": ("classifiers/lstm/network.py", "0", "1", TRAINED | {"report"}),
    "prediction": ("classifiers/forest/votes.py", "argmax", "argmin", TRAINED | JUDGED | {"report"}),
    "kind": ("stages/drift.py", 'kind="table"', 'kind="tables"', {"drift"}),
    "source": ("io/sources/theia.py", "0", "1", {"catalogue", "acquisitions", "radiometry", "cube"}),
    "reference": (
        "io/old_map.py",
        "Resampling.nearest",
        "Resampling.mode",
        {"product", "evaluation", "controls", "confidence"},
    ),
    "template": ("show/report/page.html.jinja", "<body>", "<body class='x'>", {"report"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_planted_change_is_found(table: Table, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    module, old, new, steps = CHANGES[change]
    *lines, last = faults(edited(monkeypatch, module, old, new), table)
    assert lines == [f"{module} changed: raise the version of {', '.join(sorted(steps))},"] and COMMAND in last


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("kernels/change.py", '"""', '"""Another docstring. '),
        ("kernels/change.py", "import numpy as np\n", "import numpy as np  # a comment\n\n\n"),
        ("kernels/gaps.py", "def fill(", "def fill(\n    "),
        ("io/old_map.py", "are not in the legend", "are missing in the legend"),
        ("native/gaps.cpp", "\n", "\n// a comment\n/* another */\n\n"),
        ("data/errors.py", "def did_you_mean(", "def did_you_perhaps_mean("),
        ("stages/settings.py", "= 11", "= 9"),
        ("show/report/evidence.py", "if TYPE_CHECKING:", "if TYPE_CHECKING:\n    import mlc_dask.kernels.change"),
    ],
)
def test_what_means_nothing_is_passed_over(
    table: Table, monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str
) -> None:
    assert faults(edited(monkeypatch, module, old, new), table) == []


def test_a_raised_version_is_recorded(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    now = table["versions"]["radiometry"]
    of, next_one = (f'kind="table", version={version})' for version in (now, now + 1))
    raised = edited(monkeypatch, "stages/radiometry.py", of, next_one)
    (line,) = faults(raised, table)
    assert line == f"the table is older than the code; record it again: {COMMAND}"
    assert raised.recorded()["versions"] == {**table["versions"], "radiometry": now + 1}
    assert raised.modules == table["modules"] and faults(raised, raised.recorded()) == []


def test_the_command_writes_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.step_digests.TABLE", tmp_path / "table.json")
    main()
    assert (tmp_path / "table.json").read_bytes() == TABLE.read_bytes()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("def f(a: int) -> int: return a", "def f(a): return a", True),
        ("@step('a', kind='b')\ndef f(): 1 + 1", "@step('a', kind='b', version=2)\ndef f(): 1 + 1", True),
        ("@cache\ndef f(): 1 + 1", "def f(): 1 + 1", False),
        ("raise A('one')", "raise A('two')", True),
        ("raise A('one')", "raise B('one')", False),
        ("class A:\n    b: int = 1", "class A:\n    b: int = 2", False),
        ("a = 'x'  # one", "a = ('x')", True),
        ("a = 1\n'about a'", "a = 1", True),
        ("a = 1", "a = 1.0", False),
        ("f'{a:.3f}'", "f'{a:.4f}'", False),
    ],
)
def test_the_essence(one: str, other: str, same: bool) -> None:
    assert (digest(essence(ast.parse(one))) == digest(essence(ast.parse(other)))) is same


def test_digests_do_not_depend_on_the_version_of_python() -> None:
    text = "def f(a, *, b=1):\n    return f'{a!r} {b:>{a}}' if a else [x for x in b]\n"
    assert digest(essence(ast.parse(text))) == "a357a2eaf982"
