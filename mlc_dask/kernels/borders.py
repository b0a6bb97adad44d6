"""Class borders: where a thematic product is safely inside one class."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA


def interior(labels: npt.NDArray[np.uint8], radius: int) -> npt.NDArray[np.bool_]:
    """Mark the pixels whose whole square neighbourhood carries their own class (method section 5).

    The outer edge of the raster is no border: only pixels that exist can disagree. On blocks this needs a halo
    of `radius` pixels.

    Parameters
    ----------
    labels
        (h, w) uint8 class codes, 0 = no data.
    radius
        Half width of the square in pixels; 0 marks every pixel with data.

    Returns
    -------
    (h, w) bool, False wherever the label is no data or no data is within reach.
    """
    assert labels.ndim == 2 and labels.dtype == np.uint8, (labels.shape, labels.dtype)
    assert radius >= 0, radius
    valid = np.not_equal(labels, NO_DATA)
    if radius == 0 or labels.size == 0:
        return valid
    labels = np.ascontiguousarray(labels)
    # A square is uniform exactly when its lowest code is its highest. OpenCV's default border value is neutral for
    # both operations, which is what keeps the raster's edge from counting.
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    uniform = cv2.erode(labels, square) == cv2.dilate(labels, square)
    return np.asarray(uniform & valid, np.bool_)
