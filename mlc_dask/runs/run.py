"""Runs: steps whose results are kept under their fingerprints, reused while they hold, and published at the end.

A pipeline is a function that calls :meth:`Run.do` step by step. A result is identified by what it is made by and from:
the step's name and version, its settings, and the fingerprints of its inputs. Name and version stand beside the
function, as a decorator (:func:`mlc_dask.data.steps.step`). How work is done (a device, what is known already) never
enters a fingerprint.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from mlc_dask.data.errors import InputError
from mlc_dask.data.steps import step_of
from mlc_dask.runs.artifacts import Artifact, Event, Kind, StopRun, given, opened
from mlc_dask.runs.folder import RunFolder
from mlc_dask.runs.records import (
    RECORD,
    SCRATCH,
    fingerprint,
    function_name,
    why_not,
    write_record,
)
from mlc_dask.storage.durable import OutputLock, now


class Damaged(InputError):  # noqa: N818  (it names a finding)
    """A file of a finished result has changed; the next run makes it again."""


class Run:
    """One output folder: ``artifacts/<step>-<fingerprint>/`` with a ``record.json`` each, and ``CURRENT.json``.

    Parameters
    ----------
    kinds
        How results are opened and written, by the names that steps use.
    listener
        Called with every :class:`Event`.
    dry
        Compute fingerprints only: nothing is executed, written or locked; `steps` then is the plan.
    until
        Name of the step after which :class:`StopRun` is raised.
    verify
        Before reuse compare all digests, not only the sizes, of the files that manifests list.
    """

    def __init__(
        self,
        folder: Path,
        kinds: Mapping[str, Kind],
        *,
        listener: Callable[[Event], object] | None = None,
        dry: bool = False,
        until: str | None = None,
        verify: bool = False,
    ) -> None:
        self.folder, self.kinds, self.dry, self.until, self.verify = Path(folder), kinds, dry, until, verify
        self.steps: list[Event] = []
        self._listener = listener or (lambda event: None)
        self._lock: OutputLock | None = None

    def __enter__(self) -> Run:
        if not self.dry:
            self._lock = OutputLock(self.folder).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._lock is not None:
            self._lock.__exit__(kind, error, tb)
            self._lock = None

    def do(
        self,
        function: Callable[..., Any],
        /,
        *inputs: Any,
        name: str | None = None,
        how: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Artifact:
        """Do one step, unless its result is there already.

        The error of a step whose result is only shown is told to the listener and not raised: the result is missing.

        Parameters
        ----------
        function
            A step (:func:`mlc_dask.data.steps.step`), called as ``function(*inputs, **settings, **how)``, artifacts and
            sources among the inputs opened. A function that takes ``scratch`` is handed a folder of its own for
            checkpoints: it belongs to the fingerprint, outlives crashes, and goes when the step is done.
        name
            Name of the step, unique in the pipeline; by default that of the function.
        how
            Arguments that never change the result, and so do not enter the fingerprint.
        """
        own, how = step_of(function), how or {}
        name, kind, version = name or own.step_name, own.step_kind, own.step_version
        assert own.step_shown or not _lacking(inputs), f"{name} needs what is only shown"
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name), name
        assert name not in [e.step for e in self.steps], f"two steps are called {name!r}"
        assert not list(given(settings)), f"{name}: artifacts are inputs, not settings"
        identity = fingerprint(name, version, settings, inputs)
        folder = RunFolder(self.folder).artifact(name, identity)
        artifact = Artifact(name, kind, folder, identity, self.kinds[kind])
        reason = why_not(folder, identity, verify=self.verify)
        if reason is None:
            self._done(Event(name, "reused", artifact))
        elif self.dry:
            self._done(Event(name, "planned", artifact, reason))
        else:
            assert self._lock is not None, "a run is a context manager: with Run(…) as run"
            perform = partial(self._perform, artifact, function, inputs, settings, how, reason=reason)
            if own.step_shown:
                artifact = self._tried(artifact, inputs, perform)
            else:
                perform()
        if name == self.until:
            raise StopRun(artifact)
        return artifact

    def _done(self, event: Event) -> None:
        self.steps.append(event)
        self._listener(event)

    def _tried(self, artifact: Artifact, inputs: tuple[Any, ...], perform: Callable[[], None]) -> Artifact:
        """Perform a step whose result is only shown; without it, return the result with the error that it lacks."""
        lacking = _lacking(inputs)
        if lacking is not None:
            self._listener(Event(artifact.name, "skipped", artifact, error=lacking))
            return replace(artifact, lacking=lacking)
        try:
            perform()
        except Damaged:
            raise
        except Exception as error:
            return replace(artifact, lacking=error)
        return artifact

    def _perform(
        self,
        artifact: Artifact,
        function: Callable[..., Any],
        inputs: tuple[Any, ...],
        settings: dict[str, Any],
        how: Mapping[str, Any],
        *,
        reason: str,
    ) -> None:
        name, folder = artifact.name, artifact.folder
        self._listener(Event(name, "started", artifact, reason))
        started, clock = now(), time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        try:
            arguments = {**settings, **how}
            value = function(*opened(inputs), **arguments, **_scratch(function, arguments, folder))
            found = self.kinds[artifact.kind].write(value, folder) or {}
        except BaseException as error:
            self._listener(Event(name, "failed", artifact, str(error), time.monotonic() - clock, error))
            error.add_note(f"in step {name} of {self.folder}")
            if "checksum" in str(error):
                _find_damage(inputs, error)
            raise
        seconds = round(time.monotonic() - clock, 3)
        made = {"kind": artifact.kind, "function": function_name(function), "version": step_of(function).step_version}
        by = {"settings": settings, "arguments": inputs, "inputs": [i.reference() for i in given(inputs)]}
        times = {"started": started, "finished": now(), "seconds": seconds}
        write_record(folder, {**found, **artifact.reference(), **made, **by, **times})
        self._done(Event(name, "finished", artifact, seconds=seconds))

    def publish(self, layers: Mapping[str, Artifact]) -> None:
        """Make `layers` the run's current results, all at once (``CURRENT.json``), without what is missing.

        A dry run publishes nothing.
        """
        if self.dry:
            return
        form = {}
        for layer, artifact in ((k, a) for k, a in layers.items() if a.lacking is None):
            assert artifact.finished, f"{layer} is not finished"
            place = artifact.folder.relative_to(self.folder).as_posix()
            form[layer] = {**artifact.reference(), "part": list(artifact.part), "kind": artifact.kind, "folder": place}
        RunFolder(self.folder).publish(form)


def _lacking(inputs: tuple[Any, ...]) -> Exception | None:
    """Return the error for which an input is missing."""
    found = (i.lacking for i in given(inputs) if isinstance(i, Artifact))
    return next((error for error in found if error is not None), None)


def _find_damage(inputs: tuple[Any, ...], error: BaseException) -> None:
    """Raise Damaged for the damaged file of an input; its result loses its record, so the next run repairs it."""
    for artifact in given(inputs):
        if isinstance(artifact, Artifact):
            reason = why_not(artifact.folder, artifact.whole, verify=True)
            if reason is not None:
                (artifact.folder / RECORD).unlink(missing_ok=True)
                raise Damaged(
                    f"{artifact.folder}: {reason}; run it again, and only what is damaged is computed"
                ) from error


def _scratch(function: Callable[..., Any], arguments: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    if "scratch" not in inspect.signature(function).parameters or "scratch" in arguments:
        return {}
    (folder / SCRATCH).mkdir(exist_ok=True)
    return {"scratch": folder / SCRATCH}
