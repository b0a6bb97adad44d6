"""A real browser for the pictures of the docs: a page of `mlc-dask`, served while it is photographed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

_OPTIONS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"


@contextmanager
def served(*command: str) -> Iterator[str]:
    """Run a command of `mlc-dask` that serves a page on a free port; yields the address of the page."""
    words = [sys.executable, "-m", "mlc_dask", *command, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 (our own)
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.send_signal(signal.SIGINT)


@contextmanager
def shown(address: str, width: int = 1280, height: int = 800) -> Iterator[Page]:
    """Show a page in a window of this size."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_OPTIONS.split())
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(address)
        yield page
        browser.close()
