"""The configuration file: one frozen model per stage. Unknown keys are refused with the nearest match."""

from mlc_dask.config.loading import load_config
from mlc_dask.config.sections import Config, Execution, Product, Section
from mlc_dask.config.template import commented

__all__ = ["Config", "Execution", "Product", "Section", "commented", "load_config"]
