"""The configuration file: every fault gives one line with its place, and the written file agrees with the models."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlc_dask import LSTM, Clustering, Mask, PairingRules, RandomForest
from mlc_dask.config import Config, commented, load_config
from mlc_dask.config.sections import Acquisitions
from mlc_dask.config.template import commented_key
from mlc_dask.data.errors import InputError
from mlc_dask.data.settings import fields_of, sections_in, validated
from mlc_dask.io.sources.geotiff import GeoTiff
from mlc_dask.pipeline.inputs import source_of
from mlc_dask.storage.durable import on_a_disk, plain

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
    assert (config.acquisitions.size, config.acquisitions.max_days_apart, config.acquisitions.max_cloud) == (
        20, 6, 0.4,
    )  # fmt: skip
    assert (config.classifier.layers, config.classifier.hidden, config.classifier.epochs, config.filter.size) == (
        4,
        128,
        100,
        11,
    )
    assert (config.annual_training.size, config.multiyear_training.train) == (24_000, 24_000)
    assert config.execution.patch == 2560


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        ("[classifier]\nepoch = 3", ("classifier: unknown key 'epoch'", "did you mean 'epochs'?")),
        ("[filtre]\nsize = 3", ("'filtre'", "did you mean 'filter'?")),
        ("[gaps]\nzzz = 3", ("gaps.zzz", "choose one of method, min_valid")),
        ("[classifier]\nepochs = 'many'", ("classifier: epochs = 'many'", "integer")),
        ("[classifier]\nepochs = 0", ("classifier: epochs = 0", "greater than or equal to 1")),
        ("[classifier]\ndropout = 1.0", ("classifier: dropout = 1.0", "less than 1")),
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
        config.seed = 3
    for section in (config.classifier, config.acquisitions, config.gaps):
        with pytest.raises(AttributeError, match="cannot assign"):
            section.method = 3


def uncommented(text: str) -> dict[str, Any]:
    """Written file with every key that has a default taken from behind its #; keys without a value stay away."""
    lines = []
    for line in text.splitlines():
        key = re.match(r"# (\w+ = .*)$", line)
        if key and "…" not in key.group(1) and not key.group(1).startswith("seed ="):
            lines.append(key.group(1))
        elif not line.startswith("#"):
            lines.append(line)
    return tomllib.loads("\n".join(lines))


def test_written_file_is_a_valid_configuration(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, commented()))
    assert config.product.path.parent == tmp_path
    assert config.classifier == Config.model_fields["classifier"].default


def tables() -> dict[str, type[Any]]:
    """Tables of the file and what they hold."""
    found = {n: s for n, own in fields_of(Config).items() for s in sections_in(own.annotation)}
    return found | {"classifier": LSTM, "source": GeoTiff}


def test_written_defaults_are_the_models() -> None:
    shown = uncommented(commented())
    for name, section in tables().items():
        for key, own in fields_of(section).items():
            default = own.get_default(call_default_factory=True)
            if own.is_required() or default is None:
                assert own.is_required() == (key in shown[name]), (name, key)
            elif key == "mask":
                assert Mask(**shown[name][key]) == default
            else:
                value = shown[name][key]
                assert (tuple(value) if isinstance(value, list) else value) == default, (name, key)


def test_written_file_names_every_key() -> None:
    text = commented()
    for name, section in tables().items():
        table = text.split(f"[{name}]\n")[1].split("\n[")[0]
        for key in fields_of(section):
            assert re.search(rf"^(# )?{key} = .*  # .+$", table, re.MULTILINE), key


@pytest.mark.parametrize(
    ("table", "made"),
    [
        ("", LSTM()),
        ("[classifier]\nepochs = 3", LSTM(epochs=3)),
        ('[classifier]\nkind = "lstm"\nhidden = 8', LSTM(hidden=8)),
        ('[classifier]\nkind = "forest"\ntrees = 7\nmax_features = 0.5', RandomForest(trees=7, max_features=0.5)),
        ("classifier = 'forest'", RandomForest()),
    ],
)
def test_kind_chooses_the_classifier(tmp_path: Path, table: str, made: object) -> None:
    text = f"{LEAST}\n{table}\n" if table.startswith("[") else f"{table}\n{LEAST}"
    assert load_config(write(tmp_path, text)).classifier == made


@pytest.mark.parametrize("given", ["3", "['forest']", "'florest'"])
def test_what_is_no_classifier_is_refused(tmp_path: Path, given: str) -> None:
    path = write(tmp_path, f"classifier = {given}\n{LEAST}")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: classifier") as error:
        load_config(path)
    assert "\n" not in str(error.value) and "forest" in str(error.value)
    with pytest.raises(ValidationError):
        Config(output=Path("maps"), source={"kind": "geotiff"}, classifier=object())


def test_the_old_table_is_understood_and_says_how_to_write_it(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LEAST}\n[lstm]\nepochs = 3\n")
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    for read in (lambda: load_config(path), lambda: Config(**data), lambda: Config.model_validate(data)):
        with pytest.warns(FutureWarning, match=r'write \[classifier\] with kind = "lstm" and the same keys') as warned:
            config = read()
        assert config.classifier == LSTM(epochs=3)
        assert [w.filename for w in warned] == [__file__], "the warning is at the line of the caller"
    with pytest.raises(InputError, match=r"keep \[classifier\] and remove \[lstm\]"):
        load_config(write(tmp_path, f"{LEAST}\n[lstm]\nepochs = 3\n[classifier]\nkind = 'forest'\n"))


def test_every_setting_is_reached_from_the_file(tmp_path: Path) -> None:
    """What the pairing and the clustering take is the table itself, less the keys that others take."""
    weights = {"cloud": 2.0, "missing": 3.0, "spread": 0.5, "orbit": 0.25, "gap": 0.125}
    lines = "\n".join(f"{name}_weight = {value}" for name, value in weights.items())
    text = f"{LEAST}\n[acquisitions]\nper_year = 8\n{lines}\n[annual_training]\nsize = 9\ncluster_pixels = 30\n"
    config = load_config(write(tmp_path, text))
    assert config.acquisitions.rules == PairingRules(8, **{f"{name}_weight": v for name, v in weights.items()})
    assert type(config.acquisitions.rules) is PairingRules, "its class is part of a fingerprint"
    assert config.annual_training.clustering == Clustering(30)
    assert plain(config.annual_training.clustering) == {
        "class": "Clustering", "pixels": 30, "max_clusters": 8, "min_silhouette": 0.25, "min_share": None,
        "anchor": "product-year",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: PairingRules(0), "PairingRules: size = 0"),
        (lambda: PairingRules(size=0), "PairingRules: size = 0"),
        (lambda: Clustering(pixel=3), "Clustering: unknown key 'pixel'; did you mean 'pixels'?"),
        (lambda: LSTM(precision="float16"), "LSTM: precision = 'float16'"),
        (lambda: RandomForest(max_features="all"), "give 'sqrt', 'log2', or a share"),
    ],
)
def test_settings_of_a_notebook_name_their_fault(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        call()


@pytest.mark.parametrize("text", ["output = maps", "[source\n", "a = 1\na = 2"])
def test_not_toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mlc.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=rf"{path} is not valid TOML: .*; fix that line"):
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


def test_the_template_has_the_keys_of_the_default_source() -> None:
    """They stand there as text, for reading a source takes seconds."""
    lines = Path("mlc_dask/config/geotiff.toml").read_text(encoding="utf-8").splitlines()
    documented = " ".join(" ".join((one.__doc__ or "").replace("``", "`").split()) for one in GeoTiff.__mro__)
    fields = fields_of(GeoTiff)
    assert len(lines) == len(fields)
    for line, (key, field) in zip(lines, fields.items(), strict=True):
        about = line.rpartition("  # ")[2]
        assert line == commented_key(key, field, about, example="acquisitions")
        assert about in documented, key


LIMITS = {
    "classifier": {
        "layers": (0,), "hidden": (0,), "dropout": (-0.1, 1.0), "epochs": (0,), "batch": (0,),
        "learning_rate": (0, 0.0, -0.001, float("inf"), float("nan")), "weight_decay": (-1e-6,),
        "bidirectional": ("both",), "class_weights": ("equal",), "precision": ("float16",),
    },
    "forest": {"trees": (0,), "max_depth": (0,), "min_samples_leaf": (0,), "max_features": ("all", 0.0, 1.5, -1)},
    "acquisitions": {
        "per_year": (1,), "max_days_apart": (-1, 61), "max_cloud": (-0.1, 1.1), "min_valid_area": (-0.1, 1.1),
        "max_tile_cloud": (-0.1, 1.1), "years": ([], [2019, 2018], [2018, 2018]), "accept_radiometry": ("some",),
        "leave_out": ("2018-01-01",), "year_start": ("02-29", "13-01", "7-1"),
        **dict.fromkeys(("cloud_weight", "missing_weight", "spread_weight", "orbit_weight", "gap_weight"), (-0.1,)),
    },
    "gaps": {"method": ("spline",), "min_valid": (0,)},
    "annual_training": {
        "size": (1,), "min_per_class": (-1,), "cluster_pixels": (9,), "max_clusters": (0, 65),
        "min_silhouette": (-1.1, 1.1), "min_share": (0.0, 1.1), "anchor": ("year",),
    },
    "multiyear_training": {
        "train": (1,), "validation": (-1,), "min_per_class": (-1,), "split": ("half",), "block": (0,),
    },
    "filter": {"size": (0, -1, 2), "rule": ("mean",)},
}  # fmt: skip
"""Values that cannot work, by table and key."""


@pytest.mark.parametrize(
    ("table", "key", "value"), [(t, k, v) for t, keys in LIMITS.items() for k, values in keys.items() for v in values]
)
def test_a_value_that_cannot_work_is_refused(table: str, key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_config(write(tmp_path, f"{LEAST}\n[{table}]\n{key} = {toml(value)}\n"))
    message = str(error.value)
    assert re.search(rf"{table}(: |\.){key} = {re.escape(repr(value))}: .*(should be|give|use) ", message), message
    assert "\n" not in message


def toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_the_limits_cover_every_setting() -> None:
    for table, limits in LIMITS.items():
        assert set(limits) == set(fields_of(tables()[table])), table


@pytest.mark.parametrize(("key", "value"), [("per_year", 1), ("max_days_apart", 61)])
def test_a_file_is_held_to_narrower_limits_than_pairing(key: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"acquisitions.{key} = {value}"):
        load_config(write(tmp_path, f"{LEAST}\n[acquisitions]\n{key} = {value}\n"))
    assert getattr(PairingRules(**{key: value}), {"per_year": "size"}.get(key, key)) == value


def test_a_file_has_the_defaults_of_pairing() -> None:
    assert Acquisitions().rules == PairingRules()
