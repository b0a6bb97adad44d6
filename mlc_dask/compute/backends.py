"""Where the tasks run: a Dask client made from the configuration. Stages never see the client."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import dask
import psutil
import yaml
from dask.base import get_scheduler
from distributed import Client, Nanny, SpecCluster
from distributed.comm.addressing import parse_host_port
from distributed.security import Security
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from mlc_dask.compute.loopback import HOST, LoopbackScheduler
from mlc_dask.config import Execution
from mlc_dask.data.errors import InputError, did_you_mean, first_cause

_CONNECT_SECONDS = 20
_START_SECONDS = 600
_GPU_THREADS = 4
"""Threads of a GPU worker: while one task computes, others read the next patches and write finished ones."""

_QUIET = logging.ERROR
_ONE_GIB = 2**30
_OPERATOR = "kubernetes.dask.org/v1"
_PAGE = "mlc_dask.dashboard"
WORKER_ENVIRONMENT: Final[dict[str, int]] = {
    # Dask's default makes malloc return freed blocks at once; batches then spend their time on page faults
    # (decision 005).
    "MALLOC_TRIM_THRESHOLD_": _ONE_GIB,
    "MALLOC_MMAP_THRESHOLD_": _ONE_GIB,
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
}
"""Environment of every worker; images and the gateway of `deploy/` set the same."""

_SETTINGS = {
    "distributed.nanny.pre-spawn-environ": {
        **WORKER_ENVIRONMENT,
        # The error of a task reaches the client; a worker would print it, too, with its traceback.
        "DASK_LOGGING": repr({"distributed": "critical"}),
    },
    # By default a local cluster gives up on a worker that died twice within seconds, and the run hangs.
    "distributed.deploy.lost-worker-timeout": "1h",
    "distributed.worker.multiprocessing-method": "spawn",
    # The workers' HTTP server cannot be switched off and does not check Host, so it gets no routes.
    "distributed.worker.http.routes": [],
    # Sampling the frames of other threads can deadlock earlier versions of Python (python/cpython#106883).
    "distributed.worker.profile.enabled": sys.version_info >= (3, 11, 10),
    "distributed.scheduler.allowed-failures": 5,
    # Samples and models pass through graphs on purpose, once each; their size is checked before submission.
    "distributed.admin.large-graph-warning-threshold": "100MB",
    "distributed.scheduler.preload": [_PAGE] if find_spec("bokeh") else [],
}


@contextmanager
def _local(execution: Execution) -> Iterator[Client]:
    """Start workers with one thread each, so that kernels never compete for cores, and one worker per GPU.

    All processes listen on loopback only, and refuse connections without the certificate of this cluster.
    """
    security = Security.temporary()
    private = {"host": HOST, "port": 0, "protocol": "tls://", "security": security}
    page = {"dashboard": True, "dashboard_address": execution.dashboard}
    scheduler = {"cls": LoopbackScheduler, "options": private | page}
    common = private | {"dashboard": False, "silence_logs": _QUIET}
    workers = {name: {"cls": Nanny, "options": common | own} for name, own in _workers(execution).items()}
    with (
        SpecCluster(scheduler=scheduler, workers=workers, security=security, silence_logs=_QUIET) as cluster,
        Client(cluster, security=security) as client,
    ):
        yield client


def _workers(execution: Execution) -> dict[str, dict[str, Any]]:
    """Threads, memory and devices of the local workers, by name."""
    gpus = _gpus()
    share = _fair_share(execution.workers + _GPU_THREADS * len(gpus)) if execution.memory == "auto" else None
    plain = {"nthreads": 1, "memory_limit": share or execution.memory, "env": {"CUDA_VISIBLE_DEVICES": ""}}
    with_gpu = {
        f"gpu-{gpu}": {
            "nthreads": _GPU_THREADS,
            "memory_limit": _GPU_THREADS * share if share else execution.memory,
            "resources": {"GPU": _GPU_THREADS},
            "env": {"CUDA_VISIBLE_DEVICES": gpu},
        }
        for gpu in gpus
    }
    return {f"cpu-{i}": plain for i in range(execution.workers)} | with_gpu


def _gpus() -> list[str]:
    """Return the identifiers for ``CUDA_VISIBLE_DEVICES`` of the GPUs that this process may use."""
    import torch

    count, visible = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(i) for i in range(count)]


@contextmanager
def _address(execution: Execution) -> Iterator[Client]:
    """Connect to a running scheduler; certificates for ``tls://`` come from the options or from Dask's settings."""
    address = execution.cluster
    security = Security(require_encryption=True, **execution.options) if execution.options else None
    try:
        client = Client(address, security=security, timeout=_CONNECT_SECONDS)
    except (OSError, TypeError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); start one with: dask scheduler"
            + (", and check its certificates" if address.startswith("tls:") else "")
        ) from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise InputError(f"the scheduler at {address} has no workers; start a worker with: dask worker {address}")
        yield client


@contextmanager
def _gateway(execution: Execution) -> Iterator[Client]:
    """Start a cluster through dask-gateway; a hub sets the address of the gateway in Dask's settings."""
    with _package("dask_gateway", execution).GatewayCluster(**execution.options) as cluster:
        cluster.scale(execution.workers)
        with cluster.get_client() as client:
            yield client


@contextmanager
def _kubernetes(execution: Execution) -> Iterator[Client]:
    """Let Dask's operator make the DaskCluster of ``options.spec`` and scale it to the work, for a run in a pod.

    The objects of the operator are created directly, because its ``KubeCluster`` does not support TLS.
    """
    kinds = _package("kr8s.objects", execution)
    manifest = _manifest(execution)
    name, namespace = manifest["metadata"]["name"], execution.options.get("namespace", "default")
    scaled = {"cluster": name, "minimum": 1, "maximum": execution.workers}
    made = [
        kinds.new_class("DaskCluster", _OPERATOR)(manifest, namespace=namespace),
        kinds.new_class("DaskAutoscaler", _OPERATOR)({"metadata": {"name": name}, "spec": scaled}, namespace=namespace),
    ]
    with ExitStack() as stack:
        for thing in made:
            thing.create()
            stack.callback(thing.delete)
        with _patiently(_service(manifest, namespace)) as client:
            yield client


def _manifest(execution: Execution) -> dict[str, Any]:
    """Read the DaskCluster among the documents of ``options.spec``."""
    spec = Path(str(execution.options.get("spec", "")))
    if not spec.is_file():
        raise InputError(
            f"execution.options.spec = {str(spec)!r} is not a file; give the manifest of the DaskCluster to create, "
            "as kubectl kustomize deploy/kubernetes/operator prints it"
        )
    documents = yaml.safe_load_all(spec.read_text(encoding="utf-8"))
    manifest = next((d for d in documents if d and d.get("kind") == "DaskCluster"), None)
    if manifest is None:
        raise InputError(f"execution.options.spec = {str(spec)!r} contains no DaskCluster; give the manifest of one")
    return dict(manifest)


def _service(manifest: dict[str, Any], namespace: str) -> str:
    """Address of the scheduler's Service, valid for pods of every namespace."""
    (container,) = manifest["spec"]["scheduler"]["spec"]["containers"]
    protocol = "tls" if "tls" in container.get("args", []) else "tcp"
    return f"{protocol}://{manifest['metadata']['name']}-scheduler.{namespace}:8786"


def _patiently(address: str) -> Client:
    """Client of a scheduler that is still starting."""
    patiently = Retrying(
        retry=retry_if_exception_type(OSError),
        stop=stop_after_delay(_START_SECONDS),
        wait=wait_fixed(1),
        reraise=True,
    )
    return patiently(Client, address, timeout=_CONNECT_SECONDS)


@contextmanager
def _slurm(execution: Execution) -> Iterator[Client]:
    """Submit every worker as a job; queue, cores, memory and time come from the options or from Dask's settings."""
    with _package("dask_jobqueue", execution).SLURMCluster(**execution.options) as cluster:
        cluster.scale(execution.workers)
        with Client(cluster) as client:
            yield client


def _package(name: str, execution: Execution) -> Any:
    """Import the package that a backend needs."""
    kind = execution.cluster
    try:
        return import_module(name)
    except ImportError:
        raise InputError(
            f"execution.cluster = {kind!r} needs the package {name.partition('.')[0].replace('_', '-')}; "
            f"install it with: pip install 'mlc-dask[{kind}]'"
        ) from None


def _fair_share(threads: int) -> int:
    """Bytes per thread: nine tenths of the free memory, in equal shares."""
    return int(psutil.virtual_memory().available * 0.9 / threads)


BACKENDS: dict[str, Callable[[Execution], AbstractContextManager[Client]]] = {
    "local": _local,
    "gateway": _gateway,
    "kubernetes": _kubernetes,
    "slurm": _slurm,
}


def check_cluster(execution: Execution) -> None:
    """Refuse what no machine could start; packages, files and hosts are those of the machine that runs.

    Raises
    ------
    InputError
        For an unknown kind of cluster, an address that is none, or options that are not used.
    """
    kind = execution.cluster
    if "://" in kind:
        try:
            parse_host_port(kind.partition("://")[2])
        except ValueError as error:
            raise InputError(f"execution.cluster = {kind!r} is no address ({error}); write tcp://HOST:PORT") from None
    elif kind not in BACKENDS:
        raise InputError(
            f"execution.cluster = {kind!r} is neither a kind of cluster nor the address of a scheduler "
            f"such as tls://scheduler:8786; {did_you_mean(kind, BACKENDS)}"
        )
    elif kind == "local" and execution.options:
        raise InputError(
            f"execution.options = {execution.options} is not used by local workers; remove it, or set execution.cluster"
        )


@contextmanager
def client_for(execution: Execution, scheduler: Literal["configured", "current"]) -> Iterator[Client | None]:
    """Client of the configured cluster (see :func:`connect`), or the current client; None without a cluster.

    Raises
    ------
    InputError
        When the configured cluster cannot be had, saying why.
    """
    if scheduler == "configured":
        with connect(execution) as client:
            yield client
    elif scheduler == "current":
        yield _current_client()
    else:
        raise InputError(f"scheduler = {scheduler!r} is unknown; {did_you_mean(scheduler, ('configured', 'current'))}")


def _current_client() -> Client | None:
    """Client that Dask submits tasks to now; None where Dask computes in threads or processes of this machine."""
    owner = getattr(get_scheduler(), "__self__", None)
    return owner if isinstance(owner, Client) else None


@contextmanager
def connect(execution: Execution) -> Iterator[Client]:
    """Client of the cluster that `execution` describes, the default of every computation inside the block.

    Raises
    ------
    InputError
        When the cluster cannot be had, saying why.
    """
    check_cluster(execution)
    backend = _address if "://" in execution.cluster else BACKENDS[execution.cluster]
    with dask.config.set(_SETTINGS), ExitStack() as stack:
        try:
            client = stack.enter_context(backend(execution))
            client.wait_for_workers(1, timeout=_START_SECONDS)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"execution.cluster = {execution.cluster!r} does not start: {first_cause(error)}"
            ) from error
        yield client
