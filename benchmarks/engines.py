"""Our engines and kernels against their usual alternatives, in one process, one thread, in turn.

Usage: python benchmarks/engines.py [OUT.json [ROUNDS]]   (make bench; writes OUT.svg beside it)

The network is the paper's, 4 layers of 128, on series of 20 dates and 10 bands; the forest has 100 trees grown on
24,000 samples; the filters' window is 11 × 11 on a map of ten classes; a fifth of the dates are gaps. Every engine gets
the same uint16 digital numbers (T, B, pixels) and gives labels. Figures are pixels per second of CPU, medians over the
rounds, with the spread of the ratio to the first of each group. Ceilings are measured first: multiplications and
additions by registers alone, per instruction (ceilings.py), and copying memory. PyTorch's products would be no ceiling:
on AMD processors its library leaves AVX-512 out.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import ceilings as registers
import numpy as np
import numpy.typing as npt
import peers
import torch
from sklearn.ensemble import RandomForestClassifier

from mlc_dask import native
from mlc_dask.classifiers.forest.trees import flatten
from mlc_dask.classifiers.forest.votes import NativeForest, SklearnForest
from mlc_dask.classifiers.lstm.compiled import NativeEngine
from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.classifiers.torch_network.engine import TorchEngine
from mlc_dask.kernels import gaps
from mlc_dask.kernels.majority import majority, median

T, B, K = 20, 10, 10
FLOP = {True: 52.9e6, False: 18.6e6}
"""Of the network for one pixel, in both directions and in one."""

Array = npt.NDArray[Any]
Group = dict[str, tuple[Callable[[Any], Array], int]]
"""By name: digital numbers to labels, and how many pixels a round takes; the first is what all are compared with."""


def series(pixels: int, seed: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
    """Noisy seasons of K classes: digital numbers (T, B, pixels) and classes (pixels,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, K, pixels)
    curves = np.random.default_rng(5).integers(1200, 5000, (K, T, B))
    dn = np.clip(random.normal(curves[labels], 1200), 1, 65_535).astype(np.uint16)
    return np.ascontiguousarray(dn.transpose(1, 2, 0)), labels


def modules() -> dict[str, Any]:
    """Compiled kernels of networks that this machine runs, by instruction set."""
    return {level: import_module(f"mlc_dask.native._{level}") for level in native.available() if level != "baseline"}


def networks(pixels: int, *, bidirectional: bool, folder: Path, layers: int = 4, hidden: int = 128) -> Group:
    """Return one network on every engine, naive PyTorch first."""
    network = decided(LSTMNetwork(B, K, layers=layers, hidden=hidden, bidirectional=bidirectional, dropout=0.0).eval())
    group: Group = {
        "naive PyTorch, batches of 1024": (peers.naive_torch(network), pixels),
        "engine torch-cpu": (labels_of(TorchEngine(network)), pixels),
        "engine torch-bf16": (labels_of(TorchEngine(network.with_recurrence_in(torch.bfloat16))), pixels // 4),
    }
    if not peers.missing("onnx", "onnxruntime"):
        path = peers.onnx_file(network, T, B, folder / f"{bidirectional}.onnx")
        group["ONNX Runtime"] = (peers.onnx_runtime(path), pixels)
        if not peers.missing("openvino"):
            group["OpenVINO, float32"] = (peers.openvino(path, "f32"), pixels)
            group["OpenVINO, bfloat16 if it can"] = (peers.openvino(path, "bf16"), pixels)
    for module in modules().values():
        engine = NativeEngine(network, T, module)
        group[f"engine {engine.name}"] = (labels_of(engine), pixels)
    return group


def decided(network: LSTMNetwork) -> LSTMNetwork:
    """Train only the head, which is fast: without training, every rounding changes labels."""
    torch.manual_seed(0)
    for parameter in network.lstm.parameters():
        torch.nn.init.uniform_(parameter, -0.1, 0.1)
    dn, labels = series(1_000, 1)
    network.standardise(dn.transpose(2, 0, 1))
    x = torch.from_numpy(dn.transpose(2, 0, 1).astype(np.float32))
    with torch.no_grad():
        _, (_, cells) = network.lstm(network.input_norm((x - network.mean) / network.std))
    states = network.state_norm(cells.transpose(0, 1).flatten(1)).detach()
    optimizer = torch.optim.Adam(network.head.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network.head(states), torch.from_numpy(labels)).backward()
        optimizer.step()
    return network


def forests(pixels: int, *, trees: int = 100, samples: int = 24_000) -> Group:
    """Return one forest on every engine, scikit-learn first."""
    dn, labels = series(samples, 2)
    x, settings = dn.reshape(T * B, -1).T.astype(np.float32), {"n_estimators": trees, "random_state": 0, "n_jobs": 1}
    forest = RandomForestClassifier(**settings).fit(x, labels)
    arrays = flatten([e.tree_ for e in forest.estimators_])
    group: Group = {
        "scikit-learn": (peers.flat(forest.predict), pixels),
        "engine scikit-learn": (labels_of(SklearnForest(arrays, T * B), flat=True), pixels),
    }
    if not peers.missing("onnxruntime", "skl2onnx"):
        group["ONNX Runtime"] = (peers.onnx_forest(forest), pixels)
    if not peers.missing("sklearnex"):
        group["scikit-learn-intelex"] = (peers.intelex_forest(settings, x, labels), pixels)
    if module := native.portable():
        group["engine native"] = (labels_of(NativeForest(arrays, T * B, module), flat=True), pixels)
    return group


def filters(edge: int) -> Group:
    """Return the 11 × 11 filters, medians first; each takes a map of `edge` × `edge` labels."""
    take, radius = square(edge), 5
    group: Group = {
        "median, scipy": (take(peers.scipy_median(radius)), edge**2),
        "median, OpenCV": (take(peers.opencv_median(radius)), edge**2),
        "median, ours (codes, no data apart)": (take(lambda m: median(m, radius)), edge**2),
        "majority, ours (no data, ties)": (take(lambda m: majority(m, radius)), edge**2),
    }
    if not peers.missing("skimage"):
        group["majority, scikit-image"] = (take(peers.skimage_modal(radius)), edge**2)
    return group


def square(edge: int) -> Callable[[Callable[[Array], Array]], Callable[[Array], Array]]:
    """Wrap a filter: it gets a map of patches of classes instead of series, and gives flat labels."""
    coarse = np.random.default_rng(0).integers(1, K + 1, (edge // 8 + 1, edge // 8 + 1)).astype(np.uint8)
    labels = np.ascontiguousarray(np.kron(coarse, np.ones((8, 8), np.uint8))[:edge, :edge])
    return lambda call: lambda _: call(labels).reshape(-1)


def fillings(pixels: int) -> Group:
    """Return the ways to fill the gaps of a year, numpy first; the label is the sum of a pixel's numbers."""
    usable = np.random.default_rng(0).random((T, pixels)) > 0.2
    days = 17.0 * np.arange(T)

    def of(call: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda dn: call(np.ascontiguousarray(dn)).sum(axis=(0, 1), dtype=np.int64)

    group: Group = {"numpy": (of(lambda dn: gaps._fill(dn, usable, days, "interpolate")), pixels)}
    if module := native.portable():
        group["kernel"] = (of(lambda dn: filled(module, dn, usable, days)), pixels)
    return group


def filled(module: Any, dn: Array, usable: Array, days: Array) -> Array:
    """Fill by compiled kernels."""
    out = np.empty_like(dn)
    module.fill(dn, usable, days, False, np.arange(dn.shape[2]), out)
    return out


def labels_of(engine: Any, *, flat: bool = False) -> Callable[[Array], Array]:
    """Return the engine's labels alone; `flat` where it takes features (T * B, pixels)."""
    return lambda dn: engine.classify(dn.reshape(T * B, -1) if flat else dn)[0]


def ceilings() -> dict[str, float]:
    """Operations per second by registers alone and bytes per second of copies, on one thread."""
    found = {}
    for name, loop, operations in registers.loops():
        found[name] = operations * registers.ROUNDS * fastest(lambda loop=loop: loop(registers.ROUNDS))
    source = np.ones(2**25, np.uint8)
    found["copy, bytes/s"] = source.nbytes * fastest(source.copy)
    return found


def ceiling_of(name: str, top: dict[str, float]) -> str | None:
    """Return the name of the ceiling of an engine of networks; None where its instruction was not measured."""
    if (level := name.removeprefix("engine native-int16-")) != name:
        return f"int16 {level}" if f"int16 {level}" in top else None
    if any(word in name for word in ("bf16", "bfloat16", "amx")):
        return None
    return max((found for found in top if found.startswith("float32")), key=lambda found: top[found], default=None)


def fastest(call: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return calls per second of CPU, or of another clock, the best of several tries."""
    rates = []
    for _ in range(10):
        start, count = clock(), 0
        while clock() - start < 0.02:
            call()
            count += 1
        rates.append(count / (clock() - start))
    return max(rates)


def measured(group: Group, rounds: int, clock: Callable[[], float] = time.process_time) -> dict[str, Any]:
    """Run a group's engines in turn: rates, ratios to the first with their range, labels equal to the first's."""
    rates: dict[str, list[float]] = {name: [] for name in group}
    dn, _ = series(max(pixels for _, pixels in group.values()), 3)
    labels: dict[str, Array] = {}
    for _ in range(rounds):
        for name, (classify, pixels) in group.items():
            part = np.ascontiguousarray(dn[:, :, :pixels])
            start = clock()
            labels[name] = classify(part)
            rates[name].append(pixels / (clock() - start))
    first = next(iter(group))
    ratios = {name: [a / b for a, b in zip(found, rates[first], strict=True)] for name, found in rates.items()}
    return {
        name: {
            "pixels_per_second": statistics.median(rates[name]),
            "ratio": statistics.median(ratios[name]),
            "range": [min(ratios[name]), max(ratios[name])],
            "equal_labels": float((labels[name] == labels[first][: len(labels[name])]).mean()),
        }
        for name in group
    }


def report(scale: float, rounds: int, folder: Path) -> dict[str, Any]:
    """Measure all groups, on `scale` times the usual number of pixels, and print their tables."""
    top = ceilings()
    found: dict[str, Any] = {"ceilings": top, "groups": {}}
    print("  ".join(f"{name} {value / 1e9:.1f}e9" for name, value in top.items()))
    groups: dict[str, tuple[Callable[[], Group], float | None]] = {
        "LSTM in both directions": (
            lambda: networks(int(2048 * scale), bidirectional=True, folder=folder),
            FLOP[True],
        ),
        "LSTM in one direction": (
            lambda: networks(int(4096 * scale), bidirectional=False, folder=folder),
            FLOP[False],
        ),
        "Random Forest, 100 trees": (lambda: forests(int(32_768 * scale)), None),
        "Filters, 11 × 11": (lambda: filters(int(1024 * scale)), None),
        "Gaps": (lambda: fillings(int(32_768 * scale)), None),
    }
    for title, (make, flop) in groups.items():
        found["groups"][title] = rows = measured(make(), rounds)
        print(f"\n{title}")
        for name, row in rows.items():
            share = ""
            if flop and (ceiling := ceiling_of(name, top)):
                row["share"] = row["pixels_per_second"] * flop / top[ceiling]
                share = f"  {row['share']:.0%} of {ceiling}"
            low, high = row["range"]
            print(
                f"  {name:36s} {row['pixels_per_second']:11,.0f} px/s  x{row['ratio']:.2f} ({low:.2f}-{high:.2f})"
                f"  labels {row['equal_labels']:.4f}{share}"
            )
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"\npeak memory of all of it: {found['peak_bytes'] / 2**30:.1f} GiB")
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the ratios, with ours set apart."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    groups = found["groups"]
    heights = [len(rows) for rows in groups.values()]
    figure, axes = plt.subplots(len(groups), 1, figsize=(8, 0.3 * sum(heights) + 3), height_ratios=heights)
    for axis, (title, rows) in zip(axes, groups.items(), strict=True):
        ratios = [row["ratio"] for row in rows.values()]
        spread = np.abs(np.array([row["range"] for row in rows.values()]).T - ratios)
        ours = [name.startswith(("engine", "kernel")) or "ours" in name for name in rows]
        axis.barh(list(rows), ratios, xerr=spread, color=["#1b7837" if own else "#bbbbbb" for own in ours])
        axis.set_title(f"{title}: pixels per second of CPU, to the first", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Run everything; write the JSON and the plot."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "engines.json")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # GPUs have a benchmark of their own
    torch.set_num_threads(1)
    wanted = ("onnx", "onnxruntime", "openvino", "skl2onnx", "sklearnex", "skimage")
    if left_out := peers.missing(*wanted):
        print(f"not installed, and so not compared: {', '.join(left_out)}")
    with tempfile.TemporaryDirectory() as folder:
        found = report(1, rounds, Path(folder))
    out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    draw(found, out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
