"""Results of steps as values: their names, folders, fingerprints, and how they are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlc_dask.runs.folder import RunFolder
from mlc_dask.runs.records import read_record
from mlc_dask.storage.durable import NotPublished, canonical, sha256


@dataclass(frozen=True)
class Kind:
    """How one kind of result is opened from its folder and written into it.

    `write` may return entries for the record of the step, e.g. the engines that made the result.
    """

    open: Callable[[Path], Any]
    write: Callable[[Any, Path], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Input:
    """An input from outside the run: steps get `value` unchanged, and `fingerprint` identifies its content."""

    name: str
    fingerprint: str
    value: Any = field(compare=False)

    def open(self) -> Any:
        """Return the value."""
        return self.value

    def reference(self) -> dict[str, Any]:
        """JSON-ready form in which records refer to the input."""
        return {"name": self.name, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class Artifact:
    """The result of a step, finished or not; ``artifact[key]`` refers to the part `key` of its value.

    `whole` is the fingerprint of the whole result; `how` may be None if the result is never opened. `lacking` is the
    error for which a result that is only shown could not be made, also for the runs that it is given to.
    """

    name: str
    kind: str
    folder: Path
    whole: str
    how: Kind | None = field(default=None, repr=False, compare=False)
    part: tuple[Any, ...] = ()
    lacking: Exception | None = field(default=None, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the result, or of its part."""
        return sha256(canonical([self.whole, self.part])) if self.part else self.whole

    @property
    def finished(self) -> bool:
        """Whether the result has its record."""
        record = read_record(self.folder)
        return record is not None and record["fingerprint"] == self.whole

    def __getitem__(self, key: Any) -> Artifact:
        return replace(self, part=(*self.part, key))

    # Otherwise `list(artifact)` would request the parts 0, 1, 2, … without end.
    __iter__ = None

    def open(self) -> Any:
        """Open the result; NotPublished if its step is not finished."""
        if not self.finished:
            raise NotPublished(f"{self.name} is not computed yet ({self.folder}); run the pipeline to compute it")
        assert self.how is not None, f"{self.name} was read without the kinds of results"
        value = self.how.open(self.folder)
        for key in self.part:
            value = value[key]
        return value

    def reference(self) -> dict[str, Any]:
        """JSON-ready form in which records refer to the result."""
        form = {"name": self.name, "fingerprint": self.whole}
        return form | {"part": list(self.part)} if self.part else form


@dataclass(frozen=True)
class Event:
    """A notification about a step.

    `state` is reused, planned (in a dry run), started, finished, failed, or skipped: a result that is only shown is not
    made where one that it needs has failed. `error` is the cause of the last two.
    """

    step: str
    state: str
    artifact: Artifact
    reason: str = ""
    seconds: float = 0.0
    error: BaseException | None = field(default=None, compare=False)


class StopRun(Exception):  # noqa: N818  (an order, not an error)
    """The last requested step of the run is done; the caller of the pipeline catches it."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact.name)
        self.artifact = artifact


def opened(value: Any) -> Any:
    """Open every artifact and input in `value`, including those in its lists, tuples and mappings."""
    if isinstance(value, (Artifact, Input)):
        return value.open()
    if isinstance(value, Mapping):
        return {key: opened(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(opened(v) for v in value)
    return value


def given(value: Any) -> Iterator[Artifact | Input]:
    """Iterate over all artifacts and inputs in `value`."""
    if isinstance(value, (Artifact, Input)):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for v in value.values() if isinstance(value, Mapping) else value:
            yield from given(v)


def read_current(folder: Path, kinds: Mapping[str, Kind] | None = None) -> dict[str, Artifact]:
    """Read the published layers of a run by name; NotPublished if there are none. Opening a layer needs `kinds`."""
    folder = Path(folder)
    layers = RunFolder(folder).layers()
    if not layers:
        raise NotPublished(f"{folder} has published no result yet; run the pipeline to its end")
    how = kinds or {}
    return {
        name: Artifact(
            v["name"], v["kind"], folder / v["folder"], v["fingerprint"], how.get(v["kind"]), tuple(v["part"])
        )
        for name, v in layers.items()
    }
