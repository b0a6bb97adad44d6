"""Clusters of a class: they must find planted structure and invent none."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from mlc_dask.kernels.clusters import assign_clusters, fit_clusters


def blobs(sizes, features=12, spread=0.3, seed=0):
    """Rows in pixel order with mixed blobs, and the blob of every row."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 4, (len(sizes), features))
    member = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = centres[member] + random.normal(0, spread, (len(member), features))
    return (rows * 0.1).astype(np.float32), member


@pytest.mark.parametrize("sizes", [(600, 200), (500, 300, 150), (400, 300, 200, 100, 90)])
def test_planted_blobs_are_recovered(sizes):
    rows, member = blobs(sizes)
    model = fit_clusters(rows, seed=1)
    assert model.sizes.tolist() == list(sizes)
    assert model.silhouette > 0.5 and model.score > 1000
    assert adjusted_rand_score(member, assign_clusters(rows, model)) == 1
    # Clusters are numbered by size, as the planted blobs are.
    assert np.array_equal(assign_clusters(rows, model), member)
    unscaled = model.centroids * model.scale + model.center
    for cluster in range(len(sizes)):
        np.testing.assert_allclose(unscaled[cluster], rows[member == cluster].mean(axis=0), atol=1e-4)


def test_more_rows_than_are_tried_still_count():
    rows, member = blobs((9000, 4000, 2000))
    order = np.argsort(member, kind="stable")  # as if each lay in a part of the area of its own
    rows, member = rows[order], member[order]
    model = fit_clusters(rows, seed=1)
    assert model.sizes.tolist() == [9000, 4000, 2000]
    assert np.array_equal(assign_clusters(rows, model), member)


def test_a_permutation_that_is_sorted_back_changes_nothing():
    rows, _ = blobs((300, 250, 80), spread=2.0)
    shuffle = np.random.default_rng(2).permutation(len(rows))
    ids, shuffled = shuffle, rows[shuffle]
    one, two = fit_clusters(rows, seed=3), fit_clusters(shuffled[np.argsort(ids)], seed=3)
    for name in ("center", "scale", "centroids", "sizes", "kept", "ambiguous", "score", "silhouette"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_no_structure_stays_whole():
    rows = np.random.default_rng(0).normal(size=(3000, 20)).astype(np.float32)
    model = fit_clusters(rows, seed=0)
    assert len(model.centroids) == 1 and model.sizes.tolist() == [3000] and model.kept == (0,)
    assert not model.ambiguous
    assert 0 < model.silhouette < 0.25
    assert not assign_clusters(rows, model).any()
    assert len(fit_clusters(rows, seed=0, min_silhouette=-1).centroids) > 1


@pytest.mark.parametrize("count", [1, 2, 49])
def test_few_rows_stay_whole(count):
    model = fit_clusters(blobs((40, 30))[0][:count], seed=0)
    assert len(model.centroids) == 1 and model.sizes.tolist() == [count]
    assert (model.score, model.silhouette) == (0, 0)


def test_fewer_distinct_rows_than_clusters():
    same = np.ones((80, 4), np.float32)
    assert fit_clusters(same, seed=0).sizes.tolist() == [80]
    two = np.repeat(np.array([[0, 1], [5, 9]], np.float32), (60, 20), axis=0)
    assert fit_clusters(two, seed=0).sizes.tolist() == [60, 20]


@pytest.mark.parametrize(
    ("sizes", "ambiguous"),
    [((600, 200), False), ((450, 330, 300), True), ((600, 520), True), ((600, 470), False), ((450, 300, 250), True)],
)
def test_ambiguous_classes_are_flagged(sizes, ambiguous):
    # Largest share under a half, or runner-up above 0.8 of the largest.
    assert fit_clusters(blobs(sizes)[0], seed=0).ambiguous is ambiguous


def test_dominance_is_a_setting():
    rows, _ = blobs((600, 520))
    assert not fit_clusters(rows, seed=0, dominance=(0.5, 0.9)).ambiguous
    assert fit_clusters(rows, seed=0, dominance=(0.6, 0.9)).ambiguous


def test_min_share_keeps_several_modes():
    rows, _ = blobs((400, 300, 200, 20))
    assert fit_clusters(rows, seed=0).kept == (0,)
    assert fit_clusters(rows, seed=0, min_share=0.1).kept == (0, 1, 2)
    assert fit_clusters(rows, seed=0, min_share=0.99).kept == (0,)


def test_max_clusters_is_obeyed():
    rows, _ = blobs((300, 250, 200, 150))
    assert len(fit_clusters(rows, seed=0, max_clusters=2).centroids) <= 2
    assert len(fit_clusters(rows, seed=0, max_clusters=1).centroids) == 1


def test_no_data_is_the_median():
    rows, member = blobs((450, 350))
    holes = np.random.default_rng(4).random(rows.shape) < 0.1
    rows[holes] = np.nan
    rows[:, 5] = np.nan  # an acquisition that the class never saw
    model = fit_clusters(rows, seed=0)
    assert np.isfinite(model.centroids).all() and (model.centroids[:, 5] == 0).all()
    np.testing.assert_allclose(model.center[:5], np.nanmedian(rows[:, :5], axis=0), rtol=1e-6)
    low, high = np.nanpercentile(rows[:, :5], (25, 75), axis=0)
    np.testing.assert_allclose(model.scale[:5], high - low, rtol=1e-5)
    assert (assign_clusters(rows, model) == member).mean() > 0.97


def test_assignment_is_scikit_learns_and_knows_no_neighbours():
    random = np.random.default_rng(6)
    rows = random.normal(size=(20_000, 30)).astype(np.float32)
    model = fit_clusters(rows[:2000], seed=0, min_silhouette=-1, max_clusters=5)
    got = assign_clusters(rows, model)
    assert got.dtype == np.uint8
    oracle = KMeans(len(model.centroids), init=model.centroids, n_init=1, max_iter=1).fit(rows[:100])
    oracle.cluster_centers_ = model.centroids
    assert np.array_equal(got, oracle.predict(((rows - model.center) / model.scale).astype(np.float32)))
    edges = [0, 1, 8, 1000, 9191, 20_000]
    parts = [assign_clusters(rows[a:b], model) for a, b in pairwise(edges)]
    assert np.array_equal(got, np.concatenate(parts))
    assert assign_clusters(rows[:0], model).shape == (0,)


def test_ties_go_to_the_larger_cluster():
    rows = np.repeat(np.array([[0.0], [2.0]], np.float32), (60, 40), axis=0)
    model = fit_clusters(rows, seed=0)
    assert model.sizes.tolist() == [60, 40]
    assert assign_clusters(np.array([[1.0], [1.001], [0.999]], np.float32), model).tolist() == [0, 1, 0]


def test_ties_are_settled_without_the_rounding_of_the_matrix_product():
    random = np.random.default_rng(8)
    for _ in range(40):
        # row ± step is exact in float32; the powers of two make the sums of products too long for float64.
        power = np.exp2(random.integers(-12, 1, (1, 30))).astype(np.float32)
        row = random.uniform(600, 900, (1, 30)).astype(np.float32) * power
        step = random.integers(-64, 64, (1, 30)).astype(np.float32) / 16 * power
        model = replace(
            fit_clusters(np.zeros((1, 30), np.float32), seed=0), centroids=np.concatenate([row + step, row - step])
        )
        assert assign_clusters(row, model).tolist() == [0]


def test_clusters_know_no_thread_count():
    from threadpoolctl import threadpool_limits

    rows, _ = blobs((800, 500, 200), spread=4.0)
    with threadpool_limits(limits=2):
        two = fit_clusters(rows, seed=0)
    with threadpool_limits(limits=1):
        one = fit_clusters(rows, seed=0)
    assert np.array_equal(one.centroids, two.centroids) and one.score == two.score
