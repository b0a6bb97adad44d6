"""Take the picture of the page of interpretation, docs/interpret.png, in a real browser.

Usage: python docs/interpret_screenshot.py [OUTPUT [SAMPLE [PICTURE]]], by default mlc-demo (`make demo`), mlc-sample
(a sample of that run) and docs/interpret.png. It answers a copy of the sample, without its labels.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

_OPTIONS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"


def main(output: Path, sample: Path, picture: Path, width: int = 1280, height: int = 800) -> None:
    """Serve a copy of `sample`, answer a few points, and save the browser's view of the next one."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / sample.resolve().name
        shutil.copytree(sample, copy, ignore=shutil.ignore_patterns("labels"))
        command = [sys.executable, "-m", "mlc_dask", "interpret", str(output), str(copy), "--as", "anna", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 (our own)
            assert server.stdout is not None
            try:
                _photograph(server.stdout.readline().split()[0], picture, width, height)
            finally:
                server.send_signal(signal.SIGINT)


def _photograph(address: str, picture: Path, width: int, height: int) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_OPTIONS.split())
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        for answered in range(3):
            _press(page, "1", "Enter")
            page.wait_for_selector(f"body[data-point='{answered + 1}']")
        _press(page, "3", "ArrowDown", "ArrowDown", "Shift+Digit9")
        page.locator(".year.selected .chip:not(.invalid)").nth(3).hover()
        page.screenshot(path=picture)
        browser.close()


def _press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    defaults = (Path("mlc-demo"), Path("mlc-sample"), Path(__file__).parent / "interpret.png")
    main(*given, *defaults[len(given) :])
