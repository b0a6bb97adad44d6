"""Engines for GPUs: tests that need no GPU, and tests that skip without one."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mlc_dask.classifiers.lstm import cuda
from mlc_dask.classifiers.lstm.compiled import engine_here, engine_of
from mlc_dask.classifiers.torch_network.engine import TorchEngine
from mlc_dask.classifiers.torch_network.streamed import BATCH, StreamedEngine
from mlc_dask.data.errors import InputError
from tests.test_native import network, series

SHAPE = (5, 4, 2, 32, True, 6)
CPU = torch.device("cpu")

INTERPRETED = """
import sys, numpy as np, torch
from mlc_dask.classifiers.lstm.fused import FusedLSTM
from tests.test_native import network, series
for shape, pixels in [((5, 10, 2, 32, True, 6), 70), ((2, 40, 3, 64, False, 6), 64), ((1, 3, 1, 32, True, 6), 1)]:
    net, dn = network(shape), series(shape, pixels)
    net.standardise(dn.transpose(2, 0, 1))
    x = torch.from_numpy(dn.transpose(2, 0, 1).astype(np.float32))
    with torch.inference_mode():
        x = net.input_norm((x - net.mean) / net.std)
        expected, found = (lstm(x.to(t))[1][1] for lstm, t in
                           [(net.lstm, torch.float32), (FusedLSTM(net.lstm, torch.float16), torch.float16)])
    assert found.shape == expected.shape and expected.abs().max() > 0.02, shape
    assert (found - expected).abs().max() < 0.01, (shape, (found - expected).abs().max())
"""


def test_the_fused_kernel_computes_the_cells_of_an_lstm() -> None:
    """In the interpreter of Triton, which must be selected before the kernel is imported."""
    pytest.importorskip("triton", reason="Triton is not installed")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("capability", [80, 90])
def test_the_fused_kernel_compiles_for_tensor_cores(
    capability: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = pytest.importorskip("triton.compiler", reason="Triton is not installed")
    from triton.backends.compiler import GPUTarget

    from mlc_dask.classifiers.lstm import fused

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
    types = {"x": "*fp16", "weights": "*fp16", "out": "*fp16", "cells": "*fp32", "steps": "i32", "pixels": "i32"}
    constants = {
        "inputs": 256, "hidden": 128, "directions": 2,
        "some_pixels": fused._PIXELS, "some_units": fused._UNITS, "some_inputs": fused._DEPTH,
    }  # fmt: skip
    source = compiler.ASTSource(
        fn=fused._layer, signature=types | dict.fromkeys(constants, "constexpr"), constexprs=constants
    )
    made = compiler.compile(source, target=GPUTarget("cuda", capability, 32))
    assert ("wgmma" if capability == 90 else "mma.sync") in made.asm["ptx"]


@pytest.mark.parametrize("pixels", [0, 1, 63, 64, 65, 300])
def test_streaming_gives_every_pixel_its_own_answer(pixels: int) -> None:
    """On the CPU: full batches, the last batch, and numbers of more than fifteen bits."""
    net, dn = network(SHAPE), series(SHAPE, pixels)
    dn[:, :, ::3] += 40_000
    every, expected_every = np.empty((2, SHAPE[-1], pixels), np.float32)
    engine = StreamedEngine(net, name="streamed", on=CPU, batch=64)
    position, probability = engine.classify(dn, every)
    assert all(np.array_equal(a, b) for a, b in zip(engine.classify(dn), (position, probability), strict=True))
    expected = TorchEngine(net).classify(dn, expected_every)
    np.testing.assert_allclose(every, expected_every, atol=1e-5)
    assert np.array_equal(position, expected[0])
    np.testing.assert_allclose(probability, expected[1], atol=1e-5)


def test_the_environment_chooses_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for asked, expected in {"": "cuda-cudnn", "triton": "cuda-triton", "off": "torch-cuda"}.items():
        monkeypatch.setenv("MLC_DASK_CUDA", asked)
        assert engine_here() == expected
    monkeypatch.setenv("MLC_DASK_CUDA", "fast")
    with pytest.raises(InputError, match="MLC_DASK_CUDA='fast' is unknown; set it to cudnn, triton, off"):
        engine_here()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("layers", ["cudnn", "triton"])
def test_a_gpu_gives_the_labels_of_the_cpu(layers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (20, 10, 4, 128, True, 10)
    net, dn = network(shape), series(shape, 3 * BATCH // 2)
    net.standardise(dn.transpose(2, 0, 1))
    monkeypatch.setenv("MLC_DASK_CUDA", layers)
    plain = StreamedEngine(net, name="plain", on=CPU).classify(dn)
    made = cuda.in_float16(net, layers)
    position, probability = StreamedEngine(made, name=layers, on=torch.device("cuda")).classify(dn)
    assert (position == plain[0]).mean() >= 0.99 and np.abs(probability - plain[1]).max() <= 0.05
    assert engine_of(net, 20).name == f"cuda-{layers}"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_threads_of_a_gpus_worker_do_not_disturb_each_other() -> None:
    shape = (20, 10, 1, 32, True, 10)
    net = network(shape)
    parts = [series(shape, 5 * BATCH + i) for i in range(4)]
    net.standardise(parts[0].transpose(2, 0, 1))
    engine = StreamedEngine(cuda.in_float16(net, "cudnn"), name="cudnn", on=torch.device("cuda"))
    alone = [engine.classify(dn) for dn in parts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            together = list(pool.map(engine.classify, parts))
            assert all(np.array_equal(a[0], b[0]) for a, b in zip(alone, together, strict=True))
