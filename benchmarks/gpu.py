"""Our engines for GPUs against PyTorch as others use it, on one device, in turn.

Usage: python benchmarks/gpu.py [OUT.json [ROUNDS]]   (part of make bench; states when there is no CUDA device)

Network and series are those of benchmarks/engines.py. A rate is pixels per second of wall time, from digital
numbers (T, B, pixels) uint16 in memory to labels in memory, including the host's part and the copies; medians over
the rounds, with the spread of the ratio to the first. Labels are compared with those of float32 on the CPU. Ceilings
are measured first: float16 products of 8192 × 8192 matrices, and copies of pinned memory to the device.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import peers
import torch
from engines import FLOP, B, Group, K, decided, fastest, labels_of, measured, series

from mlc_dask.classifiers.lstm.cuda import in_float16
from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.classifiers.torch_network.streamed import BATCH, StreamedEngine

TILE = 10_980**2
_COMPARED = 4096
"""Pixels whose labels are compared with those of the CPU."""


def networks(network: LSTMNetwork, pixels: int, on: torch.device, layers: Sequence[str], batch: int = BATCH) -> Group:
    """Return `network` on every engine of `layers`, naive PyTorch first."""
    there = deepcopy(network).to(on)
    group: Group = {
        f"naive PyTorch, batches of {peers.BATCH}": (peers.naive_torch(there, on), pixels),
        f"PyTorch, autocast, batches of {batch}": (peers.autocast_torch(there, on, batch), pixels),
    }
    for name in layers:
        engine = StreamedEngine(in_float16(network, name), name=f"cuda-{name}", on=on, batch=batch)
        group[f"engine {engine.name}"] = (labels_of(engine), pixels)
    return group


def ceilings(on: torch.device, edge: int) -> dict[str, float]:
    """Operations per second of float16 products, and bytes per second from pinned memory to the device."""
    a = torch.rand(edge, edge, device=on).half()
    here = torch.empty(edge * edge, dtype=torch.uint8, pin_memory=on.type == "cuda")
    there = torch.empty_like(here, device=on)

    def rate(call: Callable[[], object]) -> float:
        def finished() -> None:
            call()
            if on.type == "cuda":
                torch.cuda.synchronize(on)

        return fastest(finished, time.perf_counter)

    return {
        "float16 products, FLOP/s": 2 * edge**3 * rate(lambda: a @ a),
        "copy to the device, bytes/s": here.nbytes * rate(lambda: there.copy_(here, non_blocking=True)),
    }


def compared(group: Group, network: LSTMNetwork) -> dict[str, float]:
    """Return the share of labels equal to those of float32 on the CPU, by engine."""
    dn, _ = series(_COMPARED, 4)
    expected = peers.naive_torch(network)(dn)
    return {name: float((classify(dn) == expected).mean()) for name, (classify, _) in group.items()}


def report(on: torch.device, rounds: int, pixels: int, layers: Sequence[str]) -> dict[str, Any]:
    """Measure the paper's network in both directions and in one, and print the tables."""
    top = ceilings(on, 8192)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(on), "ceilings": top, "groups": {}}
    print(found["device"], *(f"{name} {value / 1e9:,.0f}e9" for name, value in top.items()), sep="  ")
    for both, title in ((True, "LSTM in both directions"), (False, "LSTM in one direction")):
        network = decided(LSTMNetwork(B, K, layers=4, hidden=128, bidirectional=both, dropout=0.0).eval())
        group = networks(network, pixels, on, layers)
        equal = compared(group, network)  # warms up, too
        found["groups"][title] = rows = measured(group, rounds, time.perf_counter)
        print(f"\n{title}")
        for name, row in rows.items():
            rate, (low, high) = row["pixels_per_second"], row["range"]
            row |= {
                "equal_to_cpu": equal[name],
                "share_of_float16": rate * FLOP[both] / top["float16 products, FLOP/s"],
            }
            print(
                f"  {name:40s} {rate:12,.0f} px/s  x{row['ratio']:.2f} ({low:.2f}-{high:.2f})  "
                f"{row['share_of_float16']:.0%} of products  {equal[name]:.2%} of the CPU's labels  "
                f"a tile-year in {TILE / rate:,.0f} s"
            )
    found["peak_device_bytes"] = torch.cuda.max_memory_allocated(on)
    print(f"\npeak memory of the device: {found['peak_device_bytes'] / 2**30:.1f} GiB")
    return found


def main() -> None:
    """Run everything and write the JSON."""
    if not torch.cuda.is_available():
        print("there is no CUDA device: engines for GPUs are not measured")
        return
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "gpu.json")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    layers = ["cudnn", *(["triton"] if find_spec("triton") else [])]
    found = report(torch.device("cuda"), rounds, 2**20, layers)
    out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
