"""Where the tasks run: a Dask client from the configuration. The stages never see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import dask
import psutil
from distributed import Client, LocalCluster

from mlc_dask.config import Execution
from mlc_dask.errors import InputError

_CONNECT_SECONDS = 20
_ONE_GIB = 2**30
_SETTINGS = {
    # Dask makes malloc hand freed blocks back at once; batches then spend their time on page faults (decision 005).
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": _ONE_GIB,
        "MALLOC_MMAP_THRESHOLD_": _ONE_GIB,
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
    },
    # A local cluster otherwise gives up for good on a worker that died twice within seconds, and the run hangs.
    "distributed.deploy.lost-worker-timeout": "1h",
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.scheduler.allowed-failures": 5,
    # Samples and models pass through graphs on purpose, once each; their size is checked before, not per submission.
    "distributed.admin.large-graph-warning-threshold": "100MB",
}


@contextmanager
def _local(execution: Execution) -> Iterator[Client]:
    """Start worker processes of one thread each: kernels and PyTorch then never fight for cores."""
    memory = execution.memory if execution.memory != "auto" else _fair_share(execution.workers)
    with (
        LocalCluster(
            n_workers=execution.workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=memory,
            dashboard_address=execution.dashboard,
            host="127.0.0.1",
            silence_logs=40,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _address(execution: Execution) -> Iterator[Client]:
    """Connect to a scheduler that is already running."""
    try:
        client = Client(execution.address, timeout=_CONNECT_SECONDS)
    except OSError as error:
        raise InputError(
            f"no Dask scheduler answers at {execution.address} ({error}); start one with: dask scheduler"
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise InputError(
                f"the scheduler at {execution.address} has no workers; start one with: dask worker ADDRESS"
            )
        yield client


def _fair_share(workers: int) -> int:
    """Bytes a worker may use: nine tenths of what is free now, shared."""
    return int(psutil.virtual_memory().available * 0.9 / workers)


BACKENDS: dict[str, Callable[[Execution], AbstractContextManager[Client]]] = {"local": _local, "address": _address}


@contextmanager
def connect(execution: Execution) -> Iterator[Client]:
    """Client of the cluster that `execution` describes, the default of every computation inside the block."""
    backend = "address" if execution.address else "local"
    with dask.config.set(_SETTINGS), BACKENDS[backend](execution) as client:
        yield client
