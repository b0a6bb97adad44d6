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
# # From a STAC catalogue to maps
#
# A configuration of ten lines and one call map a whole place, and the run shows its results. The catalogue is a folder
# on this disk, made for this notebook, in the form of the large catalogues on the Internet. For these, one line
# changes; the end of this notebook names it.

# %%
import tempfile
from pathlib import Path

import mlc_dask as mlc
from mlc_dask.show.report.calendar import calendar_figure
from mlc_dask.worlds import World, write_products

# %matplotlib inline
folder = Path(tempfile.mkdtemp(prefix="mlc-stac-"))
write_products(folder, World(size=96, seed=3, acquisitions_per_year=12), format="stac", flavour="earth-search-c1")
catalogue = folder / "acquisitions" / "catalog.json"

# %% [markdown]
# ## The contents of the catalogue
#
# Listing acquisitions reads only metadata. Choosing them reads the scene classification over the area. Every year gets
# the same number of acquisitions, and position *j* means the same season in every year.

# %%
source = mlc.Stac(catalogue=str(catalogue))
found = source.catalogue()
found.grid.label, len(found.acquisitions), found.acquisitions[0].id

# %%
selection = mlc.choose_acquisitions(source, rules=mlc.PairingRules(size=8))
calendar_figure(selection)

# %% [markdown]
# ## The run
#
# The network and the samples are small here, so the run takes seconds. `mlc-dask init mlc.toml` writes a file with
# every key, its meaning and the paper's value.

# %%
config = folder / "place.toml"
config.write_text("""
output = "place"

[source]
kind = "stac"
catalogue = "acquisitions/catalog.json"

[product]
path = "product/corine.tif"
crosswalk = "corine"

[acquisitions]
per_year = 8

[annual_training]
size = 1000
min_per_class = 30
cluster_pixels = 600
max_clusters = 3

[forest]
trees = 40

[multiyear_training]
train = 1200
validation = 500
min_per_class = 30
block = 16

[classifier]
kind = "lstm"
layers = 1
hidden = 32
dropout = 0.0
epochs = 12
batch = 32

[evaluation]
truth = "truth/{year}.tif"

[execution]
workers = 1
dashboard = "127.0.0.1:0"
""")
# %% [markdown]
# In a terminal, the command is `mlc-dask run place.toml`. After an interruption, the same call or command continues
# where it stopped.

# %%
mlc.run(config)
sorted(p.name for p in (folder / "place").iterdir())

# %% [markdown]
# ## Results
#
# A run shows the key figures of its maps. Unfold its steps to see how long each step took, and on which engine.

# %%
run = mlc.open_run(folder / "place")
run

# %% [markdown]
# The cube of the run: every bar is an acquisition, filled by the share of its usable pixels.

# %%
run.cube.mlc

# %% [markdown]
# The final maps, and the number of class changes per pixel. Only the pixels of the small pictures were read.

# %%
run.maps.mlc

# %% [markdown]
# The interactive map: pan, zoom, the name of the class under the pointer, and a slider for the years. Even for a whole
# tile, the browser receives only the pixels of the screen.

# %%
run.maps.mlc.plot()

# %%
run.maps.mlc.plot("confidence")

# %% [markdown]
# ## Export for other software
#
# The export has cloud-optimised GeoTIFFs with the colours of the legend, a multiscale Zarr group, and a STAC catalogue
# of both.

# %%
mlc.export_maps(folder / "place", folder / "export", layers=["multi_year_filtered"])
sorted(p.relative_to(folder).as_posix() for p in folder.glob("export/**/*.tif"))

# %% [markdown]
# ## Your own place
#
# Two tables of the configuration change. `preset` may also be `earth-search`, `planetary-computer` or `copernicus`;
# instead of a tile, `bbox = [west, south, east, north]` in degrees gives a smaller area.
#
# ```toml
# [source]
# kind = "stac"
# preset = "earth-search-c1"
# tile = "T32TPS"
#
# [product]
# path = "U2018_CLC2018_V2020_20u1.tif"
# crosswalk = "corine"
# ```
#
# Leave out the small numbers, and the truth, which real places do not have. `mlc-dask plan place.toml` shows the
# acquisitions that a run would use, the bytes and the memory, before any image is downloaded.
