"""The size and shape of a Python package as one row of a table, read from its source by `ast`.

Usage: python benchmarks/house.py [PACKAGE TESTS]...; this package and its tests by default.

Lines of a function exclude its docstring; overloads do not count. Annotated: every argument and the return. Public:
functions and methods with no underscore in their own or their class's name. A room is a module or a folder directly in
the package, an arrow is an import from one room of another at run time, and the number of floors is the length of the
longest chain of arrows. A module and its stub are one entry.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = (
    "package", "modules", "lines", "function median / p90 / max", "annotated", "test ÷ code", "public documented",
    "largest file", "entries", "rooms", "floors", "arrows",
)  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef
Named = Function | ast.ClassDef
Arrows = dict[str, set[str]]


@dataclass(frozen=True)
class Definition:
    """A function or class; `public` if neither its name nor an enclosing name begins with an underscore."""

    node: Named
    public: bool


def definitions(tree: ast.AST, public: bool = True) -> Iterator[Definition]:
    """All functions and classes below `tree`; definitions inside a function are not public."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Named):
            seen = public and not node.name.startswith("_")
            yield Definition(node, seen)
            yield from definitions(node, seen and isinstance(node, ast.ClassDef))
        else:
            yield from definitions(node, public)


def length(function: Function) -> int:
    """Lines of a function without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        first = function.body[0]
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def annotated(function: Function) -> bool:
    """Whether every argument and the return have a type."""
    of = function.args
    plain = [*of.posonlyargs, *of.args, *of.kwonlyargs, *(a for a in (of.vararg, of.kwarg) if a)]
    return function.returns is not None and all(a.annotation or a.arg in ("self", "cls") for a in plain)


def overload(function: Function) -> bool:
    """Whether it is only a signature for type checkers."""
    return any(ast.unparse(d).rpartition(".")[2] == "overload" for d in function.decorator_list)


def imported(tree: ast.AST, home: tuple[str, ...]) -> Iterator[str]:
    """Dotted names that a module of the package `home` imports when it runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) + 1 - node.level] if node.level else ()
            yield from (".".join(filter(None, (*base, node.module, alias.name))) for alias in node.names)
        else:
            yield from imported(node, home)


def arrows(package: Path) -> Arrows:
    """Rooms of the package, each with the rooms that it imports, immediately or on use (by a stub of lazy-loader)."""
    modules = {path: path.relative_to(package) for path in package.rglob("*.py*") if path.suffix in (".py", ".pyi")}
    rooms: Arrows = {inside.parts[0].partition(".")[0]: set() for inside in modules.values()}
    for path, inside in modules.items():
        room, home = inside.parts[0].partition(".")[0], (package.name, *inside.parent.parts)
        names = imported(ast.parse(path.read_text(encoding="utf-8")), home)
        targets = {name.split(".")[1] for name in names if name.startswith(f"{package.name}.")}
        rooms[room] |= (targets & rooms.keys()) - {room}
    return rooms


def floors(rooms: Arrows) -> int:
    """Count the rooms on the longest path from the top to the ground; RecursionError if imports are circular."""

    @cache
    def height(room: str) -> int:
        return 1 + max((height(other) for other in rooms[room]), default=0)

    return max(map(height, rooms))


def row(package: Path, tests: Path) -> list[str]:
    """Figures of a package in the order of HEAD."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lines = [len(text.splitlines()) for text in texts.values()]
    of_tests = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in tests.rglob("*.py"))
    found = [d for tree in trees.values() for d in definitions(tree)]
    functions = [d.node for d in found if isinstance(d.node, Function) and not overload(d.node)]
    lengths = sorted(map(length, functions))
    public = [d.node for d in found if d.public and isinstance(d.node, Function) and not overload(d.node)]
    documented = sum(ast.get_docstring(node) is not None for node in public)
    entries = {p.name.partition(".")[0] for p in package.iterdir() if p.name[0] != "."} - {"__pycache__"}
    rooms = arrows(package)
    return [
        package.name,
        f"{len(texts)}",
        f"{sum(lines):,}",
        f"{statistics.median(lengths):.0f} / {lengths[int(0.9 * len(lengths))]} / {lengths[-1]}",
        f"{sum(map(annotated, functions)) / len(functions):.1%}",
        f"{of_tests / sum(lines):.2f}",
        f"{documented / len(public):.0%} of {len(public)}",
        f"{max(lines)}",
        f"{len(entries)}",
        f"{len(rooms)}",
        f"{floors(rooms)}",
        f"{sum(map(len, rooms.values()))}",
    ]


def main() -> None:
    """Print the table, one row per package."""
    given = [Path(name) for name in sys.argv[1:]] or [ROOT / "mlc_dask", ROOT / "tests"]
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for package, tests in zip(given[::2], given[1::2], strict=True):
        print(f"| {' | '.join(row(package, tests))} |")


if __name__ == "__main__":
    main()
