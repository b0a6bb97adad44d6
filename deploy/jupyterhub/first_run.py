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
# The demonstration, small: a synthetic valley with planted truth, mapped by two workers that the hub's dask-gateway
# starts. One line of the configuration says so, `cluster = "gateway"`; everything else is as on a laptop.

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
# The run prints two links while it works: Dask's dashboard, and the map of patches. Both open in the browser through
# the hub. Interrupt it at any time: the same cell goes on where it stopped. (Jupyter's `FORCE_COLOR` would draw bars,
# for which a notebook has no cursor; in a terminal of the hub they are as they should be.)

# %% magic_args="-s \"$config\"" language="bash"
# env --unset=FORCE_COLOR mlc-dask run "$1"

# %% [markdown]
# The workers are gone when the run is; the maps are there.

# %%
maps = mlc.open_maps(folder)
maps.mlc

# %% [markdown]
# ## A cluster to work with
#
# The same workers for what you compute yourself. In the Dask panel at the left, the magnifying glass finds this
# cluster's plots, *Mlc Patches* among them; drag one to the side of the notebook. `Gateway().cluster_options()` says
# what may be chosen.

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
