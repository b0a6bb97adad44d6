"""The layout of the output folder of a run; no other module knows the names of its parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlc_dask.storage.durable import atomic_write, canonical, now

ARTIFACTS: Final = "artifacts"
_CURRENT: Final = "CURRENT.json"


@dataclass(frozen=True)
class RunFolder:
    """The output of a run: ``artifacts/<step>-<fingerprint>/``, and ``CURRENT.json``, which lists published results.

    Parameters
    ----------
    path
        The ``output`` folder of a configuration, or the folder of one tile below it.
    """

    path: Path

    @classmethod
    def around(cls, artifact: Path) -> RunFolder | None:
        """Run folder to which the folder of an artifact belongs; None for any other folder."""
        folder = artifact.resolve()
        return cls(folder.parents[1]) if folder.parent.name == ARTIFACTS else None

    @property
    def current(self) -> Path:
        """File that lists the published results; it exists after a run was finished."""
        return self.path / _CURRENT

    @property
    def begun(self) -> bool:
        """Whether a run has started a step here."""
        return (self.path / ARTIFACTS).is_dir()

    @property
    def published(self) -> bool:
        """Whether a run was finished here."""
        return self.current.exists()

    def artifact(self, step: str, identity: str) -> Path:
        """Folder of the result of `step` with fingerprint `identity`."""
        return self.path / ARTIFACTS / f"{step}-{identity[:16]}"

    def artifacts(self, step: str | None = None) -> list[Path]:
        """Folders of all results, finished or not, sorted by name; only those of `step`, if given."""
        found = sorted(f for f in (self.path / ARTIFACTS).glob("*-*") if f.is_dir())
        return found if step is None else [f for f in found if step_of(f) == step]

    def tiles(self) -> list[RunFolder]:
        """Return the run folders of tiles in this output, begun or finished, sorted by name."""
        found = {p.parent for name in (ARTIFACTS, _CURRENT) for p in self.path.glob(f"*/{name}")}
        return [RunFolder(path) for path in sorted(found)]

    def relatives(self) -> list[RunFolder]:
        """Return the run folders whose results this run may use: its own, the one above it, and the tiles of both."""
        around = RunFolder(self.path.parent)
        return [self, around, *self.tiles(), *around.tiles()]

    def publish(self, layers: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the list of published results, durably and atomically."""
        atomic_write(self.current, canonical({"published": now(), "layers": layers}))

    def layers(self) -> dict[str, dict[str, Any]]:
        """Return the published results by layer name; empty if nothing is published."""
        try:
            layers: dict[str, dict[str, Any]] = json.loads(self.current.read_bytes())["layers"]
        except FileNotFoundError:
            return {}
        return layers


def step_of(artifact: Path) -> str:
    """Name of the step whose result is in the folder `artifact`."""
    return artifact.name.rpartition("-")[0]
