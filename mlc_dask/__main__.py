"""``python -m mlc_dask`` is the command line."""

from mlc_dask.cli import app

app()
