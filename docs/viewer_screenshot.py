"""Take the picture of the viewer, docs/viewer.png, of a finished run in a real browser.

Usage: python docs/viewer_screenshot.py [OUTPUT [PICTURE]], by default mlc-demo (`make demo`) and docs/viewer.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

from browser import served, shown
from playwright.sync_api import Page


def main(output: Path, picture: Path) -> None:
    """Serve `output`, compare its first and last year, select a pixel, and save the browser's view."""
    with served("view", str(output)) as address, shown(address) as page:
        page.wait_for_selector(".leaflet-tile-loaded")
        page.locator("#compare").check()
        _ask_for_a_pixel(page)
        page.wait_for_selector("fieldset:visible[aria-busy=true]", state="detached")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=picture)


def _ask_for_a_pixel(page: Page) -> None:
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.wait_for_selector("#series svg")
    page.mouse.click(box["x"] + 0.57 * box["width"], box["y"] + 0.28 * box["height"])


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(*given, *(Path("mlc-demo"), Path(__file__).parent / "viewer.png")[len(given) :])
