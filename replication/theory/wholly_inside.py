"""Simulate partial overlap on a space with an edge: sets wholly inside S, as the paper's samples are (Section 3.1).

S is a cube of volume N and each sample a unit cube placed uniformly inside it.  The middle of S is then met more often
than its edge, and the more so the higher the dimension: the expected covered volume falls short of E_n.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import integrate, stats

from replication.theory.arguments import check_from_one, check_replicates, check_whole
from replication.theory.effective_number import beta_from_volume, effective_number
from replication.theory.torus import first_cover


def expected_volume(d: int, volume: float, n: int) -> float:
    """Return the expected volume that n unit cubes cover, each uniform inside a d-dimensional cube of volume N.

    A place x is met by one cube with probability p(x) = product over the axes of u(x_i) / max(m, 1), where m = side - 1
    is the room that a cube has along an axis.  For uniform x, u is uniform on (0, 1) with probability
    2 min(m, 1) / side, and 1 otherwise.  So -log p is a constant plus a Gamma(K, 1) with binomial K, and
    E = N E[1 - (1 - p)^n] is a sum of d + 1 integrals in one variable.

    Args:
        d: dimension, 1 or more.
        volume: N >= 1.
        n: number of cubes.

    >>> round(expected_volume(1, 100, 100), 2)
    63.24
    """
    side = check_from_one("volume", volume) ** (1 / check_whole("d", d, 1))
    room = side - 1
    scale, near_edge = max(room, 1.0) ** -d, 2 * min(room, 1.0) / side

    def covered(k: int) -> float:
        """1 - (1 - p)^n, averaged over the places that lie near an edge along k of the axes."""
        if k == 0:
            return float(-np.expm1(n * np.log1p(-scale))) if scale < 1 else 1.0

        def term(g: float) -> float:
            return float(-np.expm1(n * np.log1p(-scale * np.exp(-g))) * stats.gamma.pdf(g, k))

        near, far = (integrate.quad(term, *ends, limit=200)[0] for ends in ((0, k), (k, np.inf)))
        return float(near + far)

    chances = stats.binom.pmf(np.arange(d + 1), d, near_edge)
    return volume * float(chances @ [covered(k) for k in range(d + 1)])


def simulated_volume(d: int, volume: float, n: int, replicates: int, seed: int = 0, probes: int = 256) -> np.ndarray:
    """Simulate the volume covered by n such cubes, N times their share of random probe points: (replicates,) float64.

    >>> simulated_volume(2, 100, 1, replicates=2, probes=10_000).shape
    (2,)
    """
    side = check_from_one("volume", volume) ** (1 / check_whole("d", d, 1))
    shares = np.empty(check_replicates(replicates))
    for r in range(replicates):
        generator = np.random.default_rng([seed, d, r])
        corners = generator.random((n, d)) * (side - 1)
        points = generator.random((probes, d)) * side
        shares[r] = (first_cover(points, corners + 0.5, "cubes", side=None) < n).mean()
    return shares * volume


def wholly_inside(
    dimensions: Iterable[int] = range(1, 31), volume: float = 100, n: int = 100, replicates: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Compare the simulated and the exact expected volume with E_n, one row per dimension.

    Columns: d, N, n, replicates, mean, standard_error (simulated), exact_mean, E_n, share (exact_mean / E_n),
    z = (mean - exact_mean) / standard_error.

    >>> wholly_inside([2], replicates=20)["share"].round(3).tolist()
    [0.949]
    """
    effective, rows = float(effective_number(n, beta_from_volume(volume))), []
    for d in dimensions:
        volumes, exact = simulated_volume(d, volume, n, replicates, seed), expected_volume(d, volume, n)
        mean, error = volumes.mean(), volumes.std(ddof=1) / np.sqrt(replicates)
        head = dict(d=d, N=volume, n=n, replicates=replicates, mean=mean, standard_error=error, exact_mean=exact)
        rows.append(head | dict(E_n=effective, share=exact / effective, z=(mean - exact) / error))
    return pd.DataFrame(rows)
