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
# # Evidence: reading the tables honestly
#
# Consistent maps are easy: a map that never changes agrees with itself perfectly. This notebook makes such maps on
# purpose, among others, to show which figures expose them. The world is synthetic, so its truth is known. All models
# are forests, which train in seconds.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import mlc_dask as mlc
from mlc_dask.show.report import figures
from mlc_dask.show.report.headline import headline
from mlc_dask.worlds import World, write_world

# %matplotlib inline
folder = Path(tempfile.mkdtemp(prefix="mlc-evidence-"))
write_world(folder, World(size=160, seed=1, acquisitions_per_year=14))

# %%
source = mlc.GeoTiff(folder=folder / "acquisitions")
selection = mlc.choose_acquisitions(source, rules=mlc.PairingRules(size=8))
mlc.write_cube(mlc.stack(source, selection, grid=source.catalogue().grid, chunk=160), folder / "cube")
cube = mlc.open_cube(folder / "cube", patch=160)
product = mlc.open_product(folder / "product" / "corine.tif", crosswalk="corine", like=cube)
cube.mlc

# %% [markdown]
# These calls are those of the quick start: samples from the old map, forests of single years, and samples of all years
# from unchanged areas.

# %%
annual = mlc.select_reliable_samples(
    cube, product, size=2500, min_per_class=40, clustering=mlc.Clustering(pixels=800, max_clusters=3), seed=0
)
preliminary = mlc.classify(cube, mlc.fit_per_year(annual, classifier=mlc.RandomForest(trees=40))).compute()
unchanged = mlc.unchanged_areas(preliminary, product)
samples = mlc.sample_unchanged(cube, product, unchanged, train=2400, validation=600, min_per_class=40, block=16, seed=0)

# %% [markdown]
# ## Six series of maps
#
# The multi-year model has an unfair advantage over the single-year models: it sees the samples of all years. A
# **control** therefore has a third of these samples. Another control uses the model of the first year for all years.
# The **frozen** series repeats its first map, and the **noisy** series gives a tenth of the pixels a random class.

# %%
forest = mlc.RandomForest(trees=60)
models = mlc.fit_multi_and_single_year(samples, classifier=forest, seed=0)
third = mlc.fit(samples.isel(sample=slice(None, None, 3)), classifier=forest, seed=0)
series = {
    "multi-year": mlc.classify(cube, models["multi-year"]).compute(),
    "multi-year, a third of the samples": mlc.classify(cube, third).compute(),
    "single-year": mlc.classify(cube, models).compute(),
    "one year's model for all": mlc.classify(cube, models["2018"]).compute(),
}
multi_year = series["multi-year"]
frozen, noisy = multi_year.copy(deep=True), multi_year.copy(deep=True)
frozen["label"][:] = multi_year.label.isel(year=0).values
random = np.random.default_rng(0)
wrong = random.random(noisy.label.shape) < 0.1
noisy["label"].values[wrong] = random.choice(np.unique(multi_year.label), wrong.sum())
series |= {"frozen": frozen, "noisy": noisy}

# %% [markdown]
# ## Agreement
#
# Agreement is the share of pixels that keep their class from one year to the next, the paper's measure. `agreement`
# holds it for every class and pair of years. Rare classes have few pixels (`n`), and their agreement is uncertain.

# %%
table = mlc.agreement(multi_year)
table[table.pair == "2018-2019"].round(3)

# %% [markdown]
# The six series are now compared with the planted truth, side by side.

# %%
truth = multi_year.label.copy(
    data=np.stack(
        [
            mlc.open_reference(folder / "truth" / f"{y}.tif", like=cube, legend=mlc.DEFAULT_LEGEND).values
            for y in selection.years
        ]
    )
)
found = mlc.evaluate({(name, False): maps for name, maps in series.items()}, truth=truth, legend=mlc.DEFAULT_LEGEND)


def side_by_side(summary: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Mean of every metric over the pairs of years, one row a series."""
    rows = summary[summary.metric.isin(metrics) & ~summary.scope.str.contains("px|ha", regex=True)]
    return rows.pivot_table(index="model", columns="metric", values="value", sort=False)[metrics].round(3)


side_by_side(found.summary, ["agreement", "flicker_share", "accuracy", "change_recall", "change_precision"])

# %% [markdown]
# Read it row by row:
#
# - **frozen** has perfect agreement and finds no change at all: agreement says nothing without the recall of true
#   changes.
# - **noisy** finds changes by chance, among many false ones: recall says nothing without precision.
# - **multi-year** against its **third of the samples**: the difference to *single-year* that remains at an equal number
#   of samples comes from seeing all years; the rest comes from more samples.
# - Precision is low for all of them. True changes are rare, about one pixel in fifty here, so a map that is wrong in a
#   tenth of its pixels shows more false changes than true ones. Agreement cannot show this.
#
# ## In words
#
# The headline says what kind of maps each series is, from these tables alone, and lists what was not tested. The report
# of a run begins with it.

# %%
told = headline(found)
print("\n".join([*told.kinds, "", "Not tested:", *told.untested]))

# %% [markdown]
# ## The agreement of the truth itself
#
# Agreement has an upper limit, because the ground does change. A series with a higher agreement than the truth has
# smoothed changes away.

# %%
changed = {f"{a}-{b}": float((truth.sel(year=a) != truth.sel(year=b)).mean()) for a, b in ((2018, 2019), (2019, 2020))}
{pair: round(1 - share, 3) for pair, share in changed.items()}

# %% [markdown]
# ## Filtering
#
# A majority filter improves the agreement of every series. The last columns show its cost.

# %%
filtered = {name: mlc.smooth(maps, size=11, rule="majority").compute() for name, maps in list(series.items())[:3]}
found = mlc.evaluate({(name, True): maps for name, maps in filtered.items()}, truth=truth, legend=mlc.DEFAULT_LEGEND)
side_by_side(found.summary, ["agreement", "flicker_share", "accuracy", "change_recall", "change_precision"])

# %% [markdown]
# ## Where the maps change
#
# Thin lines along the borders of parcels are mixed pixels that flip; compact spots are more likely to be true.

# %%
figures.change_counts({name: mlc.change_count(maps) for name, maps in filtered.items()}, len(selection.years))

# %% [markdown]
# ## Limits of this comparison
#
# This was one world and one seed, and differences of a few thousandths change sign with another seed. Repeat the
# comparison over several seeds and report the spread, as `benchmarks/controls.py` does. A real place has no complete
# truth: agreement, flicker and class shares are then the only figures, and a sample of points interpreted by people is
# worth more than all of them.
