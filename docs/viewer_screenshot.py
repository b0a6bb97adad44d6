"""Take the picture of the viewer, docs/viewer.png, of a finished run in a real browser.

Usage: python docs/viewer_screenshot.py [OUTPUT [PICTURE]], by default mlc-demo (`make demo`) and docs/viewer.png.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

_OPTIONS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"


def main(output: Path, picture: Path) -> None:
    """Serve `output`, compare its first and last year, select a pixel, and save the browser's view."""
    command = [sys.executable, "-m", "mlc_dask", "view", str(output), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 (our own)
        assert server.stdout is not None
        try:
            _photograph(server.stdout.readline().split()[0], picture)
        finally:
            server.send_signal(signal.SIGINT)


def _photograph(address: str, picture: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_OPTIONS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.wait_for_selector(".leaflet-tile-loaded")
        page.locator("#compare").check()
        _ask_for_a_pixel(page)
        page.wait_for_selector("fieldset:visible[aria-busy=true]", state="detached")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=picture)
        browser.close()


def _ask_for_a_pixel(page: Page) -> None:
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.wait_for_selector("#series svg")
    page.mouse.click(box["x"] + 0.57 * box["width"], box["y"] + 0.28 * box["height"])


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(*given, *(Path("mlc-demo"), Path(__file__).parent / "viewer.png")[len(given) :])
