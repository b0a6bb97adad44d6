# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first run through the gateway
#
# A small version of the demonstration: a synthetic valley with planted truth, mapped by two workers that the hub's
# dask-gateway starts. One line of the configuration requests this, `cluster = "gateway"`; all else is as on a laptop.

# %%
from pathlib import Path

import mlc_dask as mlc
from mlc_dask.worlds.demo import write_demo

folder = Path("first-run").absolute()
text = write_demo(folder, size=192, seed=0).read_text(encoding="utf-8")
text = text.replace("[execution]\n", '[execution]\ncluster = "gateway"\n')
text = text.replace("patch = 256", "patch = 128").replace("epochs = 15", "epochs = 3")  # more to see, sooner
config = folder / "gateway.toml"
config.write_text(text, encoding="utf-8")
print(text[text.index("[execution]") :])

# %% [markdown]
# During the run, two links are printed: Dask's dashboard, and the map of patches. Both open in the browser through
# the hub. You can interrupt the run at any time: the same cell continues where it stopped. (Jupyter's `FORCE_COLOR`
# would draw progress bars, which need a cursor that a notebook lacks; they work in a terminal of the hub.)

# %% magic_args="-s \"$config\"" language="bash"
# env --unset=FORCE_COLOR mlc-dask run "$1"

# %% [markdown]
# The workers end with the run; the maps remain.

# %%
maps = mlc.open_maps(folder)
maps.mlc

# %% [markdown]
# ## A cluster to work with
#
# The same kind of workers is available for your own computations. In the Dask panel at the left, the magnifying glass
# finds this cluster's plots, including *Mlc Patches*; drag one to the side of the notebook.
# `Gateway().cluster_options()` lists the options.

# %%
from dask_gateway import Gateway

cluster = Gateway().new_cluster()
cluster.scale(2)
client = cluster.get_client()
client.wait_for_workers(2, timeout=300)
cluster.dashboard_link

# %%
wider = mlc.smooth(maps.multi_year, size=21, rule="majority")
mlc.agreement(wider).query("`class` == 'overall'")

# %%
client.close()
cluster.shutdown()
