"""The quick-start notebook runs from top to bottom on a small world."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_quickstart_runs(tmp_path: Path) -> None:
    target = tmp_path / "quickstart.ipynb"
    command = [sys.executable, "-m", "jupytext", "--to", "notebook", "--execute", "--output", str(target)]
    environment = {**os.environ, "MLC_NOTEBOOK_SIZE": "128", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(ROOT / "notebooks" / "quickstart.py")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    text = target.read_text(encoding="utf-8")
    assert text.count("image/png") >= 8 and '"output_type": "error"' not in text
