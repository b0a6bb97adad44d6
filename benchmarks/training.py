"""Training of the network: samples per second and validation loss, plain PyTorch against ours in float32 and bfloat16.

Usage: python benchmarks/training.py [LAYERS HIDDEN [EPOCHS]], by default the paper's 4 × 128 and two epochs, on 4,096
samples of 20 dates and ten bands and 2,048 for validation, one thread. Plain PyTorch is the usual loop: a TensorDataset
of normalised series, a shuffling DataLoader, the same network, Adam and loss.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from engines import B, K, T, series
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mlc_dask.classifiers import Context, TrainingSet
from mlc_dask.classifiers.lstm.settings import LSTM
from mlc_dask.data.legend import DEFAULT_LEGEND

SAMPLES, VALIDATION = 4_096, 2_048


def samples() -> TrainingSet:
    """Make training and validation samples of ten classes."""
    dn, labels = series(SAMPLES + VALIDATION, 3)
    context = Context(
        legend=DEFAULT_LEGEND,
        bands=tuple(f"B{i}" for i in range(B)),
        days=tuple(17.0 * i for i in range(T)),
        gaps="interpolate",
        min_valid=1,
    )
    codes = np.asarray(DEFAULT_LEGEND.codes, np.uint8)[labels]
    return TrainingSet(dn.transpose(2, 0, 1), codes, np.arange(len(codes)) >= SAMPLES, context)


def plain(data: TrainingSet, settings: LSTM) -> float:
    """Train by a plain PyTorch loop; returns the best validation loss."""
    torch.manual_seed(0)
    (dn, labels), (other, truth) = data.part(validation=False), data.part(validation=True)
    network = settings.network(B, K)
    network.standardise(dn)
    parts = TensorDataset(torch.from_numpy(dn.astype(np.float32)), torch.from_numpy(labels))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    criterion, losses = nn.NLLLoss(), []
    for _ in range(settings.epochs):
        network.train()
        for x, y in DataLoader(parts, batch_size=settings.batch, shuffle=True):
            optimizer.zero_grad()
            criterion(network(x), y).backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            scores = network(torch.from_numpy(other.astype(np.float32)))
            losses.append(criterion(scores, torch.from_numpy(truth)).item())
    return min(losses)


def ours(data: TrainingSet, settings: LSTM) -> float:
    """Train with the package; returns the best validation loss."""
    return min(row["validation_loss"] for row in settings.fit(data, seed=0).history)


def main() -> None:
    """Train in turn and print the rates of CPU time and the losses."""
    layers, hidden, epochs = (int(a) for a in [*sys.argv[1:], *("4", "128", "2")[len(sys.argv) - 1 :]])
    torch.set_num_threads(1)
    data = samples()
    shape = {"layers": layers, "hidden": hidden, "epochs": epochs, "batch": 256}
    ways: dict[str, Callable[[], float]] = {
        "plain PyTorch, float32": lambda: plain(data, LSTM(**shape)),
        "ours, float32": lambda: ours(data, LSTM(**shape)),
        "ours, bfloat16": lambda: ours(data, LSTM(**shape, precision="bfloat16")),
    }
    first = None
    for name, train in ways.items():
        start = time.process_time()
        loss = train()
        rate = SAMPLES * epochs / (time.process_time() - start)
        first = first or rate
        print(f"{name:26s} {rate:8,.0f} samples/s  x{rate / first:.2f}  validation loss {loss:.4f}")


if __name__ == "__main__":
    main()
