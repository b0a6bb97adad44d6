"""Training of a network, which is exactly repeatable and resumable (method section 7)."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlc_dask.classifiers.protocol import Report, TrainingSet
from mlc_dask.classifiers.torch_network.checkpoint import Progress
from mlc_dask.classifiers.torch_network.engine import device, single_thread
from mlc_dask.classifiers.torch_network.protocol import Network, NetworkSettings
from mlc_dask.data.errors import InputError

# The random state of PyTorch belongs to the process: trainings in two threads of a worker would share it.
_RANDOM_STATE: Final = threading.Lock()

Part = tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]


def train(
    settings: NetworkSettings, data: TrainingSet, *, seed: int, checkpoint: Path | None, report: Report | None
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Train a network and return its state after the best epoch, with one history row per epoch.

    The best epoch has the lowest validation loss, or the lowest training loss if there are no validation samples;
    `selected_by` in the row names the loss. All randomness of an epoch derives from (seed, epoch), so a training that
    resumes from `checkpoint` after any epoch ends with exactly the same weights.

    Raises
    ------
    InputError
        If the loss is not finite.
    """
    training, validation = data.part(validation=False), data.part(validation=True)
    dropped = int(data.validation.sum()) - len(validation[1])
    criterion = nn.NLLLoss(_weights(settings, training[1]), reduction="sum")
    key = _key(settings, data, seed)
    with _seeded(seed) as reseed:
        progress = _start(settings, data, training[0])
        if checkpoint is not None:
            progress.restore(checkpoint, key)
        for epoch in range(len(progress.history) + 1, settings.epochs + 1):
            began = time.monotonic()
            reseed(epoch)
            row: dict[str, Any] = {
                "epoch": epoch,
                "train_loss": _train_epoch(progress, training, criterion, settings, epoch),
                **_validate(progress.network, validation, criterion, settings, epoch),
                "validation_dropped": dropped,
            }
            _keep_best(progress, row)
            progress.history.append(row)
            if checkpoint is not None:
                progress.save(checkpoint, key)
            if report is not None:
                # Seconds are reported but not stored, since the same training must give the same bytes.
                report({**row, "epochs": settings.epochs, "seconds": time.monotonic() - began})
    return progress.best, progress.history


def _start(settings: NetworkSettings, data: TrainingSet, dn: npt.NDArray[np.uint16]) -> Progress:
    network = settings.network(dn.shape[2], len(data.classes))
    network.standardise(dn)
    network.to(device())
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return Progress(network, optimizer)


def _train_epoch(
    progress: Progress, training: Part, criterion: nn.NLLLoss, settings: NetworkSettings, epoch: int
) -> float:
    progress.network.train()
    order = torch.randperm(len(training[1])).numpy()
    total = weight = 0.0
    for start in range(0, len(order), settings.batch):
        dn, labels = _batch(training, order[start : start + settings.batch])
        progress.optimizer.zero_grad(set_to_none=True)
        scores = progress.network.rounded(dn) if settings.precision == "bfloat16" else progress.network(dn)
        loss = criterion(scores, labels)
        share = _weight(criterion, labels)
        (loss / share).backward()
        progress.optimizer.step()
        total, weight = total + loss.item(), weight + share
    return _finite(total / weight, settings, epoch)


def _validate(
    network: Network, validation: Part, criterion: nn.NLLLoss, settings: NetworkSettings, epoch: int
) -> dict[str, float | None]:
    samples = len(validation[1])
    if not samples:
        return {"validation_loss": None, "validation_accuracy": None}
    network.eval()
    total = weight = right = 0.0
    with torch.inference_mode():
        for start in range(0, samples, settings.batch):
            dn, labels = _batch(validation, np.arange(start, min(start + settings.batch, samples)))
            scores = network(dn)
            total += criterion(scores, labels).item()
            weight += _weight(criterion, labels)
            right += int((scores.argmax(dim=1) == labels).sum())
    loss = _finite(total / weight, settings, epoch)
    return {"validation_loss": loss, "validation_accuracy": right / samples}


def _finite(loss: float, settings: NetworkSettings, epoch: int) -> float:
    if not math.isfinite(loss):
        raise InputError(
            f"training diverged: the loss is {loss} in epoch {epoch} with learning_rate={settings.learning_rate}; "
            f"lower learning_rate"
        )
    return loss


def _keep_best(progress: Progress, row: dict[str, Any]) -> None:
    row["selected_by"] = "train_loss" if row["validation_loss"] is None else "validation_loss"
    loss = row[row["selected_by"]]
    row["best_so_far"] = loss < progress.best_loss
    if row["best_so_far"]:
        progress.best_loss = loss
        progress.best = copy.deepcopy(progress.network.state_dict())


def _batch(part: Part, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    dn = torch.from_numpy(part[0][rows].astype(np.float32))
    return dn.to(device()), torch.from_numpy(part[1][rows]).to(device())


def _weights(settings: NetworkSettings, labels: npt.NDArray[np.int64]) -> Tensor | None:
    """Weights (K,) that give every class the same total weight, with mean 1 over the samples; None if off."""
    if not settings.class_weights:
        return None
    counts = np.bincount(labels)
    return torch.from_numpy((len(labels) / (len(counts) * counts)).astype(np.float32)).to(device())


def _weight(criterion: nn.NLLLoss, labels: Tensor) -> float:
    return float(len(labels)) if criterion.weight is None else criterion.weight[labels].sum().item()


def _key(settings: NetworkSettings, data: TrainingSet, seed: int) -> str:
    """Return a digest of everything that determines the weights; versions of PyTorch may round differently."""
    # Settings are a dataclass, which a Protocol cannot require.
    fields = asdict(settings)  # type: ignore[call-overload]
    content = (settings.name, fields, data.digest, seed, torch.__version__, device().type)
    return sha256(repr(content).encode()).hexdigest()


@contextmanager
def _seeded(seed: int) -> Iterator[Any]:
    """Hold the random state of PyTorch, seeded for the initial weights; yield a function that seeds it per epoch."""

    def reseed(epoch: int) -> None:
        torch.manual_seed(int.from_bytes(blake2b(f"{seed}|{epoch}".encode(), digest_size=8).digest()))

    gpus = [torch.cuda.current_device()] if device().type == "cuda" else []
    with _RANDOM_STATE, single_thread(), torch.random.fork_rng(devices=gpus):
        reseed(0)
        yield reseed
