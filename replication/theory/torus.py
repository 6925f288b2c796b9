"""Simulate random covering with partial overlap: sets of volume 1, uniform on a d-dimensional torus of volume N.

Each point is missed by one set with probability 1 - 1/N, so n sets are expected to cover N (1 - (1-1/N)^n), the paper's
E_n, whatever the shape and the dimension (Robbins 1944).  Shape and dimension show in the variance, also given here.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.spatial import KDTree
from tqdm import tqdm

from replication.theory.arguments import MOST, check_draws, check_from_one, check_replicates, check_whole

FloatArray = NDArray[np.float64]
GEOMETRIES = ("cubes", "balls")
PROBES = (128, 1024)  # fewest and most by default
LARGEST_PLANE = 2.0**52  # its side is 2**26, so that an edge is right to 2**-27
BLOCK = 4096  # sets whose points are looked up at once
SQUARES_LIMIT = 1024  # squares whose union is still measured exactly: 4 n^2 cells


def check_geometry(geometry: str, d: int, volume: float) -> tuple[int, float, float]:
    """Return (d, N, side of the torus), or raise ValueError; balls must fit: radius at most half the side.

    >>> check_geometry("cubes", 2, 100)
    (2, 100.0, 10.0)
    """
    if geometry not in GEOMETRIES:
        raise ValueError(f"geometry must be one of {', '.join(GEOMETRIES)}, got {geometry!r}")
    d, volume = check_whole("d", d, 1, 6), check_from_one("volume", volume)
    side = volume ** (1 / d)
    if geometry == "balls" and ball_radius(d) > side / 2 * (1 + 1e-12):
        raise ValueError(
            f"volume must be at least {(2 * ball_radius(d)) ** d:.4g} for balls of volume 1 in d = {d} to fit the "
            f"torus (radius {ball_radius(d):.4g} above half its side {side:.4g}), got {volume!r}"
        )
    return d, volume, side


def ball_radius(d: int) -> float:
    """Return the radius of the d-dimensional ball of volume 1.

    >>> ball_radius(1)
    0.5
    """
    return float((special.gamma(d / 2 + 1) ** (1 / d)) / np.sqrt(np.pi))


def default_probes(geometry: str, d: int, draws: ArrayLike) -> int | None:
    """Return None if the exact volume is cheap (d = 1, or few squares), else a number of probes, more for fewer draws.

    >>> default_probes("cubes", 3, 1000)
    524
    """
    last = int(check_draws(draws).max())
    exact = d == 1 or (geometry == "cubes" and d == 2 and last <= SQUARES_LIMIT)
    return None if exact else int(np.clip(2**19 // max(last, 1), *PROBES))


def covered_volume(
    geometry: str, d: int, volume: float, draws: ArrayLike, replicates: int, seed: int = 0
) -> NDArray[np.float64]:
    """Simulate the volume covered by the first n sets of a sequence, for each n in `draws`.

    It is exact if `default_probes` is None, else measured by that many uniform points, drawn anew in each replicate: N
    times the share of them that is covered is unbiased, and the spread over replicates holds the probes' own error.

    Args:
        geometry: "cubes" (side 1, along the axes) or "balls" (radius such that the volume is 1).

    Returns:
        (replicates, k) float64; column j belongs to draws[j], a row is one growing covering.

    Raises:
        ValueError: an argument out of range, named; a ball that does not fit the torus.

    >>> covered_volume("cubes", 1, 10, [0, 1], replicates=2).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    d, volume, side = check_geometry(geometry, d, volume)
    draws, seed = check_draws(draws), check_whole("seed", seed, 0)
    replicates = check_replicates(replicates, len(draws))
    if draws.max() > MOST // d:
        raise ValueError(f"draws must be at most {MOST // d:g}, as each set is simulated: got {draws.max():g}")
    probes = default_probes(geometry, d, draws)
    if probes is None and d == 2 and volume > LARGEST_PLANE:
        raise ValueError(
            f"volume must be at most {LARGEST_PLANE:.2g} for squares, whose edges are rounded beyond, got {volume:g}"
        )
    result = np.empty((replicates, len(draws)))
    for r in tqdm(range(replicates), desc=f"{geometry} d={d} N={volume:g}", leave=False, delay=2):
        generator = np.random.default_rng([seed, r])
        centres = generator.random((draws.max(), d)) * side
        if probes is not None:
            first = first_cover(generator.random((probes, d)) * side, centres, geometry, side)
            result[r] = (first[:, None] < draws).mean(0) * volume
        else:
            measure = union_of_intervals if d == 1 else union_of_squares
            result[r] = [measure(centres[:n], side) for n in draws]
    return result


def union_of_intervals(centres: FloatArray, side: float) -> float:
    """Return the length that unit intervals around (n, 1) centres cover: each gap to the next centre counts up to 1.

    >>> union_of_intervals(np.array([[0.5], [1.0]]), side=4.0)
    1.5
    """
    if len(centres) == 0:
        return 0.0
    x = np.sort(centres[:, 0])
    return float(np.minimum(np.diff(x, append=x[0] + side), 1).sum())


def union_of_squares(centres: FloatArray, side: float) -> float:
    """Return the area that unit squares cover: the torus is cut at every edge, and each cell is counted once.

    The centres are (n, 2) in [0, side).

    >>> union_of_squares(np.array([[1.0, 1.0], [1.5, 1.5]]), side=4.0)
    1.75
    """
    if side <= 1:
        return float(side**2) if len(centres) else 0.0
    low = (centres - 0.5) % side
    high = (low + 1) % side
    widths, spans = [], []
    for axis in range(2):
        cuts = np.unique(np.concatenate([[0.0], low[:, axis], high[:, axis]]))
        start, stop = np.searchsorted(cuts, low[:, axis]), np.searchsorted(cuts, high[:, axis])
        wraps = high[:, axis] <= low[:, axis]
        zero = np.zeros_like(stop)
        spans.append([(start, np.where(wraps, len(cuts), stop)), (zero, np.where(wraps, stop, 0))])
        widths.append(np.diff(cuts, append=side))
    corners = np.zeros((len(widths[0]) + 1, len(widths[1]) + 1), dtype=np.int32)
    for x0, x1 in spans[0]:
        for y0, y1 in spans[1]:
            for sign, x, y in ((1, x0, y0), (-1, x1, y0), (-1, x0, y1), (1, x1, y1)):
                np.add.at(corners, (x, y), sign)
    squares_over_cell = corners.cumsum(0).cumsum(1)[:-1, :-1]
    return float(widths[0] @ (squares_over_cell > 0) @ widths[1])


def first_cover(probes: FloatArray, centres: FloatArray, geometry: str, side: float | None) -> NDArray[np.int64]:
    """Return the index of the first set that covers each probe; len(centres) if none does.

    probes (m, d), centres (n, d); side: of the torus, or None for flat space.  A covered probe is not tested again.

    >>> first_cover(np.array([[0.1], [2.0]]), np.array([[1.0], [3.9]]), "cubes", side=4.0).tolist()
    [1, 2]
    """
    radius, norm = (0.5, np.inf) if geometry == "cubes" else (ball_radius(probes.shape[1]), 2)
    first = np.full(len(probes), len(centres))
    for start in range(0, len(centres), BLOCK):
        left = np.flatnonzero(first == len(centres))
        if not len(left):
            break
        block = centres[start : start + BLOCK] % (side or np.inf)  # a centre rounded up to `side` is at 0
        found = KDTree(block, boxsize=side).query_ball_point(probes[left], radius, p=norm)
        first[left] = [start + min(sets) if sets else len(centres) for sets in found]
    return first


def exact_sd(geometry: str, d: int, volume: float, draws: ArrayLike, probes: int | None = None) -> FloatArray:
    """Return the standard deviation of the covered volume, or of its measure by `probes` points; NaN for too wide sets.

    Two points at a distance h are both missed by one set with probability 1 - (2 - o(h)) / N, o(h) the volume that two
    sets so far apart share.  So Var = N int [(1 - (2 - o)/N)^n - (1-1/N)^(2n)] dh over the torus.  For cubes o is a
    product of d uniform numbers, exp(-Gamma(d)); for balls it depends on |h| alone; both leave an integral over [0, 1].
    It holds while a set cannot meet another from two sides: cubes of side 1 <= side/2, balls of radius <= side/4.

    >>> exact_sd("cubes", 1, 100, [1, 2, 200]).round(3).tolist()
    [0.0, 0.081, 2.083]
    """
    d, volume, side = check_geometry(geometry, d, volume)
    draws = check_draws(draws)
    reach = 1.0 if geometry == "cubes" else 2 * ball_radius(d)  # sets further apart than this share nothing
    if 2 * reach > side * (1 + 1e-12):
        return np.full(len(draws), np.nan)
    shared, weight = _overlaps(geometry, d)  # (q,) quadrature nodes: o, and the volume of the h that have it
    n = draws[:, None].astype(float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_missed = n * np.log1p(-1 / volume)  # N > 1, as reach fits twice
        log_ratio = np.log1p((shared - 1 / volume) / volume / (1 - 1 / volume) ** 2)  # of P(both missed) to P(missed)^2
        near = (np.expm1(n * log_ratio) * weight).sum(1)
        far = (volume - 2**d) * np.expm1(draws * np.log1p(-1 / np.float64(volume - 1) ** 2))
    variance = np.where(draws > 0, volume * np.exp(2 * log_missed[:, 0]) * (near + far), 0.0)
    variance = np.where(draws == 1, 0.0, np.maximum(variance, 0))
    if probes is not None:
        probes = check_whole("probes", probes, 1, MOST)
        mean = -volume * np.expm1(log_missed[:, 0])
        variance = variance * (1 - 1 / probes) + mean * (volume - mean) / probes
    return np.sqrt(variance)


def _overlaps(geometry: str, d: int) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes over the separations h at which two sets meet: shared volume o(h), and weight."""
    x, w = special.roots_legendre(400)
    x, w = (x + 1) / 2, w / 2
    if geometry == "cubes":  # 2^d times the density of a product of d uniforms, in the quantile of Gamma(d)
        return np.exp(-special.gammaincinv(d, x)), 2.0**d * w
    # x is |h| / (2 r); a shell has volume d h^(d-1) V_d dh, in all (2 r)^d V_d = 2^d
    return special.betainc((d + 1) / 2, 0.5, 1 - x**2), 2.0**d * d * x ** (d - 1) * w
