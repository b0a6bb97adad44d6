"""Execute the notebooks' scripts into notebooks with outputs: ``python notebooks/render.py [--into FOLDER] [NAME …]``.

Outputs that need a running kernel, such as interactive maps, are replaced by a line of text: in a file they would take
megabytes of JavaScript.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jupytext
import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

HERE = Path(__file__).parent
LIVE = ("application/vnd.holoviews_exec.v0+json", "application/vnd.holoviews_load.v0+json", "application/javascript")
INSTEAD = "(an interactive map: run the notebook to see it)"


def names() -> list[str]:
    """Names of all notebooks."""
    return sorted(p.stem for p in HERE.glob("*.py") if p != Path(__file__))


def render(name: str, folder: Path) -> Path:
    """Execute one notebook, in an empty kernel whose working folder is `folder`; returns its path there."""
    notebook = jupytext.read(HERE / f"{name}.py")
    ExecutePreprocessor(timeout=600, kernel_name="python3").preprocess(notebook, {"metadata": {"path": str(folder)}})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _still(cell.outputs)
    # Cells are numbered, so that rendering again changes only the outputs that differ.
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{name}-{number}"
    target = folder / f"{name}.ipynb"
    nbformat.write(notebook, target)
    return target


def _still(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs that a file can hold, without warnings of the machine and without outputs that need a kernel."""
    shown = [o for o in outputs if o.get("data") or o.get("name") == "stdout"]
    if not any(kind in o.get("data", {}) for o in shown for kind in LIVE):
        return shown
    return [nbformat.v4.new_output("display_data", {"text/plain": INSTEAD})]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks; all by default")
    parser.add_argument(
        "--into", type=Path, default=HERE, metavar="FOLDER", help="where to; beside the scripts by default"
    )
    asked = parser.parse_args()
    for own in asked.names or names():
        print(render(own, asked.into))
