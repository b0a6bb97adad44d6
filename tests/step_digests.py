"""What every step is made of: a digest of each module that decides its result, recorded with its version.

``python -m tests.step_digests`` records the digests as they are; ``tests/test_step_digests.py`` compares them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlc_dask
from tests.test_architecture import NAME, imports_of

PACKAGE = Path(mlc_dask.__file__).parent
TABLE = Path(__file__).with_suffix(".json")
COMMAND = "python -m tests.step_digests"

ROOMS = ("data", "kernels", "stages", "classifiers", "io", "show")
APART = ("data/errors.py", "data/steps.py", "data/settings.py", "stages/settings.py", "io/patchstore/")
"""An error is no result; versions are recorded beside; settings are in the fingerprint; a store changes no value."""
MEANT = {
    "Source": "io/sources/__init__.py",
    "Reference": "io/old_map.py",
    "Model": "classifiers/__init__.py",
    "Classifier": "classifiers/__init__.py",
}
"""Protocols of arguments of steps, and the module where they are implemented."""
COMPILED = {"kernels/gaps.py": "gaps", "classifiers/forest/votes.py": "forest", "classifiers/lstm/compiled.py": "lstm"}
"""Modules that call compiled kernels, and how the names of their C++ files begin."""

Modules = dict[str, str]
"""Digest of each file by its path in the package."""


@dataclass(frozen=True)
class Step:
    """A step: the module of its function, its version, and the modules that decide its result."""

    module: str
    version: int
    reached: frozenset[str]


def digest(content: Any) -> str:
    return sha256(json.dumps(content).encode()).hexdigest()[:12]


def essence(node: Any) -> Any:
    """Meaning of a tree: without positions, docstrings, annotations of functions, messages, and versions of steps."""
    if isinstance(node, list):
        return [essence(one) for one in node if not _silent(one)]
    if _version(node) is not None:
        return ["step", sorted(ast.unparse(k) for k in node.keywords if k.arg != "version")]
    if isinstance(node, ast.Raise):
        return ["Raise", essence(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)]
    if isinstance(node, ast.AST):
        left_out = {"ctx", "kind", "type_comment", "type_ignores", "returns"}
        left_out |= {"annotation"} if isinstance(node, ast.arg) else set()
        left_out |= {"msg"} if isinstance(node, ast.Assert) else set()
        fields = {name: value for name, value in ast.iter_fields(node) if name not in left_out}
        # Which empty fields a tree has depends on the version of Python.
        return [type(node).__name__, {name: essence(v) for name, v in fields.items() if v is not None and v != []}]
    return repr(node)


def _silent(node: Any) -> bool:
    """Whether a statement means nothing for a result."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return False


def _version(decorator: Any) -> tuple[str, int] | None:
    """Name and version that a decorator ``@step(…)`` gives; None of another one."""
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Name) or decorator.func.id != "step":
        return None
    given = {k.arg: ast.literal_eval(k.value) for k in decorator.keywords}
    return str(ast.literal_eval(decorator.args[0])), int(given.get("version", 1))


@cache
def imported(module: str, text: str) -> tuple[str, ...]:
    """Dotted names that a module, or a stub, imports."""
    return tuple(name for _, name in imports_of(module, text))


@cache
def declared(text: str) -> tuple[tuple[str, int, frozenset[str]], ...]:
    """Steps of a module: name, version, and the types of the arguments."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            types = frozenset(n.id for a in node.args.args for n in ast.walk(a) if isinstance(n, ast.Name))
            found += [(*version, types) for own in node.decorator_list if (version := _version(own))]
    return tuple(found)


@cache
def digest_of(module: str, text: str) -> str:
    """Digest of what a file means: Python by its tree, C++ without comments, others by their words."""
    if module.endswith(".py"):
        return digest(essence(ast.parse(text)))
    if module.endswith((".cpp", ".hpp")):
        text = re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', r"\1", text, flags=re.S)
    return digest(text.split())


@dataclass(frozen=True)
class House:
    """The package in a folder, read without importing it."""

    root: Path

    def text(self, module: str) -> str:
        return (self.root / module).read_text(encoding="utf-8")

    @cached_property
    def steps(self) -> dict[str, Step]:
        """Steps by name, from the decorators of all functions."""
        found = {}
        for module in sorted(p.relative_to(self.root).as_posix() for p in self.root.rglob("*.py")):
            for name, version, arguments in declared(self.text(module)):
                assert name not in found, f"two steps are called {name!r}"
                found[name] = Step(module, version, self._closure(module, arguments))
        return found

    @cached_property
    def modules(self) -> Modules:
        """Digests of all modules that steps reach."""
        reached = sorted({m for step in self.steps.values() for m in step.reached})
        return {module: digest_of(module, self.text(module)) for module in reached}

    def recorded(self) -> dict[str, dict[str, Any]]:
        """Content of the table."""
        versions = {name: step.version for name, step in sorted(self.steps.items())}
        return {"versions": versions, "modules": self.modules}

    def _closure(self, module: str, arguments: frozenset[str]) -> frozenset[str]:
        """Modules that a step reaches by imports, and by the protocols among the types of its arguments."""
        found: set[str] = set()
        waiting = [module, *(MEANT[name] for name in MEANT if name in arguments)]
        while waiting:
            one = waiting.pop()
            if one not in found and not one.startswith(APART):
                found.add(one)
                waiting += self._beside(one)
        return frozenset(found)

    def _beside(self, module: str) -> Iterator[str]:
        """What a module imports, the C++ that it calls, and the other files that it names."""
        text = self.text(module)
        if module.endswith(".py"):
            for name in imported(module, text):
                if name.startswith(f"{NAME}.native"):
                    stem = COMPILED[module]
                    yield "native/module.cpp"
                    yield from (f"native/{p.name}" for p in sorted((self.root / "native").glob(f"{stem}*.?pp")))
                elif name.split(".")[0] == NAME and (target := self._home(name.split(".")[1:])):
                    yield target
            files = (p for p in (self.root / module).parent.iterdir() if p.suffix in (".jinja", ".toml"))
            yield from (f"{Path(module).parent}/{p.name}" for p in sorted(files) if p.name in text)
        elif module.startswith("native/") and module != "native/module.cpp":
            headers = re.findall(r'#include "([^"]+)"', text)
            yield from (f"native/{name}" for name in headers if (self.root / "native" / name).exists())

    def _home(self, name: list[str]) -> str | None:
        """Module where a dotted name is defined, seen through stubs; None outside the rooms."""
        if name[0] not in ROOMS:
            return None
        for n in range(len(name), 0, -1):
            path = self.root.joinpath(*name[:n])
            if path.with_suffix(".py").exists():
                return path.with_suffix(".py").relative_to(self.root).as_posix()
            stub = path / "__init__.pyi"
            if stub.exists() and n < len(name):
                offered = imported(stub.relative_to(self.root).as_posix(), stub.read_text(encoding="utf-8"))
                (home,) = {found for found in offered if found.rpartition(".")[2] == name[n]}
                return self._home(home.split(".")[1:])
            if (path / "__init__.py").exists():
                return (path / "__init__.py").relative_to(self.root).as_posix()
        raise AssertionError(f"{NAME}.{'.'.join(name)} is nowhere")


def faults(house: House, table: dict[str, dict[str, Any]]) -> list[str]:
    """What changed since the table was recorded, a line per module, with the steps whose version was not raised."""
    versions, before = table["versions"], table["modules"]
    changed = [module for module, now in house.modules.items() if before.get(module) != now]
    lines = []
    for module in changed:
        own = {name: step for name, step in house.steps.items() if module in step.reached}
        kept = sorted(name for name, step in own.items() if versions.get(name) == step.version)
        if kept:
            lines.append(f"{module} changed: raise the version of {', '.join(kept)},")
    if lines:
        return [*lines, f"or record that the meaning is the same with: {COMMAND}"]
    return [] if house.recorded() == table else [f"the table is older than the code; record it again: {COMMAND}"]


def main() -> None:
    TABLE.write_text(json.dumps(House(PACKAGE).recorded(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
