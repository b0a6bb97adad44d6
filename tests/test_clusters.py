"""Clusters: every backend runs tasks, and anything missing gives one line before any work starts."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster

from mlc_dask import lazy
from mlc_dask.compute import backends as clusters
from mlc_dask.compute.backends import connect
from mlc_dask.compute.preflight import CODE, Needs, preflight, versions
from mlc_dask.config import Execution, load_config
from mlc_dask.data.errors import InputError
from mlc_dask.runs.records import package_versions
from tests.cubes import landscape, threshold

pytestmark = pytest.mark.slow

SBATCH = """#!{python}
# Stands for Slurm: runs a copy of the job's script at once, in the background, and says so as sbatch does. The script
# itself may be gone before the job starts.
import pathlib, subprocess, sys
place, script = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[-1]).read_text()
process = subprocess.Popen(["bash", "-c", script], stdout=open(place / "job.log", "a"), stderr=subprocess.STDOUT)
(place / "jobs").open("a").write(script)
print("Submitted batch job", process.pid)
"""


def executable(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def pids(client: Client) -> set[int]:
    return set(client.run(os.getpid).values())


def environment(name: str) -> str | None:
    return os.environ.get(name)


def local(**execution: Any) -> Execution:
    return Execution(dashboard="127.0.0.1:0", **execution)


def test_local_workers_have_a_thread_each_and_the_page() -> None:
    with connect(local(workers=2, memory="2GiB")) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [w["nthreads"] for w in workers] == [1, 1]
        assert {w["memory_limit"] for w in workers} == {2 * 2**30}
        assert set(client.run(environment, "OMP_NUM_THREADS").values()) == {"1"}
        assert client.run_on_scheduler(lambda dask_scheduler: "mlc-patches" in dask_scheduler.plugins)
        assert pids(client).isdisjoint({os.getpid()})


def test_a_gpu_has_a_worker_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the names that this process has for them, where it may see some of the machine's."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    with connect(local(workers=1)) as client:
        client.wait_for_workers(3)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert {w["name"]: (w["nthreads"], w["resources"]) for w in workers} == {
            "cpu-0": (1, {}), "gpu-2": (4, {"GPU": 4}), "gpu-5": (4, {"GPU": 4}),
        }  # fmt: skip
        seen = client.run(environment, "CUDA_VISIBLE_DEVICES")
        names = {address: w["name"] for address, w in client.scheduler_info(n_workers=-1)["workers"].items()}
        assert {names[a]: v for a, v in seen.items()} == {"cpu-0": "", "gpu-2": "2", "gpu-5": "5"}
        with pytest.raises(InputError, match="offers the resource GPU, but PyTorch finds no CUDA device there"):
            preflight(client, Needs(Path.cwd() / "tests", [], 0))


@contextmanager
def mixed() -> Iterator[Client]:
    """One worker that has the resource, and one that has not."""
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    options = {"with": {"resources": {"GPU": 1}}, "without": {}}
    workers = {n: {"cls": Nanny, "options": {"nthreads": 1, "silence_logs": 40, **o}} for n, o in options.items()}
    with SpecCluster(scheduler=scheduler, workers=workers, silence_logs=40) as cluster, Client(cluster) as client:
        yield client


class Named:
    """Kernel that answers with the name of its worker's kind."""

    def __call__(self, dn: np.ndarray, parameter: object) -> np.ndarray:
        from distributed import get_worker

        return np.full((1, *dn.shape[-2:]), get_worker().name == "with", np.uint8)

    def __dask_tokenize__(self) -> str:
        return "named"


@pytest.mark.parametrize("resource", ["GPU", "TPU", None])
def test_resources_are_used_where_somebody_has_them(resource: str | None, tmp_path: Path) -> None:
    """What prefers a GPU runs there alone; a resource that nobody has is not waited for."""
    import mlc_dask as mlc

    cube, _ = landscape(64, 64)
    dn = cube.reflectance.isel(year=0, acquisition=0, band=0, drop=True).chunk(y=16, x=16)
    maps = lazy.map_pixels(Named(), dn, layers=("label",), name="classify-lstm-2019", resource=resource)
    with mixed():
        mlc.write_maps(maps, tmp_path / "maps")
        found = xr.open_zarr(tmp_path / "maps", mask_and_scale=False).label.values
        assert set(np.unique(found)) == ({1} if resource == "GPU" else {0, 1})


def test_a_running_scheduler_with_certificates(tmp_path: Path) -> None:
    """``tls://`` with the certificates of the options; without them nobody is let in."""
    subprocess.run([Path("deploy/gen-tls.sh").resolve(), tmp_path], check=True, capture_output=True)
    files = {"ca_file": "ca.crt", "key": "tls.key", "cert": "tls.crt"}
    own = {name: str(tmp_path / file) for name, file in files.items()}
    tls = [f"--tls-{n.replace('_', '-')}={p}" for n, p in own.items()]
    start, address = [sys.executable, "-m", "dask"], "tls://127.0.0.1:18799"
    with (
        subprocess.Popen([*start, "scheduler", "--host", address, "--dashboard-address", ":0", *tls]) as scheduler,
        subprocess.Popen([*start, "worker", address, "--nthreads", "1", "--no-dashboard", *tls]) as worker,
    ):
        try:
            options = {"tls_ca_file": own["ca_file"], "tls_client_cert": own["cert"], "tls_client_key": own["key"]}
            with connect(patient(Execution(cluster=address, options=options))) as client:
                assert client.submit(sum, [1, 2]).result() == 3
                preflight(client, Needs(tmp_path / "out", [tmp_path], 10**8))
            with pytest.raises(InputError, match=r"no Dask scheduler answers at tls://127.0.0.1:18799 .*certificates"):
                connect(Execution(cluster=address)).__enter__()
        finally:
            scheduler.kill()
            worker.kill()


def patient(execution: Execution) -> Execution:
    """Wait until a scheduler and its worker are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with connect(execution):
                return execution
        except InputError:
            time.sleep(1)
    raise AssertionError(execution.cluster)


def test_slurm_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    executable(tmp_path / "sbatch", SBATCH.format(python=sys.executable))
    executable(tmp_path / "scancel", "#!/bin/sh\nkill $1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    options = {"cores": 1, "memory": "2GB", "queue": "short", "interface": "lo", "log_directory": str(tmp_path)}
    with connect(Execution(cluster="slurm", workers=2, options=options)) as client:
        client.wait_for_workers(2, timeout=120)
        assert pids(client).isdisjoint({os.getpid()}) and len(pids(client)) == 2
    assert (tmp_path / "jobs").read_text().count("#SBATCH -p short") == 2


GATEWAY = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.DaskGateway.address, c.Proxy.address = "127.0.0.1:28311", "127.0.0.1:28310"
c.UnsafeLocalBackend.clusters_directory = "{folder}"
c.ClusterConfig.scheduler_cmd, c.ClusterConfig.worker_cmd = ["dask", "scheduler"], ["dask", "worker"]
c.ClusterConfig.worker_memory, c.ClusterConfig.scheduler_memory = "1 G", "1 G"
"""


def test_a_gateway_makes_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one, that starts processes of this machine."""
    pytest.importorskip("dask_gateway")
    pytest.importorskip("dask_gateway_server")
    (tmp_path / "gateway.py").write_text(GATEWAY.format(folder=tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    command = ["dask-gateway-server", "-f", str(tmp_path / "gateway.py")]
    settings = {"gateway.address": "http://127.0.0.1:28310", "gateway.proxy-address": "gateway://127.0.0.1:28310"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, **quiet) as server, dask.config.set(settings):  # type: ignore[call-overload]
        try:
            with connect(patient(Execution(cluster="gateway", workers=2))) as client:
                client.wait_for_workers(2, timeout=120)
                preflight(client, Needs(tmp_path / "out", [tmp_path], 10**8))
                assert client.submit(sum, [1, 2]).result() == 3
                assert client.dashboard_link.startswith("http://127.0.0.1:28310/clusters/")
        finally:
            server.terminate()


class Kubernetes(BaseHTTPRequestHandler):
    """Stands for the API of a Kubernetes with the operator: takes objects, gives them back, and deletes them."""

    there: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    seen: list[str] = []  # noqa: RUF012

    def answer(self, value: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        if path == "/version":
            self.answer({"major": "1", "minor": "37", "gitVersion": "v1.37.0"})
        elif path in self.there:
            self.answer(self.there[path])
        else:
            self.answer({"kind": "Status", "code": 404}, 404)

    def do_POST(self) -> None:
        made = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        place = f"{self.path.rstrip('/')}/{made['metadata']['name']}"
        self.seen.append(place)
        self.there[place] = made
        self.answer(made, 201)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        del self.there[self.path.partition("?")[0]]
        self.answer({"kind": "Status", "status": "Success"})

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Kubernetes]]:
    """API server on loopback, named in a kubeconfig."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kubernetes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "test", "users": [{"name": "test", "user": {}}],
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "maps"}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    Kubernetes.there.clear()
    Kubernetes.seen.clear()
    yield Kubernetes
    server.shutdown()


def test_kubernetes_makes_the_manifest_and_takes_it_away(
    kubernetes: type[Kubernetes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kr8s")
    asked = []
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=40) as behind:
        service = clusters._service
        monkeypatch.setattr(clusters, "_service", lambda *a: asked.append(service(*a)) or behind.scheduler_address)
        options = {"spec": "deploy/kubernetes/operator/cluster.yaml", "namespace": "maps"}
        with connect(Execution(cluster="kubernetes", workers=7, options=options)) as client:
            assert client.submit(sum, [1, 2]).result() == 3
            base = "/apis/kubernetes.dask.org/v1/namespaces/maps"
            cluster, scaler = (f"{base}/daskclusters/mlc-dask", f"{base}/daskautoscalers/mlc-dask")
            assert kubernetes.seen == [cluster, scaler]
            assert kubernetes.there[cluster]["spec"]["worker"]["spec"]["containers"]
            assert kubernetes.there[scaler]["spec"] == {"cluster": "mlc-dask", "minimum": 1, "maximum": 7}
    assert kubernetes.there == {} and asked == ["tls://mlc-dask-scheduler.maps:8786"]


@pytest.mark.parametrize(
    ("execution", "message"),
    [
        ({"cluster": "slrum"}, "tls://scheduler:8786; did you mean 'slurm'?"),
        ({"cluster": "tcp://127.0.0.1:1"}, "no Dask scheduler answers at tcp://127.0.0.1:1"),
        ({"cluster": "kubernetes"}, "execution.options.spec = '.' is not a file; give the manifest"),
        ({"cluster": "gateway"}, "execution.cluster = 'gateway' needs the package dask-gateway; install it with"),
        ({"cluster": "slurm", "options": {"queue": 3}}, "execution.cluster = 'slurm' does not start: "),
    ],
)
def test_what_cannot_be_had(execution: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_CONNECT_SECONDS", 1)
    if execution["cluster"] == "gateway":
        monkeypatch.setitem(sys.modules, "dask_gateway", None)
    elif execution["cluster"] == "slurm":
        pytest.importorskip("dask_jobqueue")
    else:
        monkeypatch.setattr(clusters, "_package", lambda *_: None)
    with pytest.raises(InputError, match=re.escape(message)) as told:
        connect(Execution(**execution)).__enter__()
    assert "\n" not in str(told.value)


def test_paths_among_the_options_belong_to_the_file(tmp_path: Path) -> None:
    config = tmp_path / "mlc.toml"
    config.write_text(
        'output = "out"\n[source]\nkind = "safe"\nfolder = "in"\n'
        '[execution]\ncluster = "kubernetes"\n[execution.options]\nspec = "cluster.yaml"\nnamespace = "maps"\n'
    )
    assert load_config(config).execution.options == {"spec": str(tmp_path / "cluster.yaml"), "namespace": "maps"}


@pytest.fixture(scope="module")
def workers() -> Iterator[Client]:
    with connect(local(workers=2, memory="1GB")) as client:
        yield client


def test_preflight_leaves_nothing(workers: Client, tmp_path: Path) -> None:
    preflight(workers, Needs(tmp_path / "new" / "out", [tmp_path], 10**9))
    assert list((tmp_path / "new" / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory": 2 * 10**9}, r"may use 1\.0 GB per thread, but a patch needs 2\.0 GB; lower execution\.patch"),
        ({"inputs": [Path("/no/such/folder")]}, r"worker tls://\S+ cannot find /no/such/folder; mount it there"),
    ],
)
def test_preflight_tells_the_remedy(
    workers: Client, tmp_path: Path, change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.run(seconds_of_patience, 0.1)
    with pytest.raises(InputError, match=message):
        preflight(workers, Needs(**{"output": tmp_path, "inputs": [], "memory": 0, **change}))
    assert not list(tmp_path.glob(".preflight*"))


def seconds_of_patience(seconds: float) -> None:
    from mlc_dask.compute import preflight as module

    module._SHARED_SECONDS = seconds


def test_preflight_compares_versions(workers: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlc_dask.compute.preflight.versions", lambda: {**versions(), "zarr": "3.0.0"})
    with pytest.raises(InputError, match=r"worker tls://\S+ has zarr 3\.\d+\.\d+, this process 3\.0\.0; install the"):
        preflight(workers, Needs(tmp_path, [], 0))
    monkeypatch.setattr("mlc_dask.compute.preflight.versions", lambda: {"magic": "1.0"})
    with pytest.raises(InputError, match=r"worker tls://\S+ has no magic, this process 1\.0; install the same"):
        preflight(workers, Needs(tmp_path, [], 0))
    monkeypatch.setattr("mlc_dask.compute.preflight.versions", lambda: {**versions(), CODE: "of yesterday"})
    with pytest.raises(InputError, match=r"has the code of mlc_dask \w{12}, this process of yesterday; install"):
        preflight(workers, Needs(tmp_path, [], 0))


def test_workers_are_asked_for_all_packages_that_a_record_names() -> None:
    asked = versions().keys() - {"Python", CODE}
    assert asked == package_versions().keys() >= {"opencv-python-headless", "rasterio", "zarr"}


def test_preflight_sees_another_disk(workers: Client, tmp_path: Path) -> None:
    """A worker on another machine that has a folder of the same name: what it writes is not seen here."""
    workers.run(elsewhere, str(tmp_path / "there"))
    try:
        with pytest.raises(InputError, match=r"cannot find .*; share the folder, under the same path"):
            preflight(workers, Needs(tmp_path / "here", [], 0))
    finally:
        workers.run(elsewhere, None)


def elsewhere(folder: str | None) -> None:
    """Make a worker's preflight look into a folder of its own."""
    from mlc_dask.compute import preflight as module

    class Moved(type(Path())):  # type: ignore[misc]
        def __new__(cls, *parts: Any) -> Path:
            return Path(folder or "", Path(*parts).name)

    module.Path = Moved if folder else Path  # type: ignore[misc]


def test_a_worker_without_the_package(workers: Client, tmp_path: Path) -> None:
    workers.run(forget)
    with pytest.raises(
        InputError, match=r"cannot run mlc_dask \(.*preflight.*\); install the packages of this process there"
    ):
        preflight(workers, Needs(tmp_path, [], 0))


def forget() -> None:
    sys.modules["mlc_dask.compute.preflight"] = None  # type: ignore[assignment]


def test_an_output_that_cannot_be_written(workers: Client, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"output = .*file/out cannot be written \(.*\); choose another"):
        preflight(workers, Needs(tmp_path / "file" / "out", [], 0))


def test_threshold_models_need_no_resource() -> None:
    """Models of other people's classes say what they run best with, as ours do."""
    cube, _ = landscape(32, 32)
    assert threshold(cube).settings.resource is None
