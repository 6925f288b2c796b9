"""Solve the inverse problem: estimate N, and so beta, from the samples of a class.

From the distinct prototypes among n draws, or from the pairs of samples that coincide (near-duplicates in a feature
space): N, beta = (N - 1) / N, and intervals for both.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse, special, stats

from replication.theory.arguments import check_draws
from replication.theory.distances import pairs_within
from replication.theory.effective_number import beta_from_volume

EXACT_DRAWS = 5000  # up to here, and up to EXACT_REPEATS, the interval is exact; beyond, by likelihood ratio
EXACT_REPEATS = 200
TAIL = (1 - 0.95) / 2  # probability beyond either limit of an interval
LARGEST_VOLUME = 1e18
COLUMNS = ["class_name", "radius", "draws", "pairs", "collisions"]
COLUMNS += ["N", "N_low", "N_high", "beta", "beta_low", "beta_high"]
FloatArray = NDArray[np.float64]


class VolumeEstimate(NamedTuple):
    """An estimate of N with its 95 % interval, and the betas of all three; N is infinite (beta 1) if nothing repeats.

    >>> VolumeEstimate(100, 50, 1000).beta
    (0.99, 0.98, 0.999)
    """

    volume: float
    low: float
    high: float

    @property
    def beta(self) -> tuple[float, float, float]:
        """beta, and its interval: (N - 1) / N of `volume`, `low`, `high`."""
        volume, low, high = (float(beta_from_volume(v)) for v in self)
        return volume, low, high


def volume_from_covered(covered: float, draws: int) -> float:
    """Solve N (1 - (1 - 1/N)^n) = covered for N; the result is infinite at n, and 1 at 1 or below.

    The unknown is N and not beta, because a float64 beta holds the 1/N of N = 1e14 to only two digits.

    >>> round(volume_from_covered(1.75, 3), 9)
    2.0
    """
    if covered >= draws * (1 - 1e-15):
        return np.inf
    if covered <= 1:
        return 1.0

    def gap(log_n: float) -> float:
        return float(-np.exp(log_n) * np.expm1(draws * np.log1p(-np.exp(-log_n))) - covered)

    if gap(np.log(LARGEST_VOLUME)) <= 0:
        return np.inf
    with np.errstate(divide="ignore"):  # log 0 at N = 1
        return float(np.exp(optimize.brentq(gap, 0.0, np.log(LARGEST_VOLUME), xtol=1e-12)))


def estimate_volume(distinct: int, draws: int) -> VolumeEstimate:
    """Estimate N by maximum likelihood (occupancy model) from `distinct` different prototypes seen in `draws` draws.

    The likelihood is N! / (N - k)! / N^n, and k alone is sufficient.  The interval is exact (it holds the N under which
    neither "as few" nor "as many" distinct has probability below 2.5 %; coverage at least 95 %) up to 5000 draws and
    200 repeats, by likelihood ratio beyond.  If nothing repeats, N is infinite and the lower limit is the N at which no
    repeat has probability 2.5 %, exact at every size.

    Raises:
        ValueError: distinct or draws not whole, distinct outside 1 .. draws.

    >>> estimate_volume(10, 10).volume
    inf
    """
    draws, distinct = int(check_draws(draws)[0]), int(check_draws(distinct)[0])
    if not 1 <= distinct <= draws:
        raise ValueError(f"distinct must be from 1 to draws = {draws}, got {distinct}")
    repeats = draws - distinct
    if repeats == 0:
        low = 1.0 if draws == 1 else _root(lambda v: _log_likelihood(v, distinct, draws) - np.log(TAIL), distinct)
        return VolumeEstimate(np.inf, low, np.inf)
    volume = _most_likely(distinct, draws)
    if draws <= EXACT_DRAWS and repeats <= EXACT_REPEATS:
        low = _root(lambda v: _repeats_at_most(v, repeats, draws) - TAIL, distinct)  # as few repeats
        high = _root(lambda v: TAIL - (1 - _repeats_at_most(v, repeats - 1, draws)), distinct)  # as many
        return VolumeEstimate(volume, low, high)
    most = _log_likelihood(volume, distinct, draws)
    drop = stats.chi2.isf(2 * TAIL, 1) / 2
    low = _root(lambda v: drop - (most - _log_likelihood(v, distinct, draws)), distinct, top=volume)
    return VolumeEstimate(volume, low, _root(lambda v: most - _log_likelihood(v, distinct, draws) - drop, volume))


def _log_likelihood(volume: float, distinct: int, draws: int) -> float:
    """log of N! / (N - k)! / N^n; for a large N, whose gammas would cancel, as a sum of log(1 - i/N)."""
    if volume > 1e3 * distinct and distinct <= 10**6:
        return float(np.log1p(-np.arange(distinct) / volume).sum() - (draws - distinct) * np.log(volume))
    return float(special.gammaln(volume + 1) - special.gammaln(volume - distinct + 1) - draws * np.log(volume))


def _most_likely(distinct: int, draws: int) -> float:
    """The real N >= k at which the log likelihood is flat: n = sum over i < k of N / (N - i); k must be below n."""
    if distinct <= 10**6:
        i = np.arange(distinct, dtype=float)
        return _root(lambda v: float(draws - distinct - (i / (v - i)).sum()), distinct)
    return _root(lambda v: float(draws - v * (special.digamma(v + 1) - special.digamma(v - distinct + 1))), distinct)


def _root(rising: Callable[[float], float], lowest: float, top: float | None = None) -> float:
    """Return the zero of a rising function of N at or above `lowest`; `lowest` itself if the function is >= 0 there."""
    if rising(lowest) >= 0:
        return float(lowest)
    high = top or 2.0 * lowest
    while top is None and rising(high) < 0:
        high *= 4
        if high > LARGEST_VOLUME:
            return np.inf
    return float(optimize.brentq(rising, lowest, high, rtol=1e-7))


def _repeats_at_most(volume: float, repeats: int, draws: int) -> float:
    """P(at most `repeats` of `draws` draws meet a prototype already seen | N), by the chain itself."""
    state = np.zeros(repeats + 1)
    state[0] = 1.0
    seen = -np.arange(repeats + 1.0)  # i - repeats so far, for the i-th draw
    for i in range(1, draws):
        again = state * np.clip((i + seen) / volume, 0, 1)
        state -= again
        state[1:] += again[:-1]
    return float(state.sum())


def estimate_volume_from_collisions(pairs: float, collisions: float) -> VolumeEstimate:
    """Estimate N = pairs / collisions, because two samples of a class coincide with probability 1/N.

    The 95 % interval is Clopper and Pearson's.  Pairs that share a sample are uncorrelated under the covering model, so
    the number of collisions has the binomial mean and variance; for real images see `beta_from_features`.

    Raises:
        ValueError: pairs below 1, collisions outside 0 .. pairs, NaN.

    >>> estimate_volume_from_collisions(4950, 50).volume
    99.0
    """
    if not (np.isfinite(pairs) and pairs >= 1):
        raise ValueError(f"pairs must be a finite number >= 1, got {pairs!r}")
    if not 0 <= collisions <= pairs:
        raise ValueError(f"collisions must be from 0 to pairs = {pairs}, got {collisions!r}")
    high_p = 1.0 if collisions == pairs else stats.beta.isf(TAIL, collisions + 1, pairs - collisions)
    low_p = 0.0 if collisions == 0 else stats.beta.ppf(TAIL, collisions, pairs - collisions + 1)
    point = pairs / collisions if collisions else np.inf
    return VolumeEstimate(point, 1 / high_p, 1 / low_p if low_p > 0 else np.inf)


def beta_from_features(
    features: ArrayLike,
    radius: float,
    targets: ArrayLike | None = None,
    variants: Iterable[ArrayLike] = (),
) -> pd.DataFrame:
    """Count near-duplicates within each class and estimate the N and beta that they imply.

    Args:
        features: (n, D), one row per sample.
        radius: two samples of a class within this distance of each other count as the same.  It is the unit in which N
            is measured: the data do not determine it, and N changes with it.
        targets: (n,) classes; None is one class.
        variants: augmented copies of the samples, each (n, D); a pair coincides if a copy of either (or itself) lies
            within the radius of the other.  More copies can only add coincidences.

    Returns:
        One row per class: class_name, radius, draws, pairs, collisions, N, N_low, N_high, beta, beta_low, beta_high.
        Real samples cluster, which makes the number of collisions more variable than binomial; pairs and collisions are
        divided by that excess (from the spread of the collisions of each sample) before the interval is taken.

    Raises:
        ValueError: features not (n, D) finite, radius negative or NaN, targets or a variant of another length, a class
            with a single sample.

    >>> beta_from_features(np.array([[0.0], [0.1], [5.0]]), radius=0.5).N.tolist()
    [3.0]
    """
    features = _check_features("features", features, None)
    targets = np.zeros(len(features), dtype=int) if targets is None else np.asarray(targets)
    if targets.shape != (len(features),):
        raise ValueError(f"targets must have shape ({len(features)},), got {targets.shape}")
    if not (np.isfinite(radius) and radius >= 0):
        raise ValueError(f"radius must be a finite number >= 0, got {radius!r}")
    radius = float(radius)
    members = {name: np.flatnonzero(targets == name) for name in np.unique(targets)}
    alone = [name for name, index in members.items() if len(index) < 2]
    if alone:
        raise ValueError(f"targets must hold at least two samples of each class, got one of {alone}")
    close = {name: pairs_within(features[index], features[index], radius) for name, index in members.items()}
    for variant in variants:
        variant = _check_features("variants", variant, features.shape)
        for name, index in members.items():
            close[name] = close[name] + pairs_within(features[index], variant[index], radius)
    rows = [(name, radius, *_estimate(close[name])) for name in members]
    return pd.DataFrame(rows, columns=COLUMNS)


def _check_features(name: str, features: ArrayLike, shape: tuple[int, ...] | None) -> FloatArray:
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or not np.isfinite(array).all() or (shape and array.shape != shape):
        raise ValueError(f"{name} must be finite and of shape {shape or '(n, D)'}, got {array.shape}")
    return array


def _estimate(close: sparse.csr_matrix) -> tuple[float, ...]:
    """Return what follows the radius in a row of `beta_from_features`, from the matrix of the pairs that coincide."""
    draws = close.shape[0]
    close = ((close + close.T) > 0).tolil()
    close.setdiag(False)
    degree = np.asarray(close.sum(1), dtype=float).ravel()
    pairs, collisions = draws * (draws - 1) / 2, degree.sum() / 2
    excess = 1.0
    if collisions:
        # variance of a U-statistic: pairs that share a sample are correlated as far as degrees differ beyond chance
        shared = (degree * (degree - 1)).sum() - degree.mean() ** 2 * (draws - 2) / (draws - 1) * draws
        excess = max(1.0, 1.0 + shared / collisions)
    point, limits = (estimate_volume_from_collisions(pairs / f, collisions / f) for f in (1.0, excess))
    estimate = VolumeEstimate(point.volume, limits.low, limits.high)
    return draws, int(pairs), int(collisions), *estimate, *estimate.beta
