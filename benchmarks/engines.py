"""Engines of the classifiers against each other and against naive PyTorch, in one process, one thread, in turn.

Usage: python benchmarks/engines.py [OUT.json] [ROUNDS]   (make bench)

The network is the paper's, 4 layers of 128, on series of 20 dates and 10 bands; the forest has 100 trees grown on
24,000 samples. Every engine gets the same digital numbers (T, B, pixels) uint16 and gives labels. Figures are pixels
per second of CPU, medians over the rounds, with the spread of the ratio to the first peer of each group; the ceiling is
what float32 products of 512 × 384 by 384 × 256 reach in PyTorch here.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mlc_dask import native
from mlc_dask.classifiers import Context, RandomForest, TrainingSet
from mlc_dask.classifiers.compiled import NativeEngine
from mlc_dask.classifiers.engines import TorchEngine
from mlc_dask.classifiers.network import LSTMNetwork
from mlc_dask.classifiers.votes import NativeForest, SklearnForest
from mlc_dask.legend import DEFAULT_LEGEND

T, B, K = 20, 10, 10
FLOP = {True: 52.9e6, False: 18.6e6}
"""Of the network for one pixel, in both directions and in one."""

Labels = npt.NDArray[Any]
Peers = dict[str, tuple[Callable[[Labels], Labels], int]]
"""By name: digital numbers to labels, and how many pixels a round takes."""


def series(pixels: int, seed: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
    """Noisy seasons of K classes: digital numbers (T, B, pixels) and classes (pixels,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, K, pixels)
    curves = np.random.default_rng(5).integers(1200, 5000, (K, T, B))
    dn = np.clip(random.normal(curves[labels], 1200), 1, 65_535).astype(np.uint16)
    return np.ascontiguousarray(dn.transpose(1, 2, 0)), labels


def naive(network: LSTMNetwork) -> Callable[[Labels], Labels]:
    """PyTorch as one writes it first: batches of 1024 in float32."""

    def classify(dn: Labels) -> Labels:
        found = []
        with torch.inference_mode():
            for start in range(0, dn.shape[2], 1024):
                x = torch.from_numpy(dn[:, :, start : start + 1024].transpose(2, 0, 1).astype(np.float32))
                found.append(network(x).argmax(dim=1).numpy())
        return np.concatenate(found)

    return classify


def labels_of(engine: Any, *, flat: bool = False) -> Callable[[Labels], Labels]:
    """Return the engine's labels alone; `flat` where it takes features (T * B, pixels)."""
    return lambda dn: engine.classify(dn.reshape(T * B, -1) if flat else dn)[0]


def networks(*, bidirectional: bool) -> Peers:
    """Return the paper's network on every engine, naive PyTorch first."""
    torch.manual_seed(0)
    network = LSTMNetwork(B, K, layers=4, hidden=128, bidirectional=bidirectional, dropout=0.5713).eval()
    network.standardise(series(2_000, 1)[0].transpose(2, 0, 1))
    pixels = 2_048 if bidirectional else 6_144
    peers: Peers = {
        "naive PyTorch, batches of 1024": (naive(network), pixels),
        "engine torch-cpu": (labels_of(TorchEngine(network)), pixels),
    }
    for level in native.available():
        engine = NativeEngine(network, T, import_module(f"mlc_dask.native._{level}"))
        peers[f"engine {engine.name}"] = (labels_of(engine), pixels)
    return peers


def forests() -> Peers:
    """Return one forest on every engine, scikit-learn's trees first."""
    dn, labels = series(24_000, 2)
    codes = np.array(DEFAULT_LEGEND.codes[:K], np.uint8)
    context = Context(DEFAULT_LEGEND, tuple(f"B{b}" for b in range(B)), tuple(np.linspace(10, 350, T)), "keep", 3)
    data = TrainingSet(
        np.ascontiguousarray(dn.transpose(2, 0, 1)), codes[labels], np.zeros(len(labels), np.bool_), context
    )
    arrays = RandomForest(trees=100).fit(data, seed=0).arrays
    plain = SklearnForest(arrays, T * B)
    peers: Peers = {plain.name: (labels_of(plain, flat=True), 32_768)}
    for level in native.available():
        engine = NativeForest(arrays, T * B, import_module(f"mlc_dask.native._{level}"))
        peers[f"engine {engine.name}"] = (labels_of(engine, flat=True), 32_768)
    return peers


def ceiling() -> float:
    """Float32 operations a second of matrix products on one thread."""
    a, b = torch.rand(512, 384), torch.rand(384, 256)
    rates = []
    for _ in range(20):
        start = time.process_time()
        for _ in range(20):
            a @ b
        rates.append(20 * 2 * 512 * 384 * 256 / (time.process_time() - start))
    return max(rates)


def measured(peers: Peers, rounds: int) -> dict[str, Any]:
    """Run the peers in turn: rates, ratios to the first with their range, and the share of labels equal to its."""
    rates: dict[str, list[float]] = {name: [] for name in peers}
    dn, _ = series(max(pixels for _, pixels in peers.values()), 3)
    labels: dict[str, Labels] = {}
    for _ in range(rounds):
        for name, (classify, pixels) in peers.items():
            start = time.process_time()
            labels[name] = classify(dn[:, :, :pixels])
            rates[name].append(pixels / (time.process_time() - start))
    first = next(iter(peers))
    ratios = {name: [a / b for a, b in zip(found, rates[first], strict=True)] for name, found in rates.items()}
    return {
        name: {
            "pixels_per_second": statistics.median(rates[name]),
            "ratio": statistics.median(ratios[name]),
            "range": [min(ratios[name]), max(ratios[name])],
            "equal_labels": float((labels[name] == labels[first]).mean()),
        }
        for name in peers
    }


def main() -> None:
    """Run all groups, print their tables and write the JSON."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "engines.json")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    torch.set_num_threads(1)
    top = ceiling()
    groups = {
        "LSTM in both directions": (networks(bidirectional=True), FLOP[True]),
        "LSTM in one direction": (networks(bidirectional=False), FLOP[False]),
        "Random Forest": (forests(), None),
    }
    report: dict[str, Any] = {"float32_product_flops": top}
    print(f"float32 matrix products: {top / 1e9:.0f} GFLOP/s")
    for title, (peers, flop) in groups.items():
        report[title] = measured(peers, rounds)
        print(f"\n{title}")
        for name, row in report[title].items():
            share = f", {row['pixels_per_second'] * flop / top:.0%} of the ceiling" if flop else ""
            low, high = row["range"]
            print(
                f"  {name:32s} {row['pixels_per_second']:9,.0f} px/s  x{row['ratio']:.2f} ({low:.2f}-{high:.2f})"
                f"  labels {row['equal_labels']:.4f}{share}"
            )
    out.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
