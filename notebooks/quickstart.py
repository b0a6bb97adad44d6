# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a folder of Sentinel-2 images to consistent annual maps
#
# This notebook maps a small synthetic world with a planted truth, step by step. `mlc-dask run` makes the same calls.
# Every call takes and returns xarray objects, and is lazy until something is plotted or written.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from dask.distributed import Client

import mlc_dask as mlc
from mlc_dask.show.report import figures
from mlc_dask.show.report.calendar import calendar_figure
from mlc_dask.worlds import World, write_world

# %matplotlib inline
SIZE = int(os.environ.get("MLC_NOTEBOOK_SIZE", "192"))
folder = Path(tempfile.mkdtemp(prefix="mlc-quickstart-"))

# %% [markdown]
# The cluster has two local processes here; the address of a scheduler works as well. The link opens its dashboard.

# %%
client = Client(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0")
client.dashboard_link

# %% [markdown]
# ## The inputs: acquisitions and an old map
#
# `World` stands for the files of a user: one folder per acquisition with GeoTIFF bands and the scene
# classification (SCL), and a CORINE-like map at 100 m.

# %%
write_world(folder, World(size=SIZE, seed=3))
source = mlc.GeoTiff(folder=folder / "acquisitions")
acquisitions = source.acquisitions()
len(acquisitions), acquisitions[0]

# %% [markdown]
# ## The time series (paper, section 2.1)
#
# Every year has twenty acquisitions, chosen so that position *j* means the same season in every year.

# %%
selection = mlc.choose_acquisitions(source, rules=mlc.PairingRules(size=20))
calendar_figure(selection)

# %%
mlc.write_cube(mlc.stack(source, selection, grid=source.catalogue().grid, chunk=512), folder / "cube")
cube = mlc.open_cube(folder / "cube", patch=128)
cube

# %% [markdown]
# Above, the cube as xarray shows it. Below, its card: every bar is an acquisition, filled by its usable share.

# %%
cube.mlc

# %%
figures.true_colour(cube)

# %% [markdown]
# The year of one pixel: reflectance in the near infrared, and the dates on which the pixel is usable.

# %%
pixel = cube.sel(year=2018).isel(y=SIZE // 2, x=SIZE // 3)
nir = pixel.reflectance.sel(band="B08").values * 1e-4 - 0.1
usable = pixel.usable.values
fig, axis = plt.subplots(figsize=(8, 2.5))
axis.plot(pixel.time.values, nir, color="0.8")
axis.plot(pixel.time.values[usable], nir[usable], "o")
axis.plot(pixel.time.values[~usable], nir[~usable], "x", color="tab:red")
axis.set_ylabel("B08 reflectance")
plt.show()

# %% [markdown]
# ## The old map

# %%
product = mlc.open_product(folder / "product" / "corine.tif", crosswalk="corine", like=cube)
figures.one_map(product, mlc.DEFAULT_LEGEND, "old map")

# %% [markdown]
# ## Annual training sets (section 2.2)
#
# The labels of the old map are cleaned: they are eroded by one cell of the map, then only the dominant spectral
# cluster of each class is kept.

# %%
annual = mlc.select_reliable_samples(
    cube, product, size=3000, min_per_class=50, clustering=mlc.Clustering(pixels=2000, max_clusters=4), seed=0
)
annual.attrs["notes"], annual.attrs["clusters"][:3]

# %% [markdown]
# ## Preliminary maps and unchanged areas (section 2.3)

# %%
forests = mlc.fit_per_year(annual, classifier=mlc.RandomForest(trees=50))
preliminary = mlc.classify(cube, forests).compute()
unchanged = mlc.unchanged_areas(preliminary, product)
figures.map_series({"preliminary": preliminary.label}, mlc.DEFAULT_LEGEND)

# %%
samples = mlc.sample_unchanged(
    cube, product, unchanged, train=2400, validation=1200, min_per_class=50, block=16, seed=0
)
samples

# %% [markdown]
# ## One model for all years, and one model per year (sections 2.4 and 4)

# %%
lstm = mlc.LSTM(layers=2, hidden=32, dropout=0.2, epochs=10, batch=128)
models = mlc.fit_multi_and_single_year(samples, classifier=lstm, seed=0)
figures.training_curves({name: model.history for name, model in models.items()})

# %%
multi_year = mlc.smooth(mlc.classify(cube, models["multi-year"]).compute(), size=11, rule="majority").compute()
single_year = mlc.smooth(mlc.classify(cube, models).compute(), size=11, rule="majority").compute()
figures.map_series({"multi-year": multi_year.label, "single-year": single_year.label}, mlc.DEFAULT_LEGEND)

# %% [markdown]
# ## How good the maps are
#
# The table shows the agreement of successive years and, since this world has a truth, accuracy and the recall of true
# changes. Do not read agreement alone: a map that never changes agrees perfectly.

# %%
truth = {
    y: mlc.open_reference(folder / "truth" / f"{y}.tif", like=cube, legend=mlc.DEFAULT_LEGEND) for y in selection.years
}
reference = preliminary.label.copy(data=np.stack([t.values for t in truth.values()]))
found = mlc.evaluate(
    {("multi_year", True): multi_year, ("single_year", True): single_year}, truth=reference, legend=mlc.DEFAULT_LEGEND
)
wanted = found.summary.metric.isin(["agreement", "accuracy", "change_recall", "change_precision"])
found.summary[wanted].pivot_table(index=["metric", "scope"], columns="model", values="value", sort=False).round(3)

# %%
figures.change_counts(
    {"multi-year": mlc.change_count(multi_year), "single-year": mlc.change_count(single_year)}, len(selection.years)
)

# %% [markdown]
# ## Save the maps
#
# An unfinished store cannot be opened; `open_maps` reads a finished one.

# %%
mlc.write_maps(multi_year, folder / "maps")
maps = mlc.open_maps(folder / "maps")
maps.mlc

# %% [markdown]
# `maps.mlc.plot()` shows an interactive map: pan, zoom, and the name of the class under the pointer.

# %%
client.close()
