"""Class borders: which pixels of a thematic product lie safely inside one class."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA


def interior(labels: npt.NDArray[np.uint8], radius: int) -> npt.NDArray[np.bool_]:
    """Mark the pixels whose whole square neighbourhood has their own class (method section 5).

    The outer edge of the raster is not a border: pixels outside the raster are ignored. A block needs a halo of
    `radius` pixels.

    Parameters
    ----------
    labels
        (h, w) uint8 class codes, 0 = no data.
    radius
        Half width of the square in pixels; 0 marks every pixel with data.

    Returns
    -------
    (h, w) bool; False also for pixels of no data, and for pixels whose neighbourhood contains some.
    """
    assert labels.ndim == 2 and labels.dtype == np.uint8, (labels.shape, labels.dtype)
    assert radius >= 0, radius
    valid = np.not_equal(labels, NO_DATA)
    if radius == 0 or labels.size == 0:
        return valid
    labels = np.ascontiguousarray(labels)
    # A square is uniform exactly when its lowest code equals its highest. OpenCV's default border value is neutral for
    # both operations, so the edge of the raster does not count.
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    uniform = cv2.erode(labels, square) == cv2.dilate(labels, square)
    return np.asarray(uniform & valid, np.bool_)
