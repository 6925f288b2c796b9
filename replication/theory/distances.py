"""Find the pairs of points within a radius of each other, correctly at any offset, scale and dimension."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float64]
PAIRS = 2**22  # numbers that one step holds: 32 MiB


def pairs_within(samples: FloatArray, queries: FloatArray, radius: float) -> sparse.csr_matrix:
    """Return a sparse (n, n) matrix with 1 where query (row) and sample (column) are at most `radius` apart.

    |x|^2 + |y|^2 - 2 xy is quick but rounds, so that even equal points can seem apart.  Pairs that its rounding leaves
    undecided are compared by the sum of their squared differences.

    >>> pairs_within(np.array([[1e9], [1e9 + 1]]), np.array([[1e9 + 1], [5.0]]), radius=0.0).toarray().tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    n = len(queries)
    if not samples.size:
        return sparse.csr_matrix(np.ones((n, len(samples))))
    exponent = int(np.frexp(max(np.abs(samples).max(), np.abs(queries).max()))[1])
    middle = np.ldexp(samples, -exponent).mean(0)  # distances do not change, but the squares of a far-off cloud do
    x, y = np.ldexp(samples, -exponent) - middle, np.ldexp(queries, -exponent) - middle  # at most 2 in size
    squares = np.einsum("nd,nd->n", x, x)
    with np.errstate(over="ignore"):
        reach = np.ldexp(radius, -exponent) ** 2
    rows, columns = [], []
    for start in range(0, n, max(1, PAIRS // len(samples))):
        part = y[start : start + max(1, PAIRS // len(samples))]
        size = np.einsum("nd,nd->n", part, part)[:, None] + squares  # (rows, n)
        doubt = 8 * (x.shape[1] + 10) * np.finfo(float).eps * size + 1e-290
        distance = size - 2 * part @ x.T
        row, column = np.nonzero(distance - doubt <= reach)
        unsure = np.flatnonzero((distance + doubt > reach)[row, column])
        kept = np.ones(len(row), dtype=bool)
        for chunk in np.array_split(unsure, max(1, len(unsure) * x.shape[1] // PAIRS)):
            kept[chunk] = _no_longer_than(radius, queries[start + row[chunk]] - samples[column[chunk]])
        rows.append(start + row[kept])
        columns.append(column[kept])
    place = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_matrix((np.ones(len(place[0])), place), shape=(n, len(samples)))


def _no_longer_than(radius: float, difference: FloatArray) -> NDArray[np.bool_]:
    """Whether each row of (m, D) has a norm of at most `radius`; scaled by powers of two, so nothing overflows."""
    _, exponent = np.frexp(np.abs(difference).max(1, initial=0))
    scaled = np.ldexp(difference, -exponent[:, None])
    with np.errstate(over="ignore"):
        limit = np.ldexp(radius, -exponent) ** 2
    within: NDArray[np.bool_] = np.einsum("md,md->m", scaled, scaled) <= limit
    return within
