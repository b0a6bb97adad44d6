"""Read the configuration file. An error is one line; relative paths are relative to the file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from mlc_dask.config.sections import Config, Product
from mlc_dask.data.errors import InputError, naming
from mlc_dask.data.settings import validated
from mlc_dask.storage.durable import local

_SOURCE_PATHS = ("folder", "index", "catalogue")
"""Keys of a source that are paths, unless they are URLs."""

_OPTION_PATHS = ("spec", "tls_ca_file", "tls_client_cert", "tls_client_key")
"""Options of a cluster that are paths."""


@naming()
def load_config(path: str | Path) -> Config:
    """Read a configuration; relative paths in it are relative to the file.

    Raises
    ------
    InputError
        Naming the key, the value and the fix.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Notepad writes a byte order mark
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; make one with: mlc-dask init {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the configuration file in it") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}; fix that line") from None
    config: Config = validated(Config, data, str(path))
    return _anchored(config, path.parent.resolve())


def _anchored(config: Config, base: Path) -> Config:
    """Return the configuration with its relative paths made absolute."""
    product = config.product and _anchored_product(config.product, base)
    truth, odd = config.evaluation.truth, config.evaluation.implausible
    own = {"truth": str(base / truth) if truth else None, "implausible": base / odd if odd else None}
    evaluation = config.evaluation.model_copy(update=own)
    source = {
        key: str(base / path)
        if key in _SOURCE_PATHS and isinstance(value, str) and "://" not in (path := local(value))
        else value
        for key, value in config.source.items()
    }
    options = {k: str(base / local(v)) if k in _OPTION_PATHS else v for k, v in config.execution.options.items()}
    execution = config.execution.model_copy(update={"options": options})
    anchored = {"product": product, "evaluation": evaluation, "source": source, "execution": execution}
    return config.model_copy(update={"output": base / config.output, **anchored})


def _anchored_product(product: Product, base: Path) -> Product:
    own_table = product.crosswalk.endswith(".csv")
    return product.model_copy(
        update={
            "path": base / product.path,
            "legend": base / product.legend if product.legend else None,
            "crosswalk": str(base / product.crosswalk) if own_table else product.crosswalk,
        }
    )
