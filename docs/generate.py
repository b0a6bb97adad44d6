"""Sphinx extension: content generated from the code while the site is built, so that it cannot be out of date.

``<!-- generated: configuration -->`` in a page becomes the tables of all keys of the configuration, ``sources`` those
of all sources, and ``commands`` the commands. Links to folders of the repository become plain text, because a site has
no folders.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import typer
import typer.core
import typer.main
from pydantic import TypeAdapter
from sphinx.application import Sphinx

from mlc_dask.classifiers import CLASSIFIERS
from mlc_dask.cli import app as commands
from mlc_dask.config import Config
from mlc_dask.config.sections import DEFAULT_KIND
from mlc_dask.data.settings import fields_of, sections_in
from mlc_dask.io.sources import SOURCES

_LEADS = re.compile(r"\[(`?)([^\]`]+)\1\]\(((?:\.\.?/|[\w-]+/)[^)#:\s]*)\)")
_METHOD = re.compile(r"method section")
_FORMS = {"integer": "integer", "number": "number", "boolean": "true or false", "object": "table", "null": "left out"}
_BOUNDS = {"minimum": "≥", "maximum": "≤", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
_DECISIONS = "\n```{toctree}\n:glob:\n:maxdepth: 1\n\n0*\n```\n"


def configuration() -> str:
    """Tables of all keys, one per section; keys above all sections come first."""
    schema = Config.model_json_schema()
    sections = {name: next(iter(sections_in(own.annotation)), None) for name, own in fields_of(Config).items()}
    plain = {name for name, model in sections.items() if model is None and name != "classifier"}
    parts = ["## At the top\n", _table(schema, plain, {})]
    for name, model in sections.items():
        if model is not None:
            parts += [f"## `[{name}]`\n", *_section(model)]
    parts += ["## `[classifier]`\n", "The classifier of the maps; `kind` chooses it.\n"]
    for kind, classifier in CLASSIFIERS.items():
        default = ", the default" if kind == DEFAULT_KIND else ""
        parts += [f'### `kind = "{kind}"`{default}\n', *_section(classifier)]
    return "\n".join(parts)


def _section(model: type[Any]) -> Iterator[str]:
    about = inspect.cleandoc(model.__doc__ or "").partition("\n\nParameters\n")[0]
    yield f"{_METHOD.sub(r'[method](../method.md) section', about)}\n"
    yield _table(TypeAdapter(model).json_schema(), None, {})


def sources() -> str:
    """Tables of the keys of ``[source]``, by its `kind`."""
    parts = []
    for kind, model in SOURCES.items():
        schema = model.model_json_schema()
        parts += [f'### `kind = "{kind}"`\n', _table(schema, None, parameters(model))]
    return "\n".join(parts)


def command_line() -> str:
    """Every command: its purpose, its arguments and its options."""
    group = typer.main.get_command(commands)
    assert isinstance(group, typer.core.TyperGroup)
    return "\n".join(part for name, one in group.commands.items() for part in _command(name, one))


def parameters(model: type[Any]) -> dict[str, str]:
    """Meaning of every key of a source, from the docstrings of its class and of its base classes."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        _, _, section = inspect.cleandoc(one.__doc__ or "").partition("Parameters\n----------\n")
        for names, text in re.findall(r"^(\w[\w, ]*)\n((?:    .*\n?|\n(?=    ))+)", section, re.MULTILINE):
            found |= dict.fromkeys(re.split(r",\s*", names), text.replace("``", "`"))
    return found


def _table(schema: Mapping[str, Any], only: set[str] | None, meanings: Mapping[str, str]) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, own in schema["properties"].items():
        if only is None or key in only:
            form = _cell(_form(own, schema.get("$defs", {})))
            default = "required" if key in schema.get("required", ()) else _default(own)
            rows.append(f"| `{key}` | {form} | {default} | {_cell(own.get('description') or meanings[key])} |")
    return "\n".join([*rows, ""])


def _form(own: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Describe the permitted values in words."""
    if "anyOf" in own:
        forms = [_form(o, models) for o in own["anyOf"] if o.get("type") != "null"]
        return " or ".join(forms)
    if "$ref" in own:
        keys = models[own["$ref"].rpartition("/")[2]]["properties"]
        return f"table of {', '.join(f'`{k}`' for k in keys)}"
    if "enum" in own or "const" in own:
        return ", ".join(f"`{json.dumps(v)}`" for v in own.get("enum", [own.get("const")]))
    if own.get("type") == "array":
        inner = own.get("items") or (own.get("prefixItems") or [{}])[0]
        count = f"{len(own['prefixItems'])} " if "prefixItems" in own else ""
        return f"list of {count}{_form(inner, models)}s"
    if own.get("type") == "string":
        return "path" if own.get("format") == "path" else "text"
    bounds = " and ".join(f"{sign} {own[name]:,}" for name, sign in _BOUNDS.items() if name in own)
    return f"{_FORMS[own['type']]} {bounds}".strip()


def _default(own: Mapping[str, Any]) -> str:
    value = own.get("default")
    return "–" if value is None or value == {} else f"`{json.dumps(value, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _command(name: str, one: Any) -> Iterator[str]:
    with typer.Context(one, info_name=f"mlc-dask {name}") as context:
        yield f"## `mlc-dask {name}`\n"
        yield f"{inspect.cleandoc(one.help or '')}\n"
        rows = [own for own in one.get_params(context) if own.name != "help"]
        words = [_word(own) for own in rows if isinstance(own, typer.core.TyperArgument)]
        yield f"```text\n{' '.join([context.command_path, '[OPTIONS]', *words])}\n```\n"
        yield "| | | default |\n|---|---|---|"
        yield from (f"| {_spelling(own)} | {_cell(own.help or '')} | {_usual(own)} |" for own in rows)
        yield ""


def _word(own: Any) -> str:
    return own.name.upper() if own.required else f"[{own.name.upper()}]"


def _spelling(own: Any) -> str:
    argument = isinstance(own, typer.core.TyperArgument)
    return f"`{own.name.upper()}`" if argument else ", ".join(f"`{o}`" for o in own.opts)


def _usual(own: Any) -> str:
    if own.required:
        return "required"
    return "–" if own.default is None or own.default is False else f"`{own.default}`"


GENERATED: dict[str, Callable[[], str]] = {
    "configuration": configuration,
    "sources": sources,
    "commands": command_line,
}


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Insert the generated parts of a page, and remove links to targets outside the site: folders, other Markdown."""
    text = source[0]
    for name, generated in GENERATED.items():
        mark = f"<!-- generated: {name} -->"
        if mark in text:
            text = text.replace(mark, generated())
    root = Path(app.srcdir).resolve()
    text = _LEADS.sub(partial(_without_folders, root, (root / docname).parent), text)
    source[0] = text + _DECISIONS if docname == "decisions/README" else text


def _without_folders(root: Path, folder: Path, link: re.Match[str]) -> str:
    _, text, target = link.groups()
    path = (folder / target).resolve()
    elsewhere = path.is_dir() or (path.suffix == ".md" and path.is_file() and root not in path.parents)
    return f"`{text}`" if elsewhere else link.group()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the events of Sphinx."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
