"""Buildings to label next: first those that represent all, then those that the head is least confident about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from xview2_siamese_unet.adaptation.embedding import Block, Embedding
from xview2_siamese_unet.adaptation.fitting import standardisation
from xview2_siamese_unet.adaptation.head import Head
from xview2_siamese_unet.types import Float32Array, Float64Array, Int64Array

FIRST: Final = 24
"""Number of labels that represent all buildings, before uncertain buildings are suggested."""
_COMPONENTS: Final = 16
_MAP_WEIGHT: Final = 0.5  # of the position on the map, relative to the features, each with variance 1
_POOL: Final = 3  # uncertain candidates for each suggestion
_MOST: Final = 20_000  # buildings that are clustered
_CLIP: Final = 4.0
_SEED: Final = 0


def feature_space(embedding: Embedding, points: Float64Array | None = None) -> Float32Array:
    """Return the coordinates (n, 16 or 18) in which buildings are compared; NaN for a building that is not visible.

    They are the principal components of the standardised features, each block with the weight of its classifier, and
    the position on the map.

    Args:
        embedding: features.
        points: positions in metres; `None` leaves them out.
    """
    centre, scale = standardisation(embedding)
    factors = _factors(embedding.blocks) / scale
    sample = (embedding.sample() - centre) * factors
    pca = PCA(min(_COMPONENTS, *sample.shape), random_state=_SEED).fit(sample)
    coordinates = np.full((len(embedding), pca.n_components_), np.nan, np.float32)
    for numbers, features in embedding.chunks():
        visible = np.isfinite(features[:, 0])
        if visible.any():
            coordinates[numbers[visible]] = pca.transform((features[visible] - centre) * factors)
    coordinates /= np.nanstd(coordinates) or 1
    if points is None:
        return coordinates
    spread = (points - np.nanmean(points, axis=0)) / (np.nanstd(points) or 1)
    return np.hstack([coordinates, (_MAP_WEIGHT * spread).astype(np.float32)])


def _factors(blocks: Sequence[Block]) -> Float32Array:
    """Return the factor of each column by which the variance of a block becomes its weight."""
    parts = [np.full(b.stop - b.start, np.sqrt(b.weight / (b.stop - b.start)), np.float32) for b in blocks]
    return np.concatenate(parts)


def suggest(
    coordinates: Float32Array,
    candidates: Int64Array,
    count: int,
    head: Head | None = None,
    margins: Float64Array | None = None,
) -> Int64Array:
    """Return the numbers of the buildings to label next, the most useful first.

    Args:
        coordinates: of all buildings, from `feature_space`.
        candidates: numbers of the buildings to choose from.
        count: how many; fewer if there are not as many candidates.
        head: fitted on earlier labels, if there are any.
        margins: of its prediction for all buildings: the difference of the two largest probabilities.
    """
    candidates = candidates[np.isfinite(coordinates[candidates, 0])]
    count = min(count, len(candidates))
    if not count:
        return np.empty(0, np.int64)
    if head is None or margins is None:
        return representative(coordinates, candidates, count)
    order = candidates[np.argsort(margins[candidates], kind="stable")]
    return representative(coordinates, order[: max(count, min(len(order), _POOL * count))], count)


def representative(coordinates: Float32Array, candidates: Int64Array, count: int) -> Int64Array:
    """Return the building in the middle of each of `count` clusters, the largest cluster first.

    Buildings with equal coordinates leave clusters empty; those nearest to the centres of the others replace them.
    """
    rng = np.random.default_rng(_SEED)
    if len(candidates) > _MOST:
        candidates = np.sort(rng.choice(candidates, _MOST, replace=False))
    clusters = KMeans(count, n_init=1, max_iter=50, random_state=_SEED).fit(coordinates[candidates])
    away = np.linalg.norm(coordinates[candidates] - clusters.cluster_centers_[clusters.labels_], axis=1)
    order = np.lexsort((away, clusters.labels_))
    _, first = np.unique(clusters.labels_[order], return_index=True)
    middle = order[first]  # of each cluster that is not empty
    sizes = np.bincount(clusters.labels_, minlength=count)[clusters.labels_[middle]]
    rest = np.setdiff1d(np.argsort(away, kind="stable"), middle, assume_unique=True)
    chosen: Int64Array = candidates[np.concatenate([middle[np.argsort(-sizes, kind="stable")], rest])[:count]]
    return chosen


def resemblance(coordinates: Float32Array, labelled: Int64Array) -> Float64Array:
    """Return how many buildings resemble each labelled one most, divided by the mean: weights of suggested labels.

    Suggested labels are not a random sample; each represents the buildings that are nearest to it. No weight is larger
    than four or smaller than a quarter of the mean.
    """
    visible = np.isfinite(coordinates[:, 0])
    rows = np.flatnonzero(np.isfinite(coordinates[labelled, 0]))
    weights: Float64Array = np.ones(len(labelled))
    if len(rows):
        _, nearest = cKDTree(coordinates[labelled[rows]]).query(coordinates[visible])
        counts = np.bincount(nearest, minlength=len(rows)).astype(float)
        weights[rows] = (counts / counts.mean()).clip(1 / _CLIP, _CLIP)
    shares: Float64Array = weights / weights.mean()
    return shares
