"""Training samples on disk: one Zarr group, with the provenance of every row."""

from __future__ import annotations

from pathlib import Path

import xarray as xr
from zarr.codecs import BloscCodec

from mlc_dask.data.schema import SAMPLE, check_samples

_ROWS = 16_384


def write_samples(samples: xr.Dataset, path: str | Path) -> None:
    """Write samples as a Zarr group, with the series in chunks of 16,384 rows."""
    check_samples(samples)
    rows = min(_ROWS, samples.sizes[SAMPLE])
    encoding = {
        name: {
            "chunks": tuple(rows if d == SAMPLE else n for d, n in v.sizes.items()),
            "compressors": [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")],
        }
        for name, v in samples.data_vars.items()
    }
    samples.to_zarr(Path(path), mode="w", zarr_format=3, consolidated=False, encoding=encoding)


def open_samples(path: str | Path) -> xr.Dataset:
    """Open samples. The series stay on disk until a task needs them; the one-dimensional columns are loaded."""
    samples = xr.open_zarr(Path(path), consolidated=False, mask_and_scale=False)
    small = [n for n, v in samples.data_vars.items() if v.ndim == 1]
    return check_samples(samples.assign({n: samples[n].load() for n in small}))
