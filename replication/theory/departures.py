"""Cases in which E_n = (1 - beta^n) / (1 - beta) does not hold: an edge, samples not uniform, N not whole.

A place x is met by one set with probability p(x), so the expected covered volume is int (1 - (1 - p(x))^n) dx.  The
integrand is concave in p and p averages at most 1/N: by Jensen the formula is only ever too large.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special
from tqdm import tqdm

from replication.theory.arguments import MOST, check_draws, check_from_one, check_replicates, check_whole, log_grid
from replication.theory.effective_number import beta_from_volume, effective_number
from replication.theory.torus import check_geometry, first_cover
from replication.theory.volume_estimate import volume_from_covered

FloatArray = NDArray[np.float64]
LAWS = ("uniform", "bounded", "gaussian", "mixture")
SPREAD = {"gaussian": 0.25, "mixture": 0.1}  # standard deviation of the centres, in sides of the torus
COMPONENTS = 4


def check_law(law: str, d: int, volume: float) -> tuple[int, float, float]:
    """Check a law and return (d, N, side of the torus), or raise ValueError.

    >>> check_law("gaussian", 1, 100)
    (1, 100.0, 100.0)
    """
    if law not in LAWS:
        raise ValueError(f"law must be one of {', '.join(LAWS)}, got {law!r}")
    return check_geometry("cubes", d, volume)


def middles(law: str, d: int) -> FloatArray:
    """Return the means of the normal components, (components, d), as fractions of the torus's side.

    >>> middles("gaussian", 2)
    array([[0.5, 0.5]])
    """
    return np.random.default_rng(7).random((COMPONENTS, d)) if law == "mixture" else np.full((1, d), 0.5)


def draw_centres(law: str, d: int, side: float, n: int, generator: np.random.Generator) -> FloatArray:
    """Draw the centres of n unit cubes, (n, d) in [0, side).

    uniform: on the torus, the paper's case.  bounded: uniform, but the space ends at 0 and at `side`, and the part of
    a cube outside is lost.  gaussian and mixture: normal, wrapped round the torus; a mixture has 4 equal
    components.

    >>> draw_centres("gaussian", 2, 10.0, 5, np.random.default_rng(0)).shape
    (5, 2)
    """
    if law in ("uniform", "bounded"):
        return generator.random((n, d)) * side
    mean = middles(law, d)
    component = generator.integers(len(mean), size=n)
    return (mean[component] + SPREAD[law] * generator.standard_normal((n, d))) % 1 * side


def met_probability(law: str, points: FloatArray, side: float) -> FloatArray:
    """Return p(x), the probability that one set covers the point x: points (m, d) in [0, side) -> (m,).

    >>> met_probability("bounded", np.array([[0.0], [5.0]]), side=10.0).tolist()  # half a cube is lost at the edge
    [0.05, 0.1]
    """
    if law == "uniform":
        return np.full(len(points), 1 / side ** points.shape[1])
    if law == "bounded":
        within = np.minimum(points + 0.5, side) - np.maximum(points - 0.5, 0)
        inside: FloatArray = (np.minimum(within, side) / side).prod(1)
        return inside
    turns = np.arange(-3, 4)[:, None, None, None]
    offset = points[None, None] - middles(law, points.shape[1])[None, :, None] * side + turns * side  # (7, c, m, d)
    spread = SPREAD[law] * side
    axis = (special.ndtr((offset + 0.5) / spread) - special.ndtr((offset - 0.5) / spread)).sum(0)
    mean: FloatArray = axis.prod(-1).mean(0)
    return mean


def exact_mean(law: str, d: int, volume: float, draws: ArrayLike) -> FloatArray:
    """Integrate 1 - (1 - p(x))^n over x by Gauss-Legendre quadrature: (k,) float64.

    There are about 2^17 points, at most 512 on each piece of an axis.  If the space has an edge, p has a kink half a
    cube from it, and the axis is cut there.

    >>> exact_mean("uniform", 1, 100, [1, 2]).round(9).tolist()
    [1.0, 1.99]
    """
    d, volume, side = check_law(law, d, volume)
    draws = check_draws(draws)
    breaks = np.unique([0, *((0.5, side - 0.5) if law == "bounded" else ()), side])
    x, w = special.roots_legendre(min(512, round(2 ** (17 / d) / (len(breaks) - 1))))
    halves = np.diff(breaks)[:, None] / 2
    axis, weight = (breaks[:-1, None] + halves * (x + 1)).ravel(), (halves * w).ravel()
    points, weights = _grid(axis, d), _grid(weight, d).prod(1)
    with np.errstate(divide="ignore"):
        log_missed = np.log1p(-np.minimum(met_probability(law, points, side), 1))
    return np.array([-(np.expm1(n * log_missed) * weights).sum() if n else 0.0 for n in draws])


def _grid(axis: FloatArray, d: int) -> FloatArray:
    """All points with coordinates from `axis`: (len(axis)^d, d)."""
    return np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)


def covered_share(
    law: str, d: int, volume: float, draws: ArrayLike, replicates: int, seed: int = 0, probes: int = 256
) -> FloatArray:
    """Simulate the volume that n unit cubes cover, measured by probe points: (replicates, k) float64.

    >>> covered_share("uniform", 1, 1.0, [0, 1], replicates=2).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    d, volume, side = check_law(law, d, volume)
    draws, seed = check_draws(draws), check_whole("seed", seed, 0)
    replicates = check_replicates(replicates, len(draws))
    if draws.max() > MOST // d:
        raise ValueError(f"draws must be at most {MOST // d:g}, as each set is simulated: got {draws.max():g}")
    result = np.empty((replicates, len(draws)))
    for r in tqdm(range(replicates), desc=f"{law} d={d} N={volume:g}", leave=False, delay=2):
        generator = np.random.default_rng([seed, r])
        centres = draw_centres(law, d, side, draws.max(), generator)
        wrap = None if law == "bounded" else side
        first = first_cover(generator.random((probes, d)) * side, centres, "cubes", wrap)
        result[r] = (first[:, None] < draws).mean(0) * volume
    return result


def fit_volume(means: FloatArray, draws: NDArray[np.int64]) -> float:
    """Find the N whose E_n fits the means best over all n, by least squares of the relative error.

    >>> draws = np.array([10, 100, 500])
    >>> round(fit_volume(effective_number(draws, 0.99), draws), 3)
    100.0
    """

    def distance(log_n: float) -> float:
        return float(np.sum((effective_number(draws, beta_from_volume(np.exp(log_n))) / means - 1) ** 2))

    found = optimize.minimize_scalar(distance, bounds=(0.0, np.log(1e3 * means.max())), method="bounded")
    return float(np.exp(found.x))


def best_misfit(means: FloatArray, errors: FloatArray, draws: NDArray[np.int64]) -> float:
    """Return the largest |z| over n for the N that makes it smallest; as a function of N it has one valley.

    >>> draws = np.array([10, 100])
    >>> round(best_misfit(effective_number(draws, 0.99), np.array([1.0, 1.0]), draws), 3)
    0.0
    """
    keep = errors > 0
    means, errors, draws = means[keep], errors[keep], draws[keep]

    def largest(log_n: float) -> float:
        return float(np.abs((effective_number(draws, beta_from_volume(np.exp(log_n))) - means) / errors).max())

    return float(optimize.minimize_scalar(largest, bounds=(0.0, np.log(1e3 * means.max())), method="bounded").fun)


CASES = tuple((law, d) for d in (1, 2, 3) for law in LAWS)


def departures(
    cases: Sequence[tuple[str, int]] = CASES,
    volume: float = 100,
    replicates: int = 400,
    seed: int = 0,
    resamples: int = 400,
) -> pd.DataFrame:
    """Measure how far each law is from E_n, and which effective N describes it best.

    Returns:
        One row per law, d and n: geometry (the law), d, N, n, replicates, mean, standard_error, E_n, exact_mean, z
        (against exact_mean), N_at_n with N_at_n_low and _high (the N whose E_n is the mean, and the mean -+ 1.96
        standard errors), and for the whole curve fitted_N, fitted_low, fitted_high (95 %, bootstrap of the replicates)
        and misfit: the largest |z| for the best single N.  If a single N fits, misfit is what chance gives, about 2.

    >>> table = departures([("gaussian", 1)], volume=20, replicates=20, resamples=20)
    >>> bool((table["exact_mean"] < table["E_n"]).all())  # the formula is too large unless the samples are uniform
    True
    """
    draws = log_grid(5 * check_from_one("volume", volume), 20)[1:]  # the first set covers 1, whatever N is
    tables = [_departure(law, d, volume, draws, replicates, seed + k, resamples) for k, (law, d) in enumerate(cases)]
    return pd.concat(tables, ignore_index=True)


def _departure(
    law: str, d: int, volume: float, draws: NDArray[np.int64], replicates: int, seed: int, resamples: int
) -> pd.DataFrame:
    shares = covered_share(law, d, volume, draws, replicates, seed)
    mean, error = shares.mean(0), shares.std(0, ddof=1) / np.sqrt(replicates)
    exact = exact_mean(law, d, volume, draws)
    generator = np.random.default_rng([seed, 2**31])
    weights = generator.multinomial(replicates, np.full(replicates, 1 / replicates), size=resamples) / replicates
    low, high = np.quantile([fit_volume(m, draws) for m in weights @ shares], [0.025, 0.975])
    at_n = {
        name: [volume_from_covered(m, n) for m, n in zip(mean + k * error, draws, strict=True)]
        for name, k in (("N_at_n", 0), ("N_at_n_low", -1.96), ("N_at_n_high", 1.96))
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(error > 0, (mean - exact) / error, np.nan)
    effective = effective_number(draws, beta_from_volume(volume))
    columns = dict(geometry=law, d=d, N=volume, n=draws, replicates=replicates, mean=mean, standard_error=error)
    columns |= dict(E_n=effective, exact_mean=exact, z=z) | at_n
    columns |= dict(fitted_N=fit_volume(mean, draws), fitted_low=low, fitted_high=high)
    return pd.DataFrame(columns | dict(misfit=best_misfit(mean, error, draws)))


def clamped_mean(volume: float, draws: ArrayLike) -> FloatArray:
    """Return the exact mean of the paper's chain for an N that need not be whole, p = E/N cut off at 1: (k,) float64.

    The chain's states are 1, 2, ..., ceil(N): for N = 2.5 it can cover 3.  For whole N this is E_n exactly.

    >>> clamped_mean(2.5, [1, 2]).tolist()
    [1.0, 1.6]
    """
    volume, draws = check_from_one("volume", volume), check_draws(draws)
    if max(volume, draws.max()) > MOST:
        raise ValueError(f"volume and draws must be at most {MOST:g}, got {volume:g} and {draws.max():g}")
    covered = np.arange(1, int(np.ceil(volume)) + 1)
    stay = np.minimum(covered / volume, 1)
    state = np.zeros(len(covered))
    state[0] = 1.0
    means = [0.0]
    for _ in range(draws.max()):
        means.append(float(state @ covered))
        leave = state * (1 - stay)
        state = state - leave
        state[1:] += leave[:-1]
    return np.array(means)[draws]
