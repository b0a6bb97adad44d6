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
# # Your own legend and product
#
# Classes are data, and so is the crosswalk from the codes of an old map to them: two CSV files, no code. Here a
# forester wants six classes from a map with CORINE's codes. The map could be any GeoTIFF of integer codes.

# %%
import tempfile
from pathlib import Path

import numpy as np

import mlc_dask as mlc
from mlc_dask.worlds import World, write_world

folder = Path(tempfile.mkdtemp(prefix="mlc-own-legend-"))
write_world(folder, World(size=128, seed=1, acquisitions_per_year=12))

# %% [markdown]
# ## The legend
#
# The legend gives every class a code from 1 to 254, a name and a colour. 0 always means no data.

# %%
(folder / "legend.csv").write_text("""code,name,colour
10,Built-up,#c0392b
20,Open land,#f0d58c
31,Broadleaved forest,#58b368
32,Coniferous forest,#1d5c38
40,"Bare, rock and snow",#b8b8c0
50,Water,#3b7dd8
""")
legend = mlc.Legend.from_csv(folder / "legend.csv")
legend.names

# %% [markdown]
# ## The crosswalk
#
# The crosswalk has one row per code of the product: its class, the share of its pixels that may become samples
# (`quota`; lower for codes that are mixed at 10 m), and the reason for codes that are left out. This first attempt
# lacks some codes:

# %%
first_rows = """code,label,class,quota,reason
1,Continuous urban fabric,Built-up,1,
2,Discontinuous urban fabric,Built-up,0.25,gardens and roads in between
3,Industrial or commercial units,Built-up,1,
12,Arable land,Open land,1,
18,Pastures,Open land,1,
23,Broad-leaved forest,Broadleaved forest,1,
24,Coniferous forest,Coniferous forest,1,
"""
(folder / "crosswalk.csv").write_text(first_rows)

source = mlc.GeoTiff(folder=folder / "acquisitions")
selection = mlc.choose_acquisitions(source, rules=mlc.PairingRules(size=8))
mlc.write_cube(mlc.stack(source, selection, grid=source.catalogue().grid, chunk=128), folder / "cube")
cube = mlc.open_cube(folder / "cube", patch=128)

try:
    mlc.open_product(folder / "product" / "corine.tif", like=cube, crosswalk=folder / "crosswalk.csv", legend=legend)
except mlc.InputError as error:
    print(error.args[0].replace(str(folder), "…"))

# %% [markdown]
# Nothing is guessed: a missing code is an error that names the code and its pixel count. These are the remaining rows:

# %%
(folder / "crosswalk.csv").write_text(
    first_rows
    + """4,Roads and railways,Built-up,0.25,narrow
7,Mineral extraction,"Bare, rock and snow",1,
15,Vineyards,Open land,1,
16,Fruit trees,Open land,0.5,trees
20,Complex cultivation,,,mixed by definition
25,Mixed forest,,,mixed by definition
26,Natural grassland,Open land,1,
27,Moors and heath,Open land,0.5,shrubs
28,Sclerophyllous vegetation,Open land,0.5,shrubs
30,Sand,"Bare, rock and snow",1,
31,Bare rock,"Bare, rock and snow",1,
34,Glaciers and perpetual snow,"Bare, rock and snow",1,
40,Water courses,Water,1,
41,Water bodies,Water,1,
"""
)
product = mlc.open_product(
    folder / "product" / "corine.tif", like=cube, crosswalk=folder / "crosswalk.csv", legend=legend
)
product.mlc

# %% [markdown]
# ## The maps
#
# The product carries the legend, and so do all results made with it: samples, models and maps.

# %%
annual = mlc.select_reliable_samples(
    cube, product, size=1500, min_per_class=50, clustering=mlc.Clustering(pixels=800, max_clusters=3), seed=0
)
forests = mlc.fit_per_year(annual, classifier=mlc.RandomForest(trees=40))
unchanged = mlc.unchanged_areas(mlc.classify(cube, forests).compute(), product)
samples = mlc.sample_unchanged(cube, product, unchanged, train=1500, validation=500, min_per_class=50, block=16, seed=0)
model = mlc.fit(samples, classifier=mlc.RandomForest(trees=80), seed=0)
mlc.write_maps(mlc.smooth(mlc.classify(cube, model), size=5, rule="majority"), folder / "maps")
maps = mlc.open_maps(folder / "maps")
maps.mlc

# %%
maps.mlc.plot()

# %% [markdown]
# ## A reference in other codes
#
# The truth of this world has the paper's eleven classes. A reference must use the codes of the legend, so the truth is
# recoded first, by the names of the classes.

# %%
to_own = {
    "Artificial": "Built-up", "Grass": "Open land", "Crops": "Open land", "Shrubland": "Open land",
    "Mineral": "Bare, rock and snow", "Rocks": "Bare, rock and snow", "Sand": "Bare, rock and snow",
    "Snow": "Bare, rock and snow", "Broadleaves": "Broadleaved forest", "Conifers": "Coniferous forest",
    "Water": "Water",
}  # fmt: skip
table = np.zeros(256, np.uint8)
for theirs, ours in to_own.items():
    table[mlc.DEFAULT_LEGEND.code(theirs)] = legend.code(ours)
truth = maps.label.copy(
    data=np.stack(
        [
            table[mlc.open_reference(folder / "truth" / f"{y}.tif", like=cube, legend=mlc.DEFAULT_LEGEND).values]
            for y in selection.years
        ]
    )
)
found = mlc.evaluate({("own", True): maps}, truth=truth, legend=legend)
found.summary[found.summary.metric.isin(["agreement", "accuracy"])][["metric", "scope", "value"]].round(3)

# %% [markdown]
# ## In a configuration
#
# ```toml
# [product]
# path = "my-map.tif"
# legend = "legend.csv"
# crosswalk = "crosswalk.csv"
# ```
