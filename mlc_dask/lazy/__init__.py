"""The verbs that build Dask graphs: kernels go in, lazy xarray objects come out.

Four verbs carry the method: :func:`map_pixels` applies a kernel to every pixel, :func:`map_neighbourhood` to every
pixel with its surroundings, :func:`reduce_blocks` folds all blocks into one value, :func:`gather_pixels` takes the
series of chosen pixels. :func:`windows` cuts chosen squares out of a raster. Two more stand at its ends:
:func:`read_blocks` makes a raster from a reader, :func:`write_patches` stores one. Kernels never see Dask; when one
fails on a block, the error names the block's place.
"""

from mlc_dask.lazy.names import is_stored, only_reads
from mlc_dask.lazy.provenance import Made
from mlc_dask.lazy.tasks import call, compute
from mlc_dask.lazy.telemetry import PATCH_TOPIC, announce, tell, tell_colours
from mlc_dask.lazy.verbs import (
    Block,
    blocks_of,
    gather_pixels,
    map_neighbourhood,
    map_pixels,
    read_blocks,
    reduce_blocks,
)
from mlc_dask.lazy.windows import windows
from mlc_dask.lazy.writing import PatchWriter, identity, write_patches

__all__ = [
    "PATCH_TOPIC",
    "Block",
    "Made",
    "PatchWriter",
    "announce",
    "blocks_of",
    "call",
    "compute",
    "gather_pixels",
    "identity",
    "is_stored",
    "map_neighbourhood",
    "map_pixels",
    "only_reads",
    "read_blocks",
    "reduce_blocks",
    "tell",
    "tell_colours",
    "windows",
    "write_patches",
]
