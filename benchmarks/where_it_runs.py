"""The demonstration on one kind of cluster after another: whether the maps are the same bytes, and the seconds.

Usage: python benchmarks/where_it_runs.py [SIZE], 256 pixels by default; needs openssl, and dask-gateway-server[local].

Local processes come first; then a running scheduler and two workers with TLS; then a dask-gateway that starts
processes on this machine. Outputs are compared as by compare_outputs.py. Containers and a hub have their own
scripts: deploy/kube-play-test.sh and deploy/jupyterhub.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from compare_outputs import differences

from mlc_dask.runs.folder import RunFolder
from mlc_dask.worlds.demo import write_demo

ROOT = Path(__file__).parents[1]
TLS, GATEWAY = "tls://127.0.0.1:28796", 28310
GATEWAY_CONFIG = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.DaskGateway.address, c.Proxy.address = "127.0.0.1:{api}", "127.0.0.1:{proxy}"
c.UnsafeLocalBackend.clusters_directory = "{folder}"
c.ClusterConfig.scheduler_cmd, c.ClusterConfig.worker_cmd = ["dask", "scheduler"], ["dask", "worker"]
c.ClusterConfig.worker_memory, c.ClusterConfig.scheduler_memory = "4 G", "2 G"
"""


@contextmanager
def started(*command: str, **settings: str) -> Iterator[None]:
    """Keep a process running, without output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:  # noqa: S603
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def local(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Workers that the run starts itself."""
    yield 'cluster = "local"', {}


@contextmanager
def address(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Start a scheduler and two workers with certificates."""
    subprocess.run([ROOT / "deploy" / "gen-tls.sh", folder / "tls"], check=True, capture_output=True)  # noqa: S603
    files = {"ca-file": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
    tls = [f"--tls-{option}={folder / 'tls' / file}" for option, file in files.items()]
    dask = (sys.executable, "-m", "dask")
    with ExitStack() as stack:
        stack.enter_context(started(*dask, "scheduler", "--host", TLS, "--dashboard-address", "127.0.0.1:0", *tls))
        for _ in range(2):
            stack.enter_context(started(*dask, "worker", TLS, "--nthreads", "1", "--no-dashboard", *tls))
        time.sleep(20)
        names = {"tls_ca_file": "ca.crt", "tls_client_cert": "tls.crt", "tls_client_key": "tls.key"}
        options = ", ".join(f'{name} = "{folder / "tls" / file}"' for name, file in names.items())
        yield f'cluster = "{TLS}"\noptions = {{ {options} }}', {}


@contextmanager
def gateway(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Start a dask-gateway."""
    text = GATEWAY_CONFIG.format(api=GATEWAY + 1, proxy=GATEWAY, folder=folder)
    (folder / "gateway.py").write_text(text, encoding="utf-8")
    place = {"DASK_GATEWAY__ADDRESS": f"http://127.0.0.1:{GATEWAY}"}
    place["DASK_GATEWAY__PROXY_ADDRESS"] = f"gateway://127.0.0.1:{GATEWAY}"
    with started("dask-gateway-server", "-f", str(folder / "gateway.py")):
        time.sleep(10)
        yield 'cluster = "gateway"', place


def main() -> None:
    """Run the demonstration everywhere and print the table."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    print("| cluster | seconds | results | equal to local |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for kind in (local, address, gateway):
            folder = Path(name) / kind.__name__
            config = write_demo(folder / "demo", size=size, seed=0)
            with kind(folder) as (lines, settings):
                text = config.read_text(encoding="utf-8")
                config.write_text(
                    text.replace("[execution]", f"[execution]\n{lines}\ndashboard = ':0'"), encoding="utf-8"
                )
                began = time.monotonic()
                command = [sys.executable, "-m", "mlc_dask", "run", str(config)]
                subprocess.run(command, check=True, capture_output=True, env={**os.environ, **settings})  # noqa: S603
                seconds = time.monotonic() - began
            found = differences(Path(name) / "local" / "demo", folder / "demo")
            results = len(RunFolder(folder / "demo").artifacts())
            print(f"| {kind.__name__} | {seconds:.0f} | {results} | {'NO' if found else 'yes'} |", flush=True)
            print("\n".join(found), end="", file=sys.stderr)


if __name__ == "__main__":
    main()
