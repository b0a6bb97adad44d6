from .classifiers import LSTM, Classifier, Model, RandomForest, load_model, save_model
from .data.errors import InputError
from .data.legend import DEFAULT_LEGEND, Crosswalk, Legend
from .data.plausibility import Implausible
from .io.cubes import open_cube, write_cube
from .io.maps import write_maps
from .io.models import open_models, write_models
from .io.old_map import open_product, open_reference
from .io.published import open_maps
from .io.samples import open_samples, write_samples
from .io.sources import SOURCES, Eopf, GeoTiff, Mask, Safe, Stac, Theia
from .kernels.pairing.rules import PairingRules
from .pipeline.notebook import choose_acquisitions, stack
from .pipeline.perform import run
from .pipeline.plan import plan
from .show.export import export_maps
from .show.notebook import open_run
from .stages.annual_training import select_reliable_samples
from .stages.assessment import Assessment, assess
from .stages.classification import classify, fit, fit_multi_and_single_year, fit_per_year
from .stages.evaluation import Evaluation, agreement, change_count, evaluate, transition_matrices
from .stages.filtering import smooth
from .stages.interpreters import compare_interpreters
from .stages.multiyear_training import sample_unchanged, unchanged_areas
from .stages.reference_sample import ReferenceSample, sample_reference
from .stages.settings import Clustering, Gaps

__all__ = [
    "DEFAULT_LEGEND",
    "LSTM",
    "SOURCES",
    "Assessment",
    "Classifier",
    "Clustering",
    "Crosswalk",
    "Eopf",
    "Evaluation",
    "Gaps",
    "GeoTiff",
    "Implausible",
    "InputError",
    "Legend",
    "Mask",
    "Model",
    "PairingRules",
    "RandomForest",
    "ReferenceSample",
    "Safe",
    "Stac",
    "Theia",
    "agreement",
    "assess",
    "change_count",
    "choose_acquisitions",
    "classify",
    "compare_interpreters",
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
    "sample_reference",
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
