"""Decision trees as flat arrays, and their conversion back into scikit-learn's compiled trees.

scikit-learn's own files contain addresses and times, so equal forests give different bytes, and they bind a model to
one version. The arrays hold the nodes of all trees, one tree after the other:

- `first_node` (trees + 1,) int64: where each tree begins, and the end of the last
- `feature` (nodes,) uint16 and `threshold` (nodes,) uint16: go left where feature ≤ threshold. Features are integers,
  so scikit-learn's midway thresholds lose nothing when rounded down.
- `left` (nodes,) int32: left child, as its number within the tree; -1 for a leaf
- `right` (nodes,) int32: right child, likewise; for a leaf its row of `shares`
- `shares` (leaves, K) float32: share of every class in the leaf
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sklearn.tree._tree import Tree

Arrays = Mapping[str, npt.NDArray[Any]]

_TYPES = {"first_node": "<i8", "feature": "<u2", "threshold": "<u2", "left": "<i4", "right": "<i4", "shares": "<f4"}


def flatten(trees: Sequence[Tree]) -> dict[str, npt.NDArray[Any]]:
    """Return the flat arrays of fitted scikit-learn classification trees."""
    left = np.concatenate([t.children_left for t in trees])
    leaf = left < 0
    right = np.where(leaf, np.cumsum(leaf) - 1, np.concatenate([t.children_right for t in trees]))
    values = np.concatenate([t.value[t.children_left < 0, 0] for t in trees])
    arrays = {
        "first_node": np.cumsum([0, *(t.node_count for t in trees)]),
        "feature": np.where(leaf, 0, np.concatenate([t.feature for t in trees])),
        "threshold": np.where(leaf, 0, np.floor(np.concatenate([t.threshold for t in trees]))),
        "left": left,
        "right": right,
        "shares": values / values.sum(axis=1, keepdims=True),
    }
    return {name: array.astype(_TYPES[name]) for name, array in arrays.items()}


def check_trees(arrays: Arrays, trees: int, features: int, classes: int) -> None:
    """Raise `ValueError` unless every path from a root ends in a leaf, since compiled trees do not check nodes."""
    for name, kind in _TYPES.items():
        if arrays[name].dtype != kind:
            raise ValueError(f"{name} has dtype {arrays[name].dtype}")
    first, left, right, shares = (arrays[n] for n in ("first_node", "left", "right", "shares"))
    nodes = len(left)
    if not (len(first) == trees + 1 and first[0] == 0 and first[-1] == nodes and (np.diff(first) > 0).all()):
        raise ValueError("invalid tree offsets")
    if not (arrays["feature"].shape == arrays["threshold"].shape == left.shape == right.shape == (nodes,)):
        raise ValueError("the arrays of nodes differ in length")
    if shares.ndim != 2 or shares.shape[1] != classes:
        raise ValueError("the shares of the leaves do not match the number of classes")
    leaf = left == -1
    number = np.arange(nodes) - np.repeat(first[:-1], np.diff(first))
    end = np.repeat(np.diff(first), np.diff(first))
    # In the trees of scikit-learn, children come after their parent, which rules out an endless path.
    inner = (number < left) & (left < end) & (number < right) & (right < end) & (arrays["feature"] < features)
    if not np.where(leaf, (right >= 0) & (right < len(shares)), inner).all():
        raise ValueError("a node points outside its tree")
    root = np.repeat(first[:-1], np.diff(first))
    parents = np.bincount(np.concatenate([(root + left)[~leaf], (root + right)[~leaf]]), minlength=nodes)
    if not (parents == (number > 0)).all():
        raise ValueError("a node does not have exactly one parent")
    if not np.array_equal(np.sort(right[leaf]), np.arange(len(shares))):
        raise ValueError("leaves and shares do not correspond one to one")


def to_compiled(arrays: Arrays, features: int) -> list[tuple[Tree, npt.NDArray[np.int32]]]:
    """Return every tree in compiled form, with the row of `shares` of each node (meaningful for leaves only)."""
    # scikit-learn takes seconds to import, and only workers without compiled kernels need it.
    from sklearn.tree._tree import NODE_DTYPE, Tree

    compiled = []
    for first, end in pairwise(arrays["first_node"].tolist()):
        nodes = np.zeros(end - first, NODE_DTYPE)
        nodes["left_child"] = arrays["left"][first:end]
        nodes["right_child"] = arrays["right"][first:end]
        nodes["feature"] = arrays["feature"][first:end]
        nodes["threshold"] = arrays["threshold"][first:end]
        tree = Tree(features, np.ones(1, np.intp), 1)
        values = np.zeros((len(nodes), 1, 1))
        tree.__setstate__({"max_depth": 0, "node_count": len(nodes), "nodes": nodes, "values": values})
        compiled.append((tree, arrays["right"][first:end]))
    return compiled
