"""How cubes, maps and runs show themselves in a notebook: ``data.mlc`` on xarray objects, and :func:`open_run`.

Importing this registers the accessor; what draws is imported when something is shown.
"""

from mlc_dask.show.notebook.accessor import Showing
from mlc_dask.show.notebook.runs import OpenedRun, open_run

__all__ = ["OpenedRun", "Showing", "open_run"]
