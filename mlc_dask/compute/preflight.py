"""Check the workers of a cluster before any work; every error names its remedy."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from mlc_dask.data.errors import InputError
from mlc_dask.runs.records import CODE_DIGEST, package_versions

CODE = "the code of mlc_dask"

_SHARED_SECONDS = 10
"""How long a shared file system may take to show a new file to another machine."""


@dataclass(frozen=True)
class Needs:
    """What a run needs from its workers.

    Parameters
    ----------
    output
        Folder that every worker must be able to write to and this process to read from.
    inputs
        Files and folders that every worker must be able to read.
    memory
        Peak memory of one task in bytes.
    """

    output: Path
    inputs: Sequence[Path]
    memory: int


def preflight(client: Client, needs: Needs) -> None:
    """Ask every worker whether it meets `needs`.

    Raises
    ------
    InputError
        Naming the worker, what it lacks, and the remedy.
    """
    # Without a task, which might be killed for its memory.
    for worker, known in client.scheduler_info(n_workers=-1)["workers"].items():
        _check_memory(worker, (known["memory_limit"] or 0) // known["nthreads"], needs)
    mark = needs.output / f".preflight-{uuid4().hex}"
    try:
        needs.output.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise InputError(f"output = {needs.output} cannot be written ({error.strerror}); choose another") from None
    try:
        answers = client.run(_look, str(mark), [str(path) for path in needs.inputs], on_error="return")
        for worker, answer in answers.items():
            _check_package(worker, answer)
            _check_folders(worker, answer, needs, mark)
            _check_device(worker, answer)
    finally:
        for file in needs.output.glob(f"{mark.name}*"):
            file.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of the packages in this process, without their build tags (``+cpu`` of ``2.13.0+cpu``).

    The code of this package has a digest besides its version: Dask waits for ever for a worker that cannot import what
    it is sent, as one of an older checkout cannot.
    """
    own = {name: version.partition("+")[0] for name, version in package_versions().items()}
    return {"Python": platform.python_version().rpartition(".")[0], CODE: CODE_DIGEST, **own}


def _look(mark: str, inputs: Sequence[str], dask_worker: Any = None) -> dict[str, Any]:
    """Report the packages, folders and devices of a worker; runs on the worker."""
    own = Path(f"{mark}-{uuid4().hex}")
    found: dict[str, Any] = {"versions": versions(), "missing": [p for p in inputs if not _appears(Path(p))]}
    found["sees"] = _appears(Path(mark))
    try:
        own.touch()
        found["wrote"] = own.name
    except OSError as error:
        found["refused"] = error.strerror
    gpu = bool(dask_worker.state.total_resources.get("GPU"))
    return found | {
        "gpu": gpu,
        "cuda": gpu and _sees_cuda(),
        "host": os.uname().nodename,
    }


def _sees_cuda() -> bool:
    # PyTorch takes seconds to import, and most workers offer no GPU.
    import torch

    return torch.cuda.is_available()


def _appears(path: Path) -> bool:
    patiently = Retrying(
        retry=retry_if_result(lambda there: not there),
        stop=stop_after_delay(_SHARED_SECONDS),
        wait=wait_fixed(0.2),
        retry_error_callback=lambda state: False,
    )
    return bool(patiently(path.exists))


def _check_package(worker: str, answer: Mapping[str, Any] | BaseException) -> None:
    if isinstance(answer, OSError):
        raise InputError(
            f"worker {worker} was lost when it was asked ({type(answer).__name__}: {answer}); give it more memory, and "
            "see its log"
        )
    if isinstance(answer, BaseException):
        raise InputError(
            f"worker {worker} cannot run mlc_dask ({type(answer).__name__}: {answer}); "
            "install the packages of this process there, or use one image for all"
        )
    for name, own in versions().items():
        theirs = answer["versions"].get(name)
        if theirs != own:
            raise InputError(
                f"worker {worker} has {f'{name} {theirs}' if theirs else f'no {name}'}, this process {own}; "
                "install the same version on both, or use one image for all"
            )


def _check_folders(worker: str, answer: Mapping[str, Any], needs: Needs, mark: Path) -> None:
    for path in answer["missing"]:
        raise InputError(f"worker {worker} cannot find {path}; mount it there at the same path")
    if not answer["sees"]:
        raise InputError(
            f"worker {worker} on {answer['host']} cannot find {needs.output}; share the folder, under the same path"
        )
    if "refused" in answer:
        raise InputError(f"worker {worker} cannot write to {needs.output} ({answer['refused']}); grant it write access")
    if not _appears(mark.with_name(answer["wrote"])):
        raise InputError(
            f"{needs.output} is not the folder that worker {worker} writes to; share the folder, under the same path"
        )


def _check_device(worker: str, answer: Mapping[str, Any]) -> None:
    if answer["gpu"] and not answer["cuda"]:
        raise InputError(
            f"worker {worker} offers the resource GPU, but PyTorch finds no CUDA device there; "
            "install PyTorch with CUDA and make the device visible, or start the worker without --resources"
        )


def _check_memory(worker: str, memory: int, needs: Needs) -> None:
    if 0 < memory < needs.memory:  # 0 is no limit
        raise InputError(
            f"worker {worker} may use {memory / 1e9:.1f} GB per thread, but a patch needs {needs.memory / 1e9:.1f} GB; "
            "lower execution.patch or execution.workers, or give it more memory"
        )
