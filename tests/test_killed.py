"""A run killed at any step goes on where it stopped: the same bytes, and no finished step twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import pytest
import xarray as xr

import mlc_dask as mlc
from mlc_dask.config import load_config
from mlc_dask.pipeline.plan import dry_run
from tests.runs import artifacts, run_all, small_world, write_config

pytestmark = pytest.mark.slow

SOME_STEPS = {"cube", "annual-training", "models", "multi-year", "evaluation"}
"""Steps that are killed by default; with MLC_KILL_EVERY_STEP=1 it is every one, which takes some minutes."""


def started(output: Path) -> set[str]:
    return {p.name.rpartition("-")[0] for p in (output / "artifacts").glob("*-*")} if output.exists() else set()


def records(output: Path) -> dict[str, str]:
    """When each finished step was finished."""
    return {p.parent.name: json.loads(p.read_bytes())["finished"] for p in (output / "artifacts").glob("*/record.json")}


def test_killed_runs_end_with_the_same_maps_and_repeat_nothing(tmp_path: Path) -> None:
    """SIGKILL to the whole process group at a random moment after a step began, one step after the other."""
    world, output = small_world(tmp_path / "world"), tmp_path / "out"
    undisturbed = write_config(tmp_path / "undisturbed.toml", world, tmp_path / "undisturbed")
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(undisturbed)
    config = write_config(tmp_path / "mlc.toml", world, output)
    steps = [e.step for e in dry_run(load_config(config))]
    if not os.environ.get("MLC_KILL_EVERY_STEP"):
        steps = [s for s in steps if s in SOME_STEPS]
    command = [sys.executable, "-m", "mlc_dask", "run", str(config)]
    done: dict[str, str] = {}
    moments = random.Random(3)
    for step in steps:
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 240
        while step not in started(output) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert step in started(output), f"{step} did not begin: the kill tests nothing"
        time.sleep(moments.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        now = records(output)
        assert done.items() <= now.items(), "a finished step was done again"
        done = now
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert done.items() <= records(output).items()
    xr.testing.assert_identical(mlc.open_maps(tmp_path / "undisturbed").load(), mlc.open_maps(output).load())
    ours, theirs = (artifacts(o, "evaluation")[0] / "agreement.csv" for o in (output, tmp_path / "undisturbed"))
    assert ours.read_bytes() == theirs.read_bytes()
