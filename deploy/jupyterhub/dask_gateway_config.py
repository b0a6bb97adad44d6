"""dask-gateway on one server, as a service of the JupyterHub beside it, which sets the variables read here."""

import os
import sys

import psutil
from dask_gateway_server.options import Float, Options

c = get_config()  # noqa: F821

GIB = 2**30
CORES = os.cpu_count() or 1
MEMORY = psutil.virtual_memory().total
# Each core gets its share of four fifths of the memory; the rest is for schedulers, notebooks and the file cache.
SHARE = round(0.8 * MEMORY / GIB / CORES, 1)


def overrides(options) -> dict:
    """Convert the user's choice into the gateway's settings."""
    return {"worker_memory": int(options.worker_memory * GIB)}


c.DaskGateway.address = os.environ["MLC_GATEWAY_API"]
c.Proxy.address = os.environ["MLC_GATEWAY"]
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.JupyterHubAuthenticator"

# Schedulers and workers are processes of the account that runs the hub, like the notebooks. The backend that changes
# accounts must be root, and changes the owner of wrong folders (it reads a path letter by letter).
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.UnsafeLocalBackend.clusters_directory = os.environ["MLC_GATEWAY_CLUSTERS"]
# The hub kills a service that takes more than 15 seconds to stop, and clusters would then outlive it.
c.UnsafeLocalBackend.sigint_timeout = 3
c.UnsafeLocalBackend.sigterm_timeout = 2

# The gateway's default commands are scripts that Dask no longer has. The preload provides the page /mlc-patches.
dask = [sys.executable, "-m", "dask"]
c.ClusterConfig.scheduler_cmd = [*dask, "scheduler", "--preload", "mlc_dask.dashboard"]
c.ClusterConfig.worker_cmd = [*dask, "worker"]
# One thread per worker, so that kernels and PyTorch do not compete for cores; the environment of local workers.
c.ClusterConfig.worker_threads = 1
c.ClusterConfig.environment = {
    "MALLOC_TRIM_THRESHOLD_": str(GIB),
    "MALLOC_MMAP_THRESHOLD_": str(GIB),
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "5",
}
c.ClusterConfig.scheduler_memory = "1 G"
c.ClusterConfig.cluster_max_workers = CORES
c.ClusterConfig.cluster_max_memory = int(0.9 * MEMORY)
# A forgotten cluster holds memory that others need.
c.ClusterConfig.idle_timeout = 3600
c.Backend.cluster_options = Options(
    Float("worker_memory", default=SHARE, min=0.5, max=round(0.8 * MEMORY / GIB, 1), label="Memory of a worker (GiB)"),
    handler=overrides,
)
