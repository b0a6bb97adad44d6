"""Take the picture of the page of interpretation, docs/interpret.png, in a real browser.

Usage: python docs/interpret_screenshot.py [OUTPUT [SAMPLE [PICTURE]]], by default mlc-demo (`make demo`), mlc-sample
(a sample of that run) and docs/interpret.png. It answers a copy of the sample, without its labels.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from browser import served, shown
from playwright.sync_api import Page


def main(output: Path, sample: Path, picture: Path, width: int = 1280, height: int = 800) -> None:
    """Serve a copy of `sample`, answer a few points, and save the browser's view of the next one."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / sample.resolve().name
        shutil.copytree(sample, copy, ignore=shutil.ignore_patterns("labels"))
        command = ("interpret", str(output), str(copy), "--as", "anna")
        with served(*command) as address, shown(address, width, height) as page:
            _answer(page)
            page.screenshot(path=picture)


def _answer(page: Page) -> None:
    page.wait_for_selector("body[data-ready]")
    for answered in range(3):
        _press(page, "1", "Enter")
        page.wait_for_selector(f"body[data-point='{answered + 1}']")
    _press(page, "3", "ArrowDown", "ArrowDown", "Shift+Digit9")
    page.locator(".year.selected .chip:not(.invalid)").nth(3).hover()


def _press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    defaults = (Path("mlc-demo"), Path("mlc-sample"), Path(__file__).parent / "interpret.png")
    main(*given, *defaults[len(given) :])
