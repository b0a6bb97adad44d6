"""The configuration file: every fault told in one line with its place, and the written file true to the models."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mlc_dask import (
    LSTM,
    Clustering,
    Gaps,
    PairingRules,
    RandomForest,
    sample_unchanged,
    select_reliable_samples,
    smooth,
)
from mlc_dask.config import Config, Section, commented, load_config, validated
from mlc_dask.data.errors import InputError
from mlc_dask.io.sources.geotiff import GeoTiff
from mlc_dask.pipeline.inputs import clustering_for, source_of
from mlc_dask.storage.durable import on_a_disk

LEAST = """
output = "maps"
[source]
kind = "geotiff"
folder = "acquisitions"
[product]
path = "old.tif"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mlc.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_least_file_gives_every_default(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, LEAST))
    for name, field in Config.model_fields.items():
        if name not in ("output", "source", "product"):
            assert getattr(config, name) == field.default, name
    assert (config.acquisitions.per_year, config.acquisitions.max_days_apart, config.acquisitions.max_cloud) == (
        20, 6, 0.4,
    )  # fmt: skip
    assert (config.lstm.layers, config.lstm.hidden, config.lstm.epochs, config.filter.size) == (4, 128, 100, 11)
    assert (config.annual_training.size, config.multiyear_training.train) == (24_000, 24_000)
    assert config.execution.patch == 2560


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        ("[lstm]\nepoch = 3", ("lstm.epoch", "did you mean 'epochs'?")),
        ("[filtre]\nsize = 3", ("'filtre'", "did you mean 'filter'?")),
        ("[gaps]\nzzz = 3", ("gaps.zzz", "choose one of method, min_valid")),
        ("[lstm]\nepochs = 'many'", ("lstm.epochs = 'many'", "integer")),
        ("[lstm]\nepochs = 0", ("lstm.epochs = 0", "greater than or equal to 1")),
        ("[lstm]\ndropout = 1.0", ("lstm.dropout = 1.0", "less than 1")),
        ("[filter]\nsize = 10", ("filter.size = 10", "odd", "11")),
        ("[filter]\nrule = 'mean'", ("filter.rule = 'mean'", "'majority'", "'median'", "'none'")),
        ("[acquisitions]\nmax_cloud = 40", ("acquisitions.max_cloud = 40", "less than or equal to 1")),
        ("[acquisitions]\nyears = ['now']", ("acquisitions.years.0 = 'now'", "integer")),
        ("[gaps]\nmethod = 'spline'", ("gaps.method = 'spline'", "'interpolate'", "'keep'")),
        ("[annual_training]\nmin_share = 0", ("annual_training.min_share = 0", "greater than 0")),
        ("[execution]\nworkers = 1.5", ("execution.workers = 1.5", "integer")),
    ],
)
def test_faults_name_key_value_and_fix(tmp_path: Path, extra: str, parts: tuple[str, ...]) -> None:
    path = write(tmp_path, f"{LEAST}\n{extra}\n")
    with pytest.raises(InputError) as error:
        load_config(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("key", ["output", "folder", "path"])
def test_missing_keys(tmp_path: Path, key: str) -> None:
    text = re.sub(rf"^{key} = .*$", "", LEAST, flags=re.MULTILINE)
    path = write(tmp_path, text)
    name = {"output": "'output'", "path": "'product.path'", "folder": "'folder'"}[key]
    with pytest.raises(InputError, match=rf"{name} is missing; add it"):
        config = load_config(path)
        validated(GeoTiff, {k: v for k, v in config.source.items() if k != "kind"}, "source")


def test_source_keys_know_their_nearest_match() -> None:
    with pytest.raises(InputError, match=r"source: unknown key 'bnads'; did you mean 'bands'\?"):
        validated(GeoTiff, {"folder": "a", "bnads": ["B02"]}, "source")
    with pytest.raises(InputError, match=r"source: unknown key 'mask.clouds'; did you mean 'cloud'\?"):
        validated(GeoTiff, {"folder": "a", "mask": {"clouds": [1]}}, "source")


def test_relative_paths_are_anchored_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    extra = 'crosswalk = "own.csv"\nlegend = "legend.csv"\n[evaluation]\ntruth = "truth/{year}.tif"\n'
    write(folder, LEAST.replace('kind = "geotiff"', 'kind = "geotiff"\nindex = "dates.csv"\nfile = "x.tif"') + extra)
    monkeypatch.chdir(tmp_path)
    config = load_config("there/mlc.toml")
    assert config.output == folder / "maps"
    assert config.product.path == folder / "old.tif"
    assert config.product.legend == folder / "legend.csv"
    assert config.product.crosswalk == str(folder / "own.csv")
    assert config.evaluation.truth == str(folder / "truth/{year}.tif")
    assert config.source["folder"] == str(folder / "acquisitions")
    assert config.source["index"] == str(folder / "dates.csv")
    assert config.source["file"] == "x.tif", "a file's name inside its acquisition is no path of ours"


def test_absolute_paths_and_names_stay(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, LEAST.replace("old.tif", "/data/old.tif") + 'crosswalk = "worldcover"\n'))
    assert config.product.path == Path("/data/old.tif")
    assert config.product.crosswalk == "worldcover"
    assert config.product.legend is None and config.evaluation.truth is None


def test_config_is_frozen(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, LEAST))
    with pytest.raises(ValueError, match="frozen"):
        config.lstm.epochs = 3  # type: ignore[misc]


def uncommented(text: str) -> dict[str, Any]:
    """Written file with every key that has a default taken from behind its #; keys without a value stay away."""
    lines = []
    for line in text.splitlines():
        key = re.match(r"# (\w+ = .*)$", line)
        if key and "…" not in key.group(1) and not key.group(1).startswith("seed"):
            lines.append(key.group(1))
        elif not line.startswith("#"):
            lines.append(line)
    return tomllib.loads("\n".join(lines))


def test_written_file_is_a_valid_configuration(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, commented()))
    assert config.product.path.parent == tmp_path
    assert config.lstm == Config.model_fields["lstm"].default


def test_written_defaults_are_the_models() -> None:
    shown = uncommented(commented())
    for name, field in Config.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, Section)):
            continue
        for key, own in field.annotation.model_fields.items():
            if own.is_required() or own.default is None:
                assert own.is_required() == (key in shown[name]), (name, key)
            else:
                assert shown[name].pop(key) == own.default, (name, key)
    for key, value in shown["source"].items():
        if key not in ("kind", "folder"):
            default = GeoTiff.model_fields[key].default
            assert GeoTiff.model_validate({"folder": "a", key: value}).model_dump()[key] == (
                default.model_dump() if key == "mask" else default
            ), key


def test_written_file_names_every_key() -> None:
    text = commented()
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            table = text.split(f"[{name}]\n")[1].split("\n[")[0]
            for key, own in field.annotation.model_fields.items():
                assert re.search(rf"^(# )?{key} = .*  # {re.escape(str(own.description))}$", table, re.MULTILINE), key


@pytest.mark.parametrize("text", ["output = maps", "[source\n", "\x80", "a = 1\na = 2"])
def test_not_toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mlc.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=rf"{path} is not valid TOML: .*; mend that line"):
        load_config(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.toml does not exist; make one with: mlc-dask init"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        load_config(tmp_path)


def test_the_papers_experiment_is_a_valid_configuration() -> None:
    """The one in the README; it is run where there is a network."""
    root = Path(__file__).parents[1]
    path = root / "docs" / "sites" / "t32tps.toml"
    source = source_of(load_config(path))
    assert source.provenance()["catalogue_url"].startswith("https://earth-search") and source.tile == "32TPS"
    shown = (root / "README.md").read_text(encoding="utf-8").split('```toml\noutput = "t32tps"')[1].split("```")[0]
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    for name, table in tomllib.loads(shown).items():
        assert table.items() <= written[name].items(), name


def test_defaults_of_the_file_are_those_of_the_functions() -> None:
    """A notebook that leaves a setting out gets what a configuration file gets that leaves it out."""
    config = Config(output=Path("out"), source={"kind": "geotiff"})
    annual, multi, own = config.annual_training, config.multiyear_training, config.acquisitions
    rules = PairingRules()
    assert (rules.size, rules.max_days_apart) == (own.per_year, own.max_days_apart)
    assert (rules.max_cloud, rules.min_valid_area) == (own.max_cloud, own.min_valid_area)
    assert Gaps() == Gaps(**config.gaps.model_dump())
    assert RandomForest() == RandomForest(**config.forest.model_dump())
    assert LSTM() == LSTM(**config.lstm.model_dump())
    assert clustering_for(config) == Clustering()
    for function, section, names in (
        (select_reliable_samples, annual, ("size", "min_per_class")),
        (sample_unchanged, multi, ("train", "validation", "min_per_class", "split", "block")),
        (smooth, config.filter, ("size", "rule")),
    ):
        parameters = inspect.signature(function).parameters
        assert {n: parameters[n].default for n in names} == {n: getattr(section, n) for n in names}, function


@pytest.mark.parametrize("output", ["s3://bucket/maps", "gs://bucket/maps", "https://example.org/maps"])
def test_an_output_that_is_a_url_is_refused(output: str, tmp_path: Path) -> None:
    """Path would make a folder called ``s3:`` of it."""
    file = tmp_path / "mlc.toml"
    file.write_text(f'output = "{output}"\n[source]\nkind = "geotiff"\nfolder = "in"\n')
    with pytest.raises(InputError, match=f"{output} is a URL; results are written to a folder"):
        load_config(file)
    with pytest.raises(InputError, match=f"{output} is a URL"):
        on_a_disk(Path(output))
    assert on_a_disk(tmp_path) == tmp_path
