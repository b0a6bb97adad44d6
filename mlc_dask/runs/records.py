"""What was computed, from which inputs, and whether it is still valid: fingerprints, records, the tree of a result."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlc_dask.data.errors import InputError
from mlc_dask.runs.folder import RunFolder, step_of
from mlc_dask.storage.durable import MANIFEST, Entry, atomic_write, canonical, entry, fault, sha256

RECORD: Final = "record.json"
SCRATCH: Final = "scratch"
_PACKAGES: Final = (
    "mlc-dask", "dask", "distributed", "numpy", "opencv-python-headless", "rasterio",
    "rioxarray", "scikit-learn", "scipy", "torch", "xarray", "zarr",
)  # fmt: skip

Record = dict[str, Any]


def fingerprint(step: str, version: int, settings: Any, inputs: Any) -> str:
    """Identity of a result: sha256 of the canonical JSON of its step, version, settings and inputs.

    Settings and inputs are any values that :func:`mlc_dask.storage.durable.plain` accepts; a value with a
    ``fingerprint`` is represented by it.
    """
    return sha256(canonical({"step": step, "version": version, "settings": settings, "inputs": inputs}))


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that determine what a task means and which bytes it makes."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _code_digest() -> str:
    root = Path(__file__).parents[1]
    files = {path.relative_to(root).as_posix(): sha256(path.read_bytes()) for path in root.rglob("*.py")}
    return sha256(canonical(files))[:12]


CODE_DIGEST: Final = _code_digest()
"""First digits of the SHA-256 of all Python files of this package when this process imported it (0.01 s)."""


def machine() -> dict[str, Any]:
    """Host, interpreter and the versions of the packages that shape results."""
    return {"host": socket.gethostname(), "python": platform.python_version(), "packages": package_versions()}


def function_name(function: Any) -> str:
    """Return module and qualified name of a function."""
    return f"{function.__module__}.{function.__qualname__}"


def digest_files(folder: Path) -> dict[str, Entry]:
    """Sizes and digests of an artifact's files; if a folder has a manifest, only the manifest is hashed."""
    files: dict[str, Entry] = {}
    for path in sorted(folder.iterdir()):
        if path == folder / RECORD or path == folder / SCRATCH or path.name.startswith("."):
            continue
        if path.is_dir():
            files |= {f"{path.name}/{name}": e for name, e in digest_files(path).items()}
        else:
            files[path.name] = entry(path)
    return {MANIFEST: files[MANIFEST]} if MANIFEST in files else files


def write_record(folder: Path, record: Record) -> None:
    """Finish an artifact: write `record`, the machine and all digests of files, durably; then delete the scratch."""
    atomic_write(folder / RECORD, canonical({**record, **machine(), "files": digest_files(folder)}))
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)


def read_record(folder: Path) -> Record | None:
    """Record of a finished artifact; None if it is missing or unreadable."""
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and {"fingerprint", "files"} <= record.keys() else None


def why_not(folder: Path, identity: str, *, verify: bool = False) -> str | None:
    """Reason why the artifact in `folder` cannot be reused; None if it can.

    Plain files and manifests are compared by their digests. Files that a manifest lists are compared by size, and by
    digest only with `verify`.
    """
    record = read_record(folder)
    if record is None:
        return "unfinished" if folder.exists() else "not computed yet"
    if record["fingerprint"] != identity:
        return "its record has another fingerprint"
    reason = fault(folder, record["files"], verify=True)
    for name in record["files"]:
        if reason is None and Path(name).name == MANIFEST:
            path = folder / name
            reason = fault(path.parent, json.loads(path.read_bytes())["files"], verify=verify)
    return reason


@dataclass(frozen=True)
class Origin:
    """A result with its record and the origins of its inputs; the record is None for sources and lost results.

    Results with a common input share its object, so a walk that skips known fingerprints is as long as the graph.
    """

    name: str
    fingerprint: str
    record: Mapping[str, Any] | None
    inputs: tuple[Origin, ...]


def explain(run: Path, what: str | Path) -> Origin:
    """Graph of records behind a result of a run.

    Parameters
    ----------
    run
        Folder of the run.
    what
        A published layer, the name of a step (its published result, or else its newest one), or the beginning of the
        folder name or path of an artifact.

    Raises
    ------
    InputError
        If the folder has no record, so its step is not finished.
    """
    home = RunFolder(Path(run))
    folder = _find(home, what)
    record = read_record(folder)
    if record is None:
        raise InputError(f"{folder} has no record, so it is not finished; run again to finish it")
    return _origin(home.relatives(), record["name"], record["fingerprint"], {})


def _origin(runs: Sequence[RunFolder], name: str, identity: str, known: dict[tuple[str, str], Origin]) -> Origin:
    if (name, identity) not in known:
        record = next((r for home in runs if (r := read_record(home.artifact(name, identity)))), None)
        made_from = record["inputs"] if record else ()
        inputs = tuple(_origin(runs, i["name"], i["fingerprint"], known) for i in made_from)
        known[name, identity] = Origin(name, identity, record, inputs)
    return known[name, identity]


def _find(run: RunFolder, what: str | Path) -> Path:
    layers = run.layers()
    if str(what) in layers:
        return run.path / str(layers[str(what)]["folder"])
    wanted = Path(what).name
    finished = [f for f in run.artifacts() if read_record(f)]
    named = [f for f in finished if step_of(f) == wanted]
    current = [f for f in named if f in {run.path / str(v["folder"]) for v in layers.values()}]
    if named:
        return max(current or named, key=lambda f: str((read_record(f) or {}).get("finished")))
    matches = [f for f in finished if f.name.startswith(wanted)]
    if len(matches) != 1:
        known = ", ".join(f.name for f in matches or finished) or "none"
        raise InputError(f"{len(matches)} results of {run.path} match {str(what)!r}; choose one of: {known}")
    return matches[0]
