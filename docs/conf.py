"""Settings of the documentation site, which ``make docs`` builds."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "mlc_dask"
author = "the mlc_dask contributors"
copyright = "the mlc_dask contributors"  # noqa: A001  (Sphinx's word)
version = release = installed("mlc-dask")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "generate"]
exclude_patterns = ["sites", "real-sites"]

html_theme = "furo"
html_title = f"mlc_dask {release}"
html_copy_source = False

myst_heading_anchors = 3

# An undefined name in a docstring is a warning, and `make docs` treats warnings as errors.
nitpicky = True
nitpick_ignore_regex = [
    # Objects of other packages: the site is built without a network, so their indices are not available.
    (
        "py:.*",
        r"(np|npt|numpy|xr|xarray|pd|pandas|distributed|datetime|annotated_types|pydantic|rasterio|affine|collections|pathlib|rich)\..*",
    ),
    ("py:class", "Field|GapMethod|SplitRule|Anchor"),  # in annotations that stay strings
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
