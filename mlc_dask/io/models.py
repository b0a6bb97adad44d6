"""Sets of trained models on disk: one folder per model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlc_dask.classifiers import Model, load_model, save_model
from mlc_dask.data.errors import InputError


def write_models(models: Mapping[str, Model], path: str | Path) -> None:
    """Write every model into a folder with its name; refuses a path that already holds models with other names.

    Raises
    ------
    InputError
        If the path holds models with other names.
    """
    others = {p.parent.name for p in Path(path).glob("*/model.safetensors")} - models.keys()
    if others:
        raise InputError(f"{path} already holds other models ({', '.join(sorted(others))}); choose another folder")
    for name, model in models.items():
        save_model(model, Path(path) / name)


def open_models(path: str | Path) -> dict[str, Model]:
    """Read all models below `path`, by name.

    Raises
    ------
    InputError
        If there is no model below the path.
    """
    folders = sorted(p.parent for p in Path(path).glob("*/model.safetensors"))
    if not folders:
        raise InputError(f"{path} holds no models; check the path, or train the models first")
    return {folder.name: load_model(folder) for folder in folders}
