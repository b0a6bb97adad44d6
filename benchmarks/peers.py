"""The usual alternatives for the same work. If the package of a peer is not installed, it is named as missing."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

from mlc_dask.classifiers.lstm.network import LSTMNetwork

if find_spec("sklearnex"):
    import sklearnex  # noqa: F401  (brings a threading library that must be loaded before OpenVINO's)

Array = npt.NDArray[Any]
Peer = Callable[[Array], Array]
BATCH = 1024
CPU = torch.device("cpu")


def missing(*packages: str) -> list[str]:
    """Return those of `packages` that cannot be imported."""
    return [name for name in packages if find_spec(name) is None]


def in_batches(call: Callable[[npt.NDArray[np.float32]], Array], batch: int) -> Peer:
    """Classify digital numbers (T, B, P) uint16 in batches (batch, T, B) float32, the last one filled up."""

    def classify(dn: Array) -> Array:
        found = []
        for start in range(0, dn.shape[2], batch):
            part = dn[:, :, start : start + batch].transpose(2, 0, 1).astype(np.float32)
            count = len(part)
            if count < batch:
                part = np.concatenate([part, np.zeros((batch - count, *part.shape[1:]), np.float32)])
            found.append(call(part)[:count])
        return np.concatenate(found)

    return classify


def naive_torch(network: LSTMNetwork, on: torch.device = CPU) -> Peer:
    """PyTorch in its simplest form: batches of 1024 in float32, on the device of the network."""

    def call(x: npt.NDArray[np.float32]) -> Array:
        with torch.inference_mode():
            return network(torch.from_numpy(x).to(on)).argmax(dim=1).cpu().numpy()

    return in_batches(call, BATCH)


def autocast_torch(network: LSTMNetwork, on: torch.device, batch: int) -> Peer:
    """PyTorch with the usual advice for GPUs: large batches, and float16 by autocast where possible."""

    def call(x: npt.NDArray[np.float32]) -> Array:
        with torch.inference_mode(), torch.autocast(on.type, torch.float16):
            return network(torch.from_numpy(x).to(on)).argmax(dim=1).cpu().numpy()

    return in_batches(call, batch)


def onnx_file(network: LSTMNetwork, steps: int, bands: int, path: Path) -> Path:
    """Write the network for batches of :data:`BATCH`."""
    example = torch.zeros(BATCH, steps, bands)
    torch.onnx.export(network, (example,), str(path), input_names=["x"], dynamo=False)
    return path


def onnx_runtime(path: Path) -> Peer:
    """ONNX Runtime on one thread, of a network or a forest whose first output is scores or labels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return in_batches(lambda x: session.run(None, {name: x})[0].argmax(axis=1), BATCH)


def openvino(path: Path, precision: str) -> Peer:
    """OpenVINO on one thread; `precision` is a hint, which processors without bfloat16 do not follow."""
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    compiled = ov.Core().compile_model(str(path), "CPU", settings)
    return in_batches(lambda x: compiled(x)[0].argmax(axis=1), BATCH)


def flat(predict: Callable[[npt.NDArray[np.float32]], Array]) -> Peer:
    """Classify by a method that takes samples (P, T * B) float32."""
    return lambda dn: predict(dn.reshape(-1, dn.shape[2]).T.astype(np.float32, order="C"))


def onnx_forest(forest: RandomForestClassifier) -> Peer:
    """Vote by ONNX Runtime's trees on one thread."""
    import onnxruntime
    from skl2onnx import to_onnx

    model = to_onnx(forest, np.zeros((1, forest.n_features_in_), np.float32), options={"zipmap": False})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return flat(lambda x: np.asarray(session.run(["label"], {"X": x})[0]))


def intelex_forest(settings: dict[str, Any], x: Array, y: Array) -> Peer:
    """Train and vote by Intel's extension, which grows its own trees."""
    from sklearnex.ensemble import RandomForestClassifier as Extended

    return flat(Extended(**settings).fit(x, y).predict)


def scipy_median(radius: int) -> Peer:
    """Median filter of scipy, with repeated edges."""
    return lambda labels: np.asarray(ndimage.median_filter(labels, 2 * radius + 1, mode="nearest"))


def opencv_median(radius: int) -> Peer:
    """Median filter of OpenCV on bytes."""
    return lambda labels: np.asarray(cv2.medianBlur(labels, 2 * radius + 1))


def skimage_modal(radius: int) -> Peer:
    """Most frequent value by scikit-image's histograms."""
    from skimage.filters.rank import modal

    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return lambda labels: np.asarray(modal(labels, window))
