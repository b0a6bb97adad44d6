"""Making a cube that is killed, and starting it again: the same bytes, and nothing is fetched twice once recorded."""

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

from mlc_dask.config import load_config
from mlc_dask.io.patchstore.reading import content_digest
from mlc_dask.pipeline.figure1 import annual_cube
from mlc_dask.pipeline.formats import kinds
from mlc_dask.pipeline.inputs import Given
from mlc_dask.runs.run import Run
from mlc_dask.worlds import World
from mlc_dask.worlds.writing import write_products
from tests.faulty_server import serve
from tests.runs import artifacts

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MLC_KILLS", "3"))
"""Times that the ingest is killed; MLC_KILLS=20 is the full trial."""
PER_YEAR = KILLS // 2 + 2

CONFIG = """
output = "{output}"
[source]
kind = "stac"
catalogue = "{catalogue}"
[acquisitions]
per_year = {per_year}
max_cloud = 1.0
min_valid_area = 0.0
max_days_apart = 30
[gaps]
min_valid = 1
[execution]
dashboard = "127.0.0.1:0"
workers = 1
"""


def digest(output: Path) -> str:
    (cube,) = artifacts(output, "cube")
    return content_digest(json.loads((cube / "MANIFEST.json").read_bytes())["files"])


def recorded(output: Path) -> dict[str, str]:
    """When each patch of the cube was written, by its record's name."""
    found = {}
    for cube in artifacts(output, "cube"):
        for record in (cube / "patches").glob("*.json"):
            found[record.name] = json.loads(record.read_bytes())["written"]
    return found


def test_a_killed_ingest_goes_on(tmp_path: Path) -> None:
    world = World(size=96, years=(2018, 2019), seed=3, acquisitions_per_year=2 * PER_YEAR)
    folder = tmp_path / "served"
    with serve(folder) as server:
        place = server.url("acquisitions")
        write_products(folder, world, format="stac", flavour="planetary-computer", base_url=place)
        catalogue = folder / "acquisitions" / "items.json"
        configs = {}
        for name in ("undisturbed", "killed"):
            configs[name] = tmp_path / f"{name}.toml"
            configs[name].write_text(
                CONFIG.format(output=tmp_path / name, catalogue=catalogue, per_year=PER_YEAR), encoding="utf-8"
            )
        with dask.config.set(scheduler="threads", num_workers=2):
            settings = load_config(configs["undisturbed"])
            with Run(settings.output, kinds(settings.execution.patch)) as run:
                annual_cube(run, Given(settings))
        command = [sys.executable, "-m", "mlc_dask", "cube", str(configs["killed"])]
        moments, before = random.Random(7), {}
        for _ in range(KILLS):
            process = subprocess.Popen(
                command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            begun, deadline = len(before), time.monotonic() + 120
            # A random moment after a new acquisition was recorded: half-made ones are the point.
            while len(recorded(tmp_path / "killed")) <= begun and process.poll() is None:
                assert time.monotonic() < deadline, "no acquisition was recorded in two minutes"
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.2))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            now = recorded(tmp_path / "killed")
            assert before.items() <= now.items(), "a recorded acquisition was written again"
            before = now
        already = {name for name in before if name.endswith("_0_0.json")}
        server.heal()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert digest(tmp_path / "killed") == digest(tmp_path / "undisturbed")
        assert before.items() <= recorded(tmp_path / "killed").items()
        left = 2 * PER_YEAR - len(already)
        fetched = {one.path for one in server.requests("*B12*")}
        assert len(fetched) == left, f"{len(fetched)} acquisitions were fetched for {left} that were missing"
