"""Synthetic worlds: a landscape with planted truth, written as the formats that users have.

For demonstrations, tests and benchmarks: what the ground is and what truly changes is known, and the images, their
masks and the old map are as imperfect as real ones.
"""

from mlc_dask.worlds.settings import World
from mlc_dask.worlds.writing import write_products, write_world

__all__ = ["World", "write_products", "write_world"]
