"""Counter-based random numbers: the priority of a pixel depends only on the seed and its global id.

See method section 5.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Apply one step of SplitMix64 (Steele, Lea and Flood 2014), a bijection, to a uint64 array of any shape."""
    with np.errstate(over="ignore"):
        mixed = state + _GAMMA
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def priority(seed: int, stream: str, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """Hash pixels into priorities: element `id` of the SplitMix64 stream that `seed` and `stream` select.

    Distinct ids never share a priority within a stream.

    Parameters
    ----------
    seed
        The seed of the run.
    stream
        Purpose of the priorities, such as ``"annual-2018"``; different streams are independent.
    ids
        Global pixel ids, integers of any shape.

    Returns
    -------
    uint64 of the shape of `ids`.
    """
    key = int.from_bytes(hashlib.blake2b(f"{seed}|{stream}".encode(), digest_size=8).digest(), "little")
    with np.errstate(over="ignore"):
        return splitmix64(np.asarray(ids, np.uint64) * _GAMMA + np.uint64(key))
