"""Test the hub as a user would: log in, run the first notebook through the gateway, look at the dashboards.

Usage: python deploy/jupyterhub/session_test.py FOLDER    (after make hub; needs playwright and Chromium)

The hub is started on free ports with its state in FOLDER/state, and operated by a real browser. FOLDER gets a picture
of every step; 3-run.png is in the docs. Local workers then run the same configuration in FOLDER/local: the maps must
be the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Error, FrameLocator, Locator, Page, sync_playwright

from mlc_dask.storage.durable import entry, sha256

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
FLAGS = "--no-sandbox --disable-gpu --disable-quic --disable-background-networking --disable-component-update"
PERSON = "ada"
WORLD, RUN, READ, CLUSTER, COMPUTE, END = range(6)
"""Code cells of the first notebook."""

_TOLD = re.compile(r"patches: (?P<link>\S+?/mlc-patches)|error: .*")
"""What a run says first; the notebook may break its line."""
_BUSY = re.compile(r"[1-9]\d* (reading|classifying|writing).* [2-9]\d done")
"""The map of patches in the middle of a stage that is not the first."""
_START, _PATIENCE = 120, 600
_NOTEBOOK = 450
"""Pixels for the notebook beside the map of patches."""


def wait_for(what: str, ready: Callable[[], Any], seconds: float = _PATIENCE) -> Any:
    """Ask until there is an answer, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := ready()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come in {seconds:.0f} s")
        time.sleep(1)
    return answer


def free_ports(count: int) -> int:
    """First of several consecutive free ports."""
    for first in range(20_000 + os.getpid() % 500 * 10, 32_000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise OSError(f"no {count} free ports in a row")


def answers(url: str) -> bool:
    """Whether a server answers this URL without a login."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


class Hub:
    """The hub and its gateway, on their own ports."""

    def __init__(self, state: Path) -> None:
        self.state, port = state, free_ports(5)
        self.url, self.gateway = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 3}"
        own = {**os.environ, "MLC_HUB_PORT": str(port), "MLC_HUB_STATE": str(state)}
        command = [str(BIN / "jupyterhub"), "--config", str(HERE / "jupyterhub_config.py")]
        state.mkdir(parents=True, exist_ok=True)
        # In its own session, the hub gets a Ctrl-C once, from here, and not a second time during its cleanup.
        with (state / "hub.log").open("w") as log:
            self.process = psutil.Popen(command, env=own, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def wait(self) -> None:
        """Wait until hub and gateway answer."""
        for page in (f"{self.url}/hub/api", f"{self.gateway}/api/health"):
            wait_for(f"{page} of {self.state / 'hub.log'}", partial(answers, page), _START)

    def schedulers(self) -> list[psutil.Process]:
        """Schedulers of the current clusters."""
        with suppress(psutil.NoSuchProcess):
            return [p for p in self.process.children(recursive=True) if "scheduler" in p.cmdline()]
        return self.schedulers()

    def stop(self) -> list[psutil.Process]:
        """Stop the hub as its owner would; returns, and kills, processes that outlived it by a minute."""
        family = self.process.children(recursive=True)
        self.process.terminate()
        _, left = psutil.wait_procs([self.process, *family], timeout=60)
        for process in left:
            process.kill()
        return left


@contextmanager
def running_hub(state: Path) -> Iterator[Hub]:
    """Start the hub with its gateway, and check that none of their processes outlives it."""
    hub = Hub(state)
    try:
        hub.wait()
        yield hub
    finally:
        left = hub.stop()
    assert not left, f"outlived the hub: {left}"


class Session:
    """A browser in which a user runs the first notebook."""

    def __init__(self, page: Page, hub: Hub, pictures: Path) -> None:
        self.page, self.hub, self.pictures = page, hub, pictures
        self.notebook = hub.state / "homes" / PERSON / "first-run.ipynb"

    def picture(self, name: str, page: Page | None = None) -> None:
        """Save a picture of the current page."""
        (page or self.page).screenshot(path=self.pictures / f"{name}.png")

    def log_in(self) -> None:
        """Log in with the hub's password, after a wrong one is refused, and wait for JupyterLab."""
        self.page.goto(self.hub.url)
        for password in ("guessed", (self.hub.state / "password").read_text()):
            assert self.page.url.startswith(f"{self.hub.url}/hub/login"), self.page.url
            self.page.fill("#username_input", PERSON)
            self.page.fill("#password_input", password)
            self.picture("1-login")
            with self.page.expect_navigation():
                self.page.click("#login_submit")
        self.page.wait_for_selector("#jp-main-dock-panel", timeout=_START * 1000)
        assert self.page.url.startswith(f"{self.hub.url}/user/{PERSON}/lab"), self.page.url

    def open_notebook(self) -> None:
        """Open the notebook that the hub put into the home, wait for its kernel, and open the Dask panel."""
        self.page.goto(f"{self.hub.url}/user/{PERSON}/lab/tree/{self.notebook.name}")
        self.page.get_by_text("| Idle").wait_for(timeout=_START * 1000)
        with suppress(Error):  # JupyterLab asks once for permission to fetch its news.
            self.page.get_by_role("button", name="No", exact=True).click(timeout=5000)
        self.page.click('li[data-id="dask-dashboard-launcher"]')
        self.page.wait_for_timeout(1000)
        self.picture("2-notebook")

    def cell(self, number: int) -> dict[str, Any]:
        """Code cell of the saved notebook; it must not have failed."""
        self.tab(self.notebook.name).click()
        self.page.keyboard.press("Control+s")
        self.page.wait_for_timeout(1000)
        cells = json.loads(self.notebook.read_text(encoding="utf-8"))["cells"]
        found: dict[str, Any] = [cell for cell in cells if cell["cell_type"] == "code"][number]
        for output in found["outputs"]:
            assert output["output_type"] != "error", f"{output['ename']}: {output['evalue']}"
        return found

    def start(self, number: int) -> None:
        """Start a code cell without waiting for its end."""
        self.shown(number).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def shown(self, number: int) -> Locator:
        """Code cell on the page."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def end(self, number: int) -> str:
        """Wait for the end of a code cell, and return its printed text."""
        wait_for(f"the end of cell {number}", lambda: self.cell(number)["execution_count"])
        return self.printed(number)

    def printed(self, number: int) -> str:
        """Text printed by a code cell so far."""
        outputs = self.cell(number)["outputs"]
        return "".join("".join(o["text"] if "text" in o else o["data"]["text/plain"]) for o in outputs)

    def run(self, number: int) -> str:
        """Run a code cell, and return its printed text."""
        self.start(number)
        return self.end(number)

    def patches_in_panel(self, link: str) -> FrameLocator:
        """Open the map of patches from the Dask panel, for the cluster of this link, to the right of the notebook."""
        if not self.tab("Mlc Patches").count():
            self.page.locator(".dask-DashboardListing-item:not(.dask-mod-disabled)", has_text="Mlc Patches").click()
            self.tab("Mlc Patches").wait_for()
            self.split()
        frame = f'iframe[src^="{link.rpartition("/")[0]}/"]'
        self.page.locator(frame).wait_for(timeout=_START * 1000)
        return self.page.frame_locator(frame)

    def tab(self, title: str) -> Locator:
        """Tab of JupyterLab's main area."""
        return self.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text=title)

    def split(self) -> None:
        """Put the notebook to the left: the map is a frame, which captures the mouse when dragged to the right."""
        dock = self.page.locator("#jp-main-dock-panel").bounding_box()
        assert dock
        middle = dock["y"] + dock["height"] / 2
        self.drag(self.tab(self.notebook.name), dock["x"] + 10, middle)
        handle = self.page.locator("#jp-main-dock-panel > .lm-DockPanel-handle:visible")
        self.drag(handle, dock["x"] + _NOTEBOOK, middle)

    def drag(self, what: Locator, x: float, y: float) -> None:
        """Drag an element to a position on the page."""
        mouse = self.page.mouse
        what.hover()
        mouse.down()
        mouse.move(x, y, steps=20)
        self.page.wait_for_timeout(300)
        mouse.up()
        self.page.wait_for_timeout(300)

    def look_at_patches(self, link: str, name: str) -> None:
        """Open the map of patches in a separate tab, and wait until it counts finished patches."""
        tab = self.page.context.new_page()
        tab.goto(link)
        tab.get_by_text(re.compile(r"[1-9]\d* done")).first.wait_for(timeout=_START * 1000)
        tab.wait_for_timeout(1000)
        self.picture(name, tab)
        tab.close()

    def see_that_strangers_stay_out(self, link: str) -> None:
        """Ask for the map of patches without a login, by its link and past it."""
        browser = self.page.context.browser
        assert browser
        context = browser.new_context()
        stranger = context.new_page()
        stranger.goto(link)
        assert stranger.url.startswith(f"{self.hub.url}/hub/login"), stranger.url
        assert not stranger.get_by_text("done").count()
        context.close()
        within = "/clusters/" + link.partition("/clusters/")[2]
        assert answers(self.hub.gateway + within), "the gateway itself asks nobody"
        for place in (within, f"/services/dask-gateway{within}"):
            assert not answers(self.hub.url + place), place
        assert not answers(f"{self.hub.gateway}/api/v1/clusters/"), "clusters are for people with a token"


def try_run(session: Session) -> None:
    """Run the configuration in the notebook, and look at the run in the Dask panel and in a separate tab."""
    assert 'cluster = "gateway"' in session.run(WORLD)
    session.start(RUN)
    first = wait_for("the run's first line", lambda: _TOLD.search(session.printed(RUN).replace("\n", "")))
    link = first["link"]
    assert link, first[0]
    assert link.startswith(f"{session.hub.url}/user/{PERSON}/proxy/"), link
    address = session.page.get_by_placeholder("DASK DASHBOARD URL")
    address.fill(link.removesuffix("mlc-patches"))
    address.press("Enter")
    patches = session.patches_in_panel(link)
    session.shown(RUN).scroll_into_view_if_needed()
    patches.get_by_text(_BUSY).wait_for(timeout=_PATIENCE * 1000)
    session.picture("3-run")
    session.look_at_patches(link, "4-patches")
    session.see_that_strangers_stay_out(link)
    assert "report" in session.end(RUN), session.printed(RUN)
    wait_for("the end of the run's cluster", lambda: not session.hub.schedulers(), _START)
    session.run(READ)
    session.picture("5-maps")


def try_cluster(session: Session) -> None:
    """Start a cluster in the notebook, which the Dask panel finds, compute with it, and shut it down."""
    link = session.run(CLUSTER).strip("'\n")
    session.page.get_by_title("Auto-detect dashboard URL").click()
    session.patches_in_panel(link).get_by_text("0 waiting").wait_for(timeout=_START * 1000)
    assert "overall" in session.run(COMPUTE)
    session.picture("6-cluster")
    session.run(END)
    wait_for("the end of the notebook's cluster", lambda: not session.hub.schedulers(), _START)


def try_button(session: Session) -> None:
    """Start a cluster with the button of the Dask panel, and stop it there."""
    session.page.get_by_role("button", name="NEW", exact=True).click()
    item = session.page.locator("li.dask-ClusterListingItem")
    item.get_by_text("Number of Workers: 0").wait_for(timeout=_START * 1000)
    assert len(session.hub.schedulers()) == 1
    item.scroll_into_view_if_needed()
    session.picture("7-button")
    item.locator(".dask-ClusterListingItem-stop").click()
    wait_for("the end of the button's cluster", lambda: not session.hub.schedulers(), _START)


def run_locally(settings: Path, folder: Path) -> None:
    """Run the same configuration on the same world with local workers."""
    folder.mkdir()
    shutil.copytree(settings.parent / "world", folder / "world")
    local = folder / settings.name
    local.write_text(settings.read_text().replace('cluster = "gateway"\n', ""))
    subprocess.run([BIN / "mlc-dask", "run", local], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def stored(output: Path) -> dict[tuple[str, str], str]:
    """Digest of every stored chunk of every step's maps, by step and place."""
    steps = [record.parent for record in (output / "artifacts").glob("*/patches")]
    return {
        (step.name, str(file.relative_to(step))): entry(file)[1]
        for step in steps
        for file in step.glob("*/c/**/*")
        if file.is_file()
    }


def told(chunks: dict[tuple[str, str], str]) -> Iterator[str]:
    """Lines that name each step, the number of its chunks, and one digest of all its chunks."""
    for step, own in groupby(sorted(chunks.items()), lambda chunk: chunk[0][0]):
        digests = [digest for _, digest in own]
        yield f"{step.rpartition('-')[0]:22}{len(digests):4} chunks  {sha256(''.join(digests).encode())}"


def try_hub(folder: Path) -> dict[tuple[str, str], str]:
    """Run the whole test; returns the digests of the stored chunks, which equal those of a local run."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_hub(folder.absolute() / "state") as hub, sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS.split())
        page = browser.new_context(viewport={"width": 1920, "height": 1000}).new_page()
        session = Session(page, hub, folder)
        session.log_in()
        session.open_notebook()
        try_run(session)
        try_cluster(session)
        try_button(session)
        browser.close()
    run_locally(session.notebook.parent / "first-run" / "gateway.toml", folder / "local")
    through_gateway, by_local_workers = stored(session.notebook.parent / "first-run"), stored(folder / "local")
    assert through_gateway and through_gateway == by_local_workers, "the maps differ from those of a local run"
    return through_gateway


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("\n".join(told(try_hub(Path(sys.argv[1])))), "equal to those of a local run", sep="\n")  # noqa: T201
