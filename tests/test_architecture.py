"""The house: who may import whom, how long things may get, and which errors docstrings name, read from the source."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mlc_dask
from tests.test_benchmarks import benchmark

pytestmark = pytest.mark.usefixtures("parsing")
PACKAGE = Path(mlc_dask.__file__).parent
NAME = "mlc_dask"
FUNCTION_LINES, FILE_LINES = 40, 250
SHORT_ROOMS = ("kernels", "stages", "classifiers", "io")
APART = ("stages",)
"""Rooms whose modules, shared ones as well, import of each other only the shared ones."""
STDLIB = set(sys.stdlib_module_names)


@dataclass(frozen=True)
class Room:
    """What the modules of a room may import: other rooms or modules of them (its own always), and packages."""

    own: frozenset[str]
    packages: frozenset[str]

    def allows(self, target: str) -> bool:
        """Whether a module below the package, e.g. ``data.errors.InputError``, may be imported."""
        return any(target == name or target.startswith(f"{name}.") for name in self.own)


def read_rooms(page: str) -> dict[str, Room]:
    """Table of the rooms in docs/architecture.md, from the ground up."""
    table = page.partition("<!-- rooms -->")[2].partition("<!-- /rooms -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return {
        name.strip("`"): Room(frozenset(own.split()), frozenset(packages.split())) for name, _, own, packages in rows
    }


def read_shared(page: str) -> frozenset[str]:
    """Modules that the stages share, by docs/architecture.md."""
    return frozenset(re.findall(r"`(\w+)`", page.partition("<!-- shared -->")[2].partition("<!-- /shared -->")[0]))


PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOMS, SHARED = read_rooms(PAGE), read_shared(PAGE)


def imports(tree: ast.AST, package: str | None = None) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a module imports when it runs; functions' imports count as well.

    What a package imports on use stands in its stub, relative to `package` as lazy_loader asks.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (found for other in node.orelse for found in imports(ast.Module([other], []), package))
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == (package is not None), f"line {node.lineno}: stubs import relatively, modules do not"
            origin = ".".join(filter(None, (package, node.module)))
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        else:
            yield from imports(node, package)


def imports_of(module: str, text: str) -> Iterator[tuple[int, str]]:
    """Imports of `module` (its path in the package, e.g. ``kernels/gaps.py`` or ``show/__init__.pyi``)."""
    path = Path(module)
    package = ".".join((NAME, *path.parent.parts)) if path.suffix == ".pyi" else None
    return imports(ast.parse(text), package)


def room_of(module: str) -> str:
    return Path(module).parts[0].partition(".")[0]


def import_faults(module: str, text: str) -> list[str]:
    """What `module` imports against the table."""
    own_room = room_of(module)
    if own_room not in ROOMS:
        return [f"{module}: the room {own_room!r} is not in the table"]
    allowed, faults = ROOMS[own_room], []
    for line, name in imports_of(module, text):
        first, _, rest = name.partition(".")
        if first == NAME:
            target, *below = rest.split(".")
            inside = target == own_room and (own_room not in APART or not SHARED.isdisjoint(below[:1]))
            if not inside and not allowed.allows(rest):
                faults.append(f"{module}:{line}: {own_room} must not import {name}")
        elif first not in STDLIB and first not in allowed.packages:
            faults.append(f"{module}:{line}: {own_room} must not import {first}")
    return faults


def docstring_lines(node: ast.AST) -> int:
    body = getattr(node, "body", None)
    if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
        return 0
    first = body[0].value
    if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
        return 0
    return (first.end_lineno or 0) - first.lineno + 1


def length_faults(module: str, text: str) -> list[str]:
    """Functions and, in the rooms that ask for it, files that are too long; docstrings cost nothing."""
    tree = ast.parse(text)
    faults = []
    if Path(module).parts[0] in SHORT_ROOMS:
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        lines = len(text.splitlines()) - sum(docstring_lines(n) for n in ast.walk(tree) if isinstance(n, documented))
        if lines > FILE_LINES:
            faults.append(f"{module}: {lines} lines, at most {FILE_LINES}; split it by idea")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and module not in LISTS_OF_CALLS:
            lines = (node.end_lineno or 0) - node.lineno + 1 - docstring_lines(node)
            if lines > FUNCTION_LINES:
                faults.append(f"{module}: {node.name} has {lines} lines, at most {FUNCTION_LINES}")
    return faults


HELP = ("cli.py",)
"""Docstrings of commands are the texts of ``--help``, which users of Python do not read."""


def within(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a function without those of the functions and classes that it defines."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield node
            yield from within(node)


def error_faults(module: str, text: str) -> list[str]:
    """Public functions that raise an InputError themselves, and whose docstring does not say when."""
    faults = []
    for node in (d.node for d in benchmark("house").definitions(ast.parse(text)) if d.public):
        if module in HELP or isinstance(node, ast.ClassDef):
            continue
        raised = {ast.unparse(n.exc).partition("(")[0] for n in within(node) if isinstance(n, ast.Raise) and n.exc}
        if "InputError" in raised and not re.search("InputError|Raises", ast.get_docstring(node) or ""):
            faults.append(f"{module}:{node.lineno}: {node.name} raises InputError; say when in its docstring")
    return faults


LISTS_OF_CALLS = ("pipeline/figure1.py",)
"""Fig. 1 of the paper is one list of calls without a branch, as its own test below sees to."""

BRANCHES = ast.If | ast.IfExp | ast.BoolOp | ast.Match | ast.Try | ast.For | ast.AsyncFor | ast.While | ast.Lambda
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def call_faults(text: str) -> list[str]:
    """What a list of calls must not contain; a step in a comprehension is for the rows of one imported table."""
    tree = ast.parse(text)
    tables = {name.rpartition(".")[2] for _, name in imports(tree) if name.rpartition(".")[2].isupper()}
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, BRANCHES):
            faults.append(f"line {node.lineno}: {ast.unparse(node)} branches or loops")
        elif isinstance(node, COMPREHENSIONS):
            calls = any(isinstance(n, ast.Attribute) and n.attr == "do" for n in ast.walk(node))
            over = [g.iter.id if isinstance(g.iter, ast.Name) else "" for g in node.generators]
            if any(g.ifs for g in node.generators) or (calls and (len(over) > 1 or over[0] not in tables)):
                faults.append(f"line {node.lineno}: {ast.unparse(node)} is more than one step per row of a table")
    return faults


MODULES = sorted(str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py*") if p.suffix in (".py", ".pyi"))


def source(module: str) -> str:
    return (PACKAGE / module).read_text(encoding="utf-8")


def test_every_room_is_there() -> None:
    rooms = {room_of(module) for module in MODULES}
    assert rooms == set(ROOMS), "the table and the house differ"


def test_the_table_goes_downward_only() -> None:
    order = list(ROOMS)
    for name, own in ROOMS.items():
        upward = [target for target in own.own if order.index(target.split(".")[0]) >= order.index(name)]
        assert not upward, f"{name} may import {upward}, which stand above it"


def test_the_floors_are_those_of_the_table() -> None:
    height: dict[str, int] = {}
    for name, room in ROOMS.items():
        height[name] = 1 + max((height[target.split(".")[0]] for target in room.own), default=-1)
    drawn = PAGE.partition("<!-- floors -->")[2].partition("<!-- /floors -->")[0].split("·")
    assert {n: i for i, floor in enumerate(drawn) for n in re.findall(r"`(\w+)`", floor)} == height


def test_the_table_allows_nothing_that_nobody_imports() -> None:
    used: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module in MODULES:
        used[room_of(module)].update(name for _, name in imports_of(module, source(module)))
    for name, own in ROOMS.items():
        rest = {target for target in own.own if not any(f"{i}.".startswith(f"{NAME}.{target}.") for i in used[name])}
        rest |= own.packages - {i.split(".")[0] for i in used[name]}
        assert not rest, f"docs/architecture.md lets {name} import {sorted(rest)}, and it does not"


def test_what_stages_share_is_there_and_used() -> None:
    stages = [m for m in MODULES if room_of(m) == "stages"]
    used = [f"{name}." for m in stages for _, name in imports_of(m, source(m))]
    alone = [s for s in SHARED if not any(name.startswith(f"{NAME}.stages.{s}.") for name in used)]
    assert SHARED and {Path(m).stem for m in stages} >= SHARED
    assert not alone, f"docs/architecture.md lets stages share {alone}, and no stage imports them"


def test_kernels_and_stages_stay_what_they_are() -> None:
    files = {"zarr", "rasterio", "rioxarray"}
    assert not ROOMS["kernels"].packages & ({"dask", "distributed", "xarray", "pandas"} | files)
    assert not ROOMS["stages"].packages & ({"distributed", "torch", "sklearn"} | files) and "stages" in APART
    assert not {"io", "config"} & ROOMS["stages"].own
    assert not ROOMS["storage"].packages | ROOMS["runs"].packages and ROOMS["config"].packages == {"pydantic"}


@pytest.mark.parametrize("module", MODULES)
def test_imports(module: str) -> None:
    faults = import_faults(module, source(module))
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("module", MODULES)
def test_lengths(module: str) -> None:
    faults = length_faults(module, source(module))
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("module", [m for m in MODULES if m.endswith(".py")])
def test_docstrings_name_the_errors(module: str) -> None:
    faults = error_faults(module, source(module))
    assert not faults, "\n".join(faults)


def test_kernels_touch_no_files() -> None:
    for module in MODULES:
        if module.startswith("kernels/"):
            tree = ast.parse(source(module))
            names = {name for _, name in imports_of(module, source(module))} | {
                n.id for n in ast.walk(tree) if isinstance(n, ast.Name)
            }
            assert not names & {"open", "pathlib.Path", "os.path", "os", "shutil", "tempfile"}, module


def test_the_pipeline_is_a_list_of_calls() -> None:
    text = source("pipeline/figure1.py")
    functions = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
    assert "annual_maps" in {f.name for f in functions}
    for statement in (s for f in functions for s in f.body[1:]):
        allowed = isinstance(statement, ast.Assign | ast.Expr | ast.Return)
        assert allowed, f"line {statement.lineno}: {ast.unparse(statement)}"
    assert not call_faults(text), "\n".join(call_faults(text))


# The test can fail


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("kernels/gaps.py", "import dask.array as da", "kernels must not import dask"),
        ("kernels/gaps.py", "def f():\n    import xarray", "gaps.py:2: kernels must not import xarray"),
        ("kernels/gaps.py", "from mlc_dask import lazy", "kernels must not import mlc_dask.lazy"),
        ("stages/filtering.py", "from mlc_dask.stages.evaluation import agreement", "stages must not import"),
        ("stages/drawing.py", "from mlc_dask.stages.evaluation import agreement", "stages must not import"),
        ("stages/filtering.py", "from mlc_dask import stages", "stages must not import mlc_dask.stages"),
        ("stages/filtering.py", "from mlc_dask.io.cubes import open_cube", "stages must not import mlc_dask.io"),
        ("stages/filtering.py", "import torch", "stages must not import torch"),
        ("lazy/verbs.py", "from mlc_dask.kernels.gaps import fill", "lazy must not import mlc_dask.kernels"),
        ("data/schema.py", "try:\n    import dask\nexcept ImportError: pass", "data must not import dask"),
        ("runs/run.py", "import xarray", "runs must not import xarray"),
        ("io/maps.py", "import mlc_dask.stages.filtering", "io must not import mlc_dask.stages"),
        ("compute/backends.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import zarr", "compute must not import zarr"),
        ("kernels/gaps.py", "from mlc_dask.data.grids import Grid", "kernels must not import mlc_dask.data.grids"),
        ("__init__.pyi", "from .storage.durable import sha256", "__init__ must not import mlc_dask.storage"),
        ("attic.py", "", "the room 'attic' is not in the table"),
    ],
)
def test_planted_imports_are_found(module: str, text: str, fault: str) -> None:
    assert any(fault in found for found in import_faults(module, text)), import_faults(module, text)


def test_imports_for_types_are_free() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mlc_dask.io.patchstore.store import Layout\n"
    assert not import_faults("stages/time_series.py", text) and not import_faults("lazy/verbs.py", text)
    assert import_faults("stages/time_series.py", text.replace("if TYPE_CHECKING", "if True"))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("show/export/cogs.py", "from .styles import style"),
        ("show/__init__.pyi", "from mlc_dask.show.export import export_maps"),
        ("show/export/__init__.pyi", "from ..report import write_report"),
    ],
)
def test_only_stubs_import_relatively_and_only_from_their_package(module: str, text: str) -> None:
    with pytest.raises(AssertionError, match="line 1: stubs import relatively"):
        import_faults(module, text)


def test_planted_lengths_are_found() -> None:
    long = "def f():\n" + "    a = 1\n" * FUNCTION_LINES
    assert length_faults("lazy/verbs.py", long) == ["lazy/verbs.py: f has 41 lines, at most 40"]
    assert length_faults("stages/a.py", "class A:\n    async def g(self):\n" + "        b = 1\n" * 40)
    assert not length_faults("lazy/verbs.py", "def f():\n    '''One.\n\n    Two.\n    '''\n" + "    a = 1\n" * 39)
    assert length_faults("io/a.py", "a = 1\n" * 251) == ["io/a.py: 251 lines, at most 250; split it by idea"]
    assert not length_faults("worlds/a.py", "a = 1\n" * 251)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("def f():\n    'One.'\n    raise InputError('no')", 1),
        ("class A:\n    async def f(self):\n        if self.x:\n            raise InputError", 1),
        ("def f():\n    'One; InputError where it is none.'\n    raise InputError('no')", 0),
        ("def _f():\n    raise InputError('no')", 0),
        ("def f():\n    def g():\n        raise InputError('no')", 0),
        ("def f():\n    raise ValueError('no')", 0),
    ],
)
def test_planted_errors_are_found(text: str, faults: int) -> None:
    assert len(error_faults("io/a.py", text)) == faults and not error_faults("cli.py", text)


TABLES = "from mlc_dask.data.layers import SERIES, SMOOTHED\nfrom mlc_dask.runs.run import rows\n"


@pytest.mark.parametrize(
    "text",
    [
        "a = run.do(f, x) if x else y",
        "a = x and run.do(f, x)",
        "def g():\n    if x:\n        run.do(f)",
        "for s in SMOOTHED:\n    run.do(f, s)",
        "while x:\n    run.do(f)",
        "a = [run.do(f, s) for s in SMOOTHED if s.rank]",
        "a = [run.do(f, s) for s in SMOOTHED for t in SERIES]",
        "a = [[run.do(f, s) for s in SMOOTHED] for t in years]",
        "a = {y: run.do(f, y) for y in years}",
        "a = tuple(run.do(f, s) for s in given.tables())",
        "a = [run.do(f, s) for s in rows]",
        "a = [run.do(f, s) for s in LOCAL]",
        "a = list(map(lambda s: run.do(f, s), years))",
    ],
)
def test_planted_branches_and_loops_are_found(text: str) -> None:
    assert call_faults(TABLES + text), text


def test_a_step_per_row_of_a_table_is_a_call() -> None:
    assert not call_faults(f"{TABLES}a = {{s: run.do(f, s) for s in SMOOTHED}}\nb = [m[s] for s in maps.values()]")
