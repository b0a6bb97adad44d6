"""Try the hub as a person would: log in, run the first notebook through the gateway, look at the dashboards.

Usage: python deploy/jupyterhub/session_test.py FOLDER    (after make hub; needs playwright and Chromium)

The hub is started on free ports with its state in FOLDER/state, and driven by a real browser. FOLDER gets a picture of
every step. The same configuration is then run by local workers in FOLDER/local: the maps must be the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
FLAGS = "--no-sandbox --disable-gpu --disable-quic --disable-background-networking --disable-component-update"
PERSON = "ada"
WORLD, RUN, READ, CLUSTER, COMPUTE, END = range(6)
"""Code cells of the first notebook."""

_TOLD = re.compile(r"patches: (?P<link>\S+?/mlc-patches)|error: .*")
"""What a run says first; the notebook may break its line."""
_START, _PATIENCE = 120, 1200


def wait_for(what: str, ready: Callable[[], Any], seconds: float = _PATIENCE) -> Any:
    """Ask until the answer is something, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := ready()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come in {seconds:.0f} s")
        time.sleep(1)
    return answer


def free_ports(count: int) -> int:
    """First of several ports in a row that nobody uses."""
    for first in range(20_000 + os.getpid() % 500 * 10, 32_000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise OSError(f"no {count} free ports in a row")


def answers(url: str) -> bool:
    """Whether a server is there."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


@contextmanager
def running_hub(state: Path) -> Iterator[str]:
    """Start the hub with its gateway, and see that nothing of them outlives it; gives its address."""
    port = free_ports(5)
    url = f"http://127.0.0.1:{port}"
    own = {**os.environ, "MLC_HUB_PORT": str(port), "MLC_HUB_STATE": str(state)}
    state.mkdir(parents=True, exist_ok=True)
    command = [str(BIN / "jupyterhub"), "--config", str(HERE / "jupyterhub_config.py")]
    with (state / "hub.log").open("w") as log:
        hub = psutil.Popen(command, env=own, stdout=log, stderr=subprocess.STDOUT)
    try:
        for page in ("/hub/api", "/services/dask-gateway/api/health"):
            wait_for(f"{page} of {state / 'hub.log'}", lambda url=url + page: answers(url), _START)
        yield url
    finally:
        family = hub.children(recursive=True)
        hub.terminate()
        _, left = psutil.wait_procs([hub, *family], timeout=60)
        for process in left:
            process.kill()
    assert not left, f"outlived the hub: {left}"


class Session:
    """A browser in which a person goes through the first notebook."""

    def __init__(self, page: Page, url: str, state: Path, pictures: Path) -> None:
        self.page, self.url, self.state, self.pictures = page, url, state, pictures
        self.notebook = state / "homes" / PERSON / "first-run.ipynb"

    def picture(self, name: str, page: Page | None = None) -> None:
        """Keep what is seen now."""
        (page or self.page).screenshot(path=self.pictures / f"{name}.png")

    def log_in(self) -> None:
        """Log in with the password that the hub made, until JupyterLab is there."""
        self.page.goto(f"{self.url}/hub/login")
        self.picture("1-login")
        self.page.fill("#username_input", PERSON)
        self.page.fill("#password_input", (self.state / "password").read_text())
        self.page.click("#login_submit")
        self.page.wait_for_selector("#jp-main-dock-panel", timeout=_START * 1000)

    def open_notebook(self) -> None:
        """Open the notebook that the hub has put into the home, and wait for its kernel."""
        self.page.goto(f"{self.url}/user/{PERSON}/lab/tree/{self.notebook.name}")
        self.page.get_by_text("| Idle").wait_for(timeout=_START * 1000)
        with suppress(Exception):  # JupyterLab asks once whether it may fetch its news.
            self.page.get_by_role("button", name="No", exact=True).click(timeout=5000)
        self.picture("2-notebook")

    def cell(self, number: int) -> dict[str, Any]:
        """Code cell as the notebook is saved now; not one that failed."""
        self.page.keyboard.press("Control+s")
        self.page.wait_for_timeout(1000)
        cells = json.loads(self.notebook.read_text(encoding="utf-8"))["cells"]
        found: dict[str, Any] = [cell for cell in cells if cell["cell_type"] == "code"][number]
        for output in found["outputs"]:
            assert output["output_type"] != "error", f"{output['ename']}: {output['evalue']}"
        return found

    def start(self, number: int) -> None:
        """Run a code cell, without waiting for its end."""
        self.page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def end(self, number: int) -> str:
        """Wait for the end of a code cell, and return what it printed."""
        wait_for(f"the end of cell {number}", lambda: self.cell(number)["execution_count"])
        return self.printed(number)

    def printed(self, number: int) -> str:
        """Text of a code cell's outputs so far."""
        outputs = self.cell(number)["outputs"]
        return "".join("".join(o["text"] if "text" in o else o["data"]["text/plain"]) for o in outputs)

    def run(self, number: int) -> str:
        """Run a code cell, and return what it printed."""
        self.start(number)
        return self.end(number)

    def look_at_patches(self, link: str, name: str) -> None:
        """Open the map of patches in a tab of its own, and wait until it counts finished ones."""
        tab = self.page.context.new_page()
        tab.goto(link)
        tab.get_by_text(re.compile(r"[1-9]\d* done")).first.wait_for(timeout=_PATIENCE * 1000)
        tab.wait_for_timeout(1000)
        self.picture(name, tab)
        tab.close()

    def look_at_panel(self) -> None:
        """Have the Dask panel find the notebook's cluster, and open the map of patches beside the notebook."""
        self.page.click('li[data-id="dask-dashboard-launcher"]')
        self.page.get_by_title("Auto-detect dashboard URL").click()
        panel = self.page.locator("#dask-dashboard-launcher")
        panel.get_by_text("Mlc Patches").click(timeout=_START * 1000)
        self.page.frame_locator("iframe").get_by_text("waiting").first.wait_for(timeout=_START * 1000)
        self.page.wait_for_timeout(2000)
        self.picture("6-panel")


def go_through(session: Session) -> Path:
    """Go through the notebook; returns the output of its run."""
    session.log_in()
    session.open_notebook()
    assert 'cluster = "gateway"' in session.run(WORLD)
    session.start(RUN)
    told = wait_for("the run's first line", lambda: _TOLD.search(session.printed(RUN).replace("\n", "")))
    assert told["link"], told[0]
    assert told["link"].startswith(f"{session.url}/services/dask-gateway/clusters/"), told["link"]
    session.look_at_patches(told["link"], "3-patches")
    assert "report" in session.end(RUN), session.printed(RUN)
    session.picture("4-run")
    session.run(READ)
    session.run(CLUSTER)
    assert "overall" in session.run(COMPUTE)
    session.picture("5-cluster")
    session.look_at_panel()
    return session.notebook.parent / "first-run"


def run_locally(settings: Path, folder: Path) -> None:
    """Run the same configuration on the same world by local workers."""
    folder.mkdir()
    shutil.copytree(settings.parent / "world", folder / "world")
    (folder / "demo.toml").write_text(settings.read_text().replace('cluster = "gateway"\n', ""))
    subprocess.run([BIN / "mlc-dask", "run", folder / "demo.toml"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def stored(output: Path) -> dict[tuple[str, str], str]:
    """Digest of every stored chunk of every step's maps, by its place."""
    steps = [record.parent for record in (output / "artifacts").glob("*/patches")]
    return {
        (step.name, str(file.relative_to(step))): hashlib.sha256(file.read_bytes()).hexdigest()
        for step in steps
        for file in step.glob("*/c/**/*")
        if file.is_file()
    }


def try_hub(folder: Path) -> int:
    """Go through all of it; returns how many chunks are equal to those of a local run."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder.absolute() / "state"
    with running_hub(state) as url, sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS.split())
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        output = go_through(Session(page, url, state, folder))
        browser.close()
    run_locally(output / "demo.toml", folder / "local")
    through_gateway, by_local_workers = stored(output), stored(folder / "local")
    assert through_gateway and through_gateway == by_local_workers, "the maps differ from those of a local run"
    return len(through_gateway)


if __name__ == "__main__":
    print(f"{try_hub(Path(sys.argv[1]))} stored chunks are equal to those of a local run")  # noqa: T201
