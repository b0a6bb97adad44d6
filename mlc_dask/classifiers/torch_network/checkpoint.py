"""The state of a training between two epochs, and its file."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlc_dask.classifiers.archive import replacing
from mlc_dask.classifiers.torch_network.engine import device
from mlc_dask.classifiers.torch_network.protocol import Network


@dataclass
class Progress:
    """The content of a checkpoint: everything that the next epoch depends on, except data and settings."""

    network: Network
    optimizer: torch.optim.Adam
    history: list[dict[str, Any]] = field(default_factory=list)
    best_loss: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)

    def save(self, path: Path, key: str) -> None:
        """Replace the checkpoint at `path` in one step, so an interruption leaves a complete checkpoint."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "key": key,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best_loss": self.best_loss,
            "best": self.best,
        }
        with replacing(path) as unfinished:
            torch.save(state, unfinished)

    def restore(self, path: Path, key: str) -> None:
        """Restore the checkpoint at `path`; an unreadable one, or one of other data or settings, is ignored."""
        try:
            state = torch.load(path, map_location=device(), weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
            return
        if not isinstance(state, dict) or state.get("key") != key:
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.best_loss, self.best = state["history"], state["best_loss"], state["best"]
