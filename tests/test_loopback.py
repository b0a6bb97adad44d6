"""Who can reach what a run on this machine opens: its own user, with the run's own certificate."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from distributed import Client

from mlc_dask.compute.backends import connect
from mlc_dask.config import Execution
from tests.sockets import listening, loopback

pytestmark = pytest.mark.slow


def watched(command: list[str], log: Path) -> set[tuple[int, str, int]]:
    """All sockets that a command ever offered, to its end."""
    found: set[tuple[int, str, int]] = set()
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as run:
        own = psutil.Process(run.pid)
        while run.poll() is None:
            found |= set(listening(own))
            time.sleep(0.2)
    assert run.returncode == 0, log.read_text()
    return found


def test_every_socket_of_a_run_is_on_loopback(tmp_path: Path) -> None:
    start = [sys.executable, "-m", "mlc_dask"]
    found = watched([*start, "demo", str(tmp_path / "demo"), "--size", "96", "--until", "catalogue"], tmp_path / "log")
    # Scheduler, dashboard, two workers with a nanny and an HTTP server each.
    assert len(found) >= 8 and len({pid for pid, _, _ in found}) >= 3, found
    assert loopback(found), found


def test_a_socket_elsewhere_is_found(tmp_path: Path) -> None:
    """The watcher can fail."""
    everywhere = "import socket, time; s = socket.socket(); s.bind(('0.0.0.0', 0)); s.listen(); time.sleep(1)"
    assert not loopback(watched([sys.executable, "-c", everywhere], tmp_path / "log"))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect(Execution(workers=1, dashboard="127.0.0.1:0")) as own:
        yield own


STRANGER = """
import asyncio, os, sys
from distributed.core import rpc
from distributed.security import Security
address, user, certificate = sys.argv[1:]
if user != "own":
    os.setuid(int(user))
async def ask():
    own = Security.temporary() if certificate == "other" else Security()
    address_ = address if certificate == "other" else address.replace("tls://", "tcp://")
    async with rpc(address_, timeout="5s", connection_args=own.get_connection_args("client")) as them:
        print("answer:", await asyncio.wait_for(them.identity(), 10))
try:
    asyncio.run(ask())
except BaseException as error:
    print("refused:", type(error).__name__)
"""


@pytest.mark.parametrize(
    "user", ["own", pytest.param("65534", marks=pytest.mark.skipif(os.getuid() != 0, reason="needs root"))]
)
@pytest.mark.parametrize("certificate", ["none", "other"])
def test_strangers_are_refused_by_scheduler_and_workers(client: Client, user: str, certificate: str) -> None:
    info = client.scheduler_info(n_workers=-1)["workers"]
    addresses = [client.scheduler.address, *info, *(w["nanny"] for w in info.values())]
    assert len(addresses) == 3 and all(a.startswith("tls://127.0.0.1:") for a in addresses)
    for address in addresses:
        command = [sys.executable, "-c", STRANGER, address, user, certificate]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
        assert re.match("refused: ", told.stdout), (address, told.stdout, told.stderr)


def test_the_run_itself_is_answered(client: Client) -> None:
    """What refuses the others is not that nobody answers."""
    assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.parametrize(
    "path", ["status", "mlc-patches", "json/counts.json", "mlc/patches.json", "info/main/workers.html"]
)
@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_the_dashboard_checks_host_and_origin(client: Client, path: str, headers: dict[str, str], answer: int) -> None:
    base = client.dashboard_link.removesuffix("status")
    assert requests.get(base + path, headers=headers, timeout=20).status_code == answer


def test_websockets_check_the_origin(client: Client) -> None:
    base = client.dashboard_link.removesuffix("/status")
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==", "Sec-WebSocket-Protocol": "bokeh",
    }  # fmt: skip

    def status(origin: str) -> int:
        with requests.get(f"{base}/status/ws", headers=upgrade | {"Origin": origin}, timeout=20, stream=True) as told:
            return told.status_code

    assert status("http://evil.example") == 403
    assert status(base) != 403


def test_workers_tell_nothing_by_http(client: Client) -> None:
    ((address, pid),) = client.run(os.getpid).items()
    ports = {port for _, _, port in listening(psutil.Process(pid))} - {int(address.rpartition(":")[2])}
    assert len(ports) == 1, "a worker has its own server, whose answers are looked at here"
    for path in ("status", "info/main/workers.html", "health", "metrics", "json/counts.json"):
        assert requests.get(f"http://127.0.0.1:{min(ports)}/{path}", timeout=20).status_code == 404


@pytest.mark.parametrize("dashboard", ["0.0.0.0:8787", ":8787", "8787", "10.0.0.1:8787", "127.0.0.1"])
def test_the_dashboard_is_on_loopback(dashboard: str) -> None:
    with pytest.raises(ValueError, match=r"give 127\.0\.0\.1:PORT, and open it from another machine through: ssh"):
        Execution(dashboard=dashboard)
