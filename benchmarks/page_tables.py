"""Tables of the documentation that a benchmark makes: they stand between two comments, which name the script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

PAGE = Path(__file__).parents[1] / "docs" / "evidence.md"


def put(script: str, tables: Mapping[str, str], page: Path = PAGE) -> None:
    """Print the tables, and replace those of these names in the page.

    Raises
    ------
    ValueError
        If the page has no place for a table.
    """
    text = page.read_text(encoding="utf-8")
    for name, own in tables.items():
        print(own)
        begin, end = f"<!-- {name}: made by benchmarks/{script}.py -->", f"<!-- /{name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"{page} has no place for the table {name!r}; add the lines {begin} and {end}")
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{own}\n{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")


def markdown(table: pd.DataFrame) -> str:
    """Return a table without its index, numbers with three digits."""
    rows = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in table.itertuples(index=False)]
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
