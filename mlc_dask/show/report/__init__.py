"""The evidence card of a run: one self-contained HTML page with maps, tables and plots."""

from mlc_dask.show.report.page import Evidence, write_report

__all__ = ["Evidence", "write_report"]
