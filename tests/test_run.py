"""Runs: a valid result is reused, and only invalid results are computed again."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from rich.console import Console

from mlc_dask.data.errors import InputError
from mlc_dask.data.steps import step
from mlc_dask.runs import records
from mlc_dask.runs.artifacts import Event, Input, Kind, StopRun, read_current
from mlc_dask.runs.records import explain, fingerprint, read_record
from mlc_dask.runs.run import Run
from mlc_dask.show.terminal import show_origin
from mlc_dask.storage.durable import NotPublished, canonical, files_fingerprint


def write_json(value: object, folder: Path) -> None:
    (folder / "value.json").write_text(json.dumps(value))


KINDS = {"json": Kind(lambda folder: json.loads((folder / "value.json").read_text()), write_json)}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Pipeline:
    """Three steps, the last of which needs the others; records calls and events."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.called, self.told = folder, [], []

    @step("numbers", kind="json")
    def numbers(self, *, count: int) -> dict[str, list[int]]:
        self.called.append("numbers")
        return {"all": list(range(count)), "none": []}

    @step("factor", kind="json")
    def factor(self, source: str, *, by: float) -> float:
        self.called.append("factor")
        return len(source) * by

    @step("scaled", kind="json")
    def scaled(self, numbers: list[int], factors: dict[str, float], *, workers: int) -> list[float]:
        self.called.append("scaled")
        assert workers > 0
        return [n * factors["f"] for n in numbers]

    def __call__(self, count: int = 3, by: float = 2.0, workers: int = 1, **run: object) -> list[float] | None:
        self.called, self.told = [], []
        with Run(self.folder, KINDS, listener=self.told.append, **run) as work:
            self.run = work
            numbers = work.do(self.numbers, count=count)
            factor = work.do(self.factor, Input("text", "abc", "four"), by=by)
            self.scaled_ = work.do(self.scaled, numbers["all"], {"f": factor}, how={"workers": workers})
            work.publish({"result": self.scaled_, "numbers": numbers["all"]})
        return None if work.dry else self.scaled_.open()

    def states(self) -> dict[str, str]:
        return {e.step: e.state for e in self.told}


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path / "out")


def test_a_second_run_computes_nothing(pipeline: Pipeline) -> None:
    assert pipeline() == [0, 8, 16]
    assert pipeline.called == ["numbers", "factor", "scaled"]
    assert [(e.step, e.state) for e in pipeline.told[:2]] == [("numbers", "started"), ("numbers", "finished")]
    assert pipeline(workers=7) == [0, 8, 16]  # an execution choice
    assert pipeline.called == [] and set(pipeline.states().values()) == {"reused"}


def test_only_what_depends_on_a_setting_is_computed_again(pipeline: Pipeline) -> None:
    pipeline()
    assert pipeline(by=3.0) == [0, 12, 24]
    assert pipeline.called == ["factor", "scaled"]
    assert pipeline() == [0, 8, 16] and pipeline.called == []  # the old results are still there


@pytest.mark.parametrize("damage", ["changed", "truncated", "lost", "no record", "torn record"])
def test_only_what_no_longer_holds_is_done_again(pipeline: Pipeline, damage: str) -> None:
    pipeline()
    (folder,) = pipeline.folder.glob("artifacts/factor-*")
    value, record = folder / "value.json", folder / "record.json"
    match damage:
        case "changed":
            value.write_text("9.0")
        case "truncated":
            value.write_text("")
        case "lost":
            value.unlink()
        case "no record":
            record.unlink()
        case "torn record":
            record.write_text(record.read_text()[:40])
    assert pipeline() == [0, 8, 16]
    assert pipeline.called == ["factor"]
    started = next(e for e in pipeline.told if e.state == "started")
    assert started.reason and (damage not in ("changed", "lost") or "value.json" in started.reason)


def test_files_listed_by_a_manifest_are_compared_by_size_or_digest(tmp_path: Path) -> None:
    def write(value: object, folder: Path) -> None:
        from mlc_dask.storage.durable import entry

        store = folder / "maps.zarr"
        store.mkdir(exist_ok=True)
        (store / "chunk").write_text(str(value))
        (store / "MANIFEST.json").write_text(json.dumps({"files": {"chunk": entry(store / "chunk")}}))

    kinds = {"store": Kind(lambda folder: (folder / "maps.zarr" / "chunk").read_text(), write)}
    states: list[str] = []

    def go(**run: bool) -> str:
        states.clear()
        with Run(tmp_path, kinds, listener=lambda e: states.append(e.state), **run) as work:
            artifact = work.do(step("maps", kind="store")(lambda: "abc"))
        assert json.loads((artifact.folder / "record.json").read_text())["files"].keys() == {"maps.zarr/MANIFEST.json"}
        chunk.append(artifact.folder / "maps.zarr" / "chunk")
        return artifact.open()

    chunk: list[Path] = []
    assert go() == "abc" and states == ["started", "finished"]
    chunk[0].write_text("ab")
    assert go() == "abc" and states == ["started", "finished"]
    chunk[0].write_text("abd")
    assert go() == "abd" and states == ["reused"]
    assert go(verify=True) == "abc" and states == ["started", "finished"]


def test_the_record_comes_last_and_tells_all(pipeline: Pipeline) -> None:
    pipeline()
    records = {
        p.parent.name.rpartition("-")[0]: json.loads(p.read_text())
        for p in pipeline.folder.glob("artifacts/*/record.json")
    }
    scaled = records["scaled"]
    assert scaled["function"].endswith("Pipeline.scaled") and scaled["settings"] == {} and scaled["version"] == 1
    assert scaled["inputs"] == [
        {"name": "numbers", "fingerprint": records["numbers"]["fingerprint"], "part": ["all"]},
        {"name": "factor", "fingerprint": records["factor"]["fingerprint"]},
    ]
    assert scaled["packages"]["numpy"] == np.__version__ and scaled["host"] and scaled["seconds"] >= 0
    assert scaled["started"] <= scaled["finished"] and list(scaled["files"]) == ["value.json"]
    for folder in pipeline.folder.glob("artifacts/*"):
        assert (folder / "record.json").stat().st_mtime_ns >= (folder / "value.json").stat().st_mtime_ns

    def fail(value: object, folder: Path) -> None:
        write_json(value, folder)
        raise OSError("disk full")

    doomed = step("doomed", kind="json")(lambda: 1)
    events: list[Event] = []
    with (
        pytest.raises(OSError, match="disk full") as caught,
        Run(pipeline.folder, {"json": Kind(KINDS["json"].open, fail)}, listener=events.append) as work,
    ):
        work.do(doomed)
    assert "in step doomed" in caught.value.__notes__[0] and [e.state for e in events] == ["started", "failed"]
    (folder,) = pipeline.folder.glob("artifacts/doomed-*")
    assert (folder / "value.json").exists() and not (folder / "record.json").exists()
    with Run(pipeline.folder, KINDS, dry=True) as dry, pytest.raises(NotPublished, match="doomed is not computed"):
        dry.do(doomed).open()
    assert dry.steps[0].reason == "unfinished"


def test_scratch_outlives_a_crash_and_goes_when_done(tmp_path: Path) -> None:
    @step("fit", kind="json")
    def fit(data: list[int], *, epochs: int, device: str, scratch: Path) -> int:
        checkpoint = scratch / "epoch"
        begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
        begun.append(begin)
        for epoch in range(begin, epochs):
            checkpoint.write_text(str(epoch))
            if device == "broken" and epoch == 3:
                raise RuntimeError("out of memory")
        return epochs

    begun: list[int] = []
    for device, epochs in (("broken", 5), ("broken", 6), ("cpu", 5)):
        try:
            with Run(tmp_path, KINDS) as work:
                found = work.do(fit, [1, 2], how={"device": device}, epochs=epochs)
        except RuntimeError:
            assert device == "broken"
    assert begun == [0, 0, 3]  # another setting does not find the checkpoint, the same one does
    assert sorted(p.name for p in found.folder.iterdir()) == ["record.json", "value.json"]
    assert len(list(tmp_path.glob("artifacts/fit-*/scratch/epoch"))) == 1


def test_a_step_is_known_by_its_function(tmp_path: Path) -> None:
    @step("twice", kind="json", version=3)
    def twice(value: int, *, times: int = 2) -> int:
        return value * times

    assert twice(2) == 4 and twice(2, times=3) == 6  # in a notebook
    with Run(tmp_path, KINDS) as work:
        first = work.do(twice, 2)
        again = work.do(twice, 2, name="again", times=3)
        with pytest.raises(AssertionError, match="two steps are called 'again'"):
            work.do(twice, 4, name="again")
        with pytest.raises(AttributeError, match="step_name"):
            work.do(len, [1])
    records = [json.loads((a.folder / "record.json").read_text()) for a in (first, again)]
    assert [(r["name"], r["kind"], r["version"]) for r in records] == [("twice", "json", 3), ("again", "json", 3)]
    assert (first.open(), again.open()) == (4, 6) and again.fingerprint == fingerprint("again", 3, {"times": 3}, [2])


def test_a_dry_run_only_plans(pipeline: Pipeline) -> None:
    pipeline(dry=True)
    assert pipeline.states() == dict.fromkeys(("numbers", "factor", "scaled"), "planned")
    assert pipeline.called == [] and not pipeline.folder.exists()
    pipeline()
    pipeline(dry=True, by=3.0)
    assert pipeline.states() == {"numbers": "reused", "factor": "planned", "scaled": "planned"}
    assert [(e.step, e.state) for e in pipeline.run.steps] == list(pipeline.states().items())
    with pytest.raises(NotPublished, match=r"scaled is not computed yet .*; run the pipeline"):
        pipeline.scaled_.open()


@pytest.mark.parametrize("dry", [False, True])
def test_until_a_step(pipeline: Pipeline, dry: bool) -> None:
    with pytest.raises(StopRun) as stopped:
        pipeline(until="factor", dry=dry)
    assert stopped.value.artifact.name == "factor" and pipeline.called == ([] if dry else ["numbers", "factor"])


def test_published_layers_are_read_back(pipeline: Pipeline) -> None:
    pipeline.folder.mkdir()
    with pytest.raises(NotPublished, match="run the pipeline to its end"):
        read_current(pipeline.folder, KINDS)
    pipeline()
    moved = pipeline.folder.rename(pipeline.folder.with_name("moved"))
    layers = read_current(moved, KINDS)
    assert {n: a.open() for n, a in layers.items()} == {"result": [0, 8, 16], "numbers": [0, 1, 2]}
    assert layers["result"].fingerprint == pipeline.scaled_.fingerprint
    assert read_current(moved)["result"].folder == layers["result"].folder


def test_where_a_result_came_from(pipeline: Pipeline) -> None:
    pipeline()
    pipeline(by=3.0)
    pipeline()
    for what in ("result", "scaled", pipeline.scaled_.folder.name[:12], pipeline.scaled_.folder):
        origin = explain(pipeline.folder, what)
        assert (origin.name, origin.fingerprint) == ("scaled", pipeline.scaled_.fingerprint)
    numbers, factor = origin.inputs
    assert numbers.record["settings"] == {"count": 3} and numbers.inputs == ()
    assert factor.record["settings"] == {"by": 2}
    (text,) = factor.inputs
    assert (text.name, text.fingerprint, text.record) == ("text", "abc", None)
    with pytest.raises(InputError, match=r"2 results of .* match 'fact'; choose one of: factor-"):
        explain(pipeline.folder, "fact")
    with pytest.raises(InputError, match="0 results"):
        explain(pipeline.folder, "nothing")


def test_a_graph_of_steps_is_read_and_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps, each of which takes the one before twice: a thousand ways lead to the first."""

    @step("sum", kind="json")
    def sum_of(one: int, other: int) -> int:
        return one + other

    with Run(tmp_path, KINDS) as work:
        made = Input("text", "abc", 1)
        for index in range(10):
            made = work.do(sum_of, made, made, name=f"sum{index}")
    read: list[Path] = []
    monkeypatch.setattr(records, "read_record", lambda folder: read.append(folder) or read_record(folder))
    origin = explain(tmp_path, "sum9")
    assert origin.inputs[0] is origin.inputs[1]
    of_first = [folder for folder in read if folder.name.startswith("sum0-") and folder.parents[1] == tmp_path]
    assert len(of_first) <= 2, "once in search of the result, once for the graph"
    log = io.StringIO()
    show_origin(Console(file=log, width=200), origin)
    shown = log.getvalue()
    assert shown.count("sum0 ") == 2 and shown.count("see above") == 9 and shown.count("(given)") == 2


def test_one_run_at_a_time(pipeline: Pipeline) -> None:
    with Run(pipeline.folder, KINDS), pytest.raises(InputError, match=f"pid {os.getpid()} on "):
        pipeline()
    pipeline()


class Rule(Enum):
    MAJORITY = "majority"


class Filter(BaseModel):
    size: int = 11
    rule: Rule = Rule.MAJORITY
    where: Path = Path("a/b")


@dataclass(frozen=True)
class Forest:
    trees: int = 200
    jobs: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Network:
    trees: int = 200


SETTINGS = {
    "filter": Filter(),
    "classifier": Forest(),
    "share": 0.1,
    "years": (2018, 2019),
    "per_class": {1: 2.0, "a": np.float64(0.5)},
    "names": {"b", "a"},
    "count": np.int64(3),
}


def test_equal_settings_have_one_fingerprint() -> None:
    same = {
        "count": 3.0,
        "names": ["a", "b"],
        "per_class": {"a": 0.5, "1": 2},
        "years": [2018, 2019],
        "share": 0.1,
        "classifier": Forest(jobs=8),
        "filter": {"rule": "majority", "where": "a/b", "size": 11},
    }
    assert fingerprint("step", 1, SETTINGS, []) == fingerprint("step", 1, same, [])
    # Golden: a release that changes this fingerprint invalidates all existing results.
    assert canonical(SETTINGS) == (
        b'{"classifier":{"class":"Forest","trees":200},"count":3,"filter":{"rule":"majority","size":11,"where":"a/b"},'
        b'"names":["a","b"],"per_class":{"1":2,"a":0.5},"share":0.1,"years":[2018,2019]}'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"classifier": Network()},
        {"classifier": Forest(100)},
        {"filter": Filter(size=5)},
        {"share": 0.1000001},
        {"x": None},
    ],
    ids=str,
)
def test_other_settings_have_another_fingerprint(change: dict[str, object]) -> None:
    assert fingerprint("step", 1, SETTINGS | change, []) != fingerprint("step", 1, SETTINGS, [])
    assert (
        len({fingerprint(s, v, {}, i) for s, v, i in (("a", 1, []), ("b", 1, []), ("a", 2, []), ("a", 1, ["x"]))}) == 4
    )


@pytest.mark.parametrize("value", [float("nan"), np.arange(3), object(), Forest], ids=lambda v: type(v).__name__)
def test_what_cannot_identify_a_result_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no canonical JSON form"):
        fingerprint("step", 1, {"value": value}, [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=6), st.randoms())
def test_order_of_keys_does_not_matter_and_values_survive(value: dict[str, object], random: object) -> None:
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert canonical(value) == canonical(dict(shuffled))
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize("change", ["touched", "grown", "renamed", "moved together"])
def test_input_files_are_known_by_name_size_and_time(tmp_path: Path, change: str) -> None:
    root = tmp_path / "in"
    (root / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (root / name).write_text("content")
    before = files_fingerprint([root], root)
    assert before == files_fingerprint([root / "deep", root / "a", root / "a"], root)
    path = root / "a"
    actions: dict[str, Callable[[], object]] = {
        "touched": lambda: os.utime(path, ns=(1, 1)),
        "grown": lambda: (path.write_text("contents"), os.utime(path, ns=(path.stat().st_mtime_ns,) * 2)),
        "renamed": lambda: path.rename(root / "c"),
        "moved together": lambda: root.rename(tmp_path / "out"),
    }
    actions[change]()
    root = tmp_path / "out" if change == "moved together" else root
    assert (files_fingerprint([root], root) == before) == (change == "moved together")
    with pytest.raises(InputError, match="does not exist"):
        files_fingerprint([root / "missing"], root)
