"""Consistent annual land-cover maps from Sentinel-2 time series, on Dask: the notebook API.

Every function takes and returns xarray objects and is lazy where the result is a raster. They run on the current Dask
scheduler: threads of this process, or the cluster of a ``distributed.Client``.
"""

from mlc_dask.classifiers import LSTM, Classifier, Model, RandomForest, load_model, save_model
from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND, Crosswalk, Legend
from mlc_dask.io.cubes import open_cube, write_cube
from mlc_dask.io.maps import write_maps
from mlc_dask.io.models import open_models, write_models
from mlc_dask.io.old_map import open_product, open_reference
from mlc_dask.io.published import open_maps
from mlc_dask.io.samples import open_samples, write_samples
from mlc_dask.io.sources import SOURCES, Eopf, GeoTiff, Mask, Safe, Stac, Theia
from mlc_dask.kernels.pairing.rules import PairingRules
from mlc_dask.pipeline.perform import run
from mlc_dask.pipeline.plan import plan
from mlc_dask.show.export import export_maps
from mlc_dask.show.notebook import open_run
from mlc_dask.stages.annual_training import select_reliable_samples
from mlc_dask.stages.classification import classify, fit, fit_multi_and_single_year, fit_per_year
from mlc_dask.stages.evaluation import agreement, change_count, evaluate, transition_matrices
from mlc_dask.stages.filtering import smooth
from mlc_dask.stages.multiyear_training import sample_unchanged, unchanged_areas
from mlc_dask.stages.settings import Clustering, Gaps
from mlc_dask.stages.time_series import choose_acquisitions, stack

__all__ = [
    "DEFAULT_LEGEND",
    "LSTM",
    "SOURCES",
    "Classifier",
    "Clustering",
    "Crosswalk",
    "Eopf",
    "Gaps",
    "GeoTiff",
    "InputError",
    "Legend",
    "Mask",
    "Model",
    "PairingRules",
    "RandomForest",
    "Safe",
    "Stac",
    "Theia",
    "agreement",
    "change_count",
    "choose_acquisitions",
    "classify",
    "evaluate",
    "export_maps",
    "fit",
    "fit_multi_and_single_year",
    "fit_per_year",
    "load_model",
    "open_cube",
    "open_maps",
    "open_models",
    "open_product",
    "open_reference",
    "open_run",
    "open_samples",
    "plan",
    "run",
    "sample_unchanged",
    "save_model",
    "select_reliable_samples",
    "smooth",
    "stack",
    "transition_matrices",
    "unchanged_areas",
    "write_cube",
    "write_maps",
    "write_models",
    "write_samples",
]
