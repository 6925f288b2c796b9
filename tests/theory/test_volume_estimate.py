"""The inverse problem: N recovered with the stated coverage, likelihood and interval against independent exact sums."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from mpmath import mp, mpf

from replication.theory import volume_estimate as ve
from replication.theory.distances import pairs_within
from replication.theory.effective_number import beta_from_volume, effective_number
from replication.theory.occupancy import covered


def occupancy_law(volume: int, draws: int) -> np.ndarray:
    """P(k distinct), k = 0 .. draws, by inclusion and exclusion in whole numbers."""
    onto = [sum((-1) ** j * comb(k, j) * (k - j) ** draws for j in range(k + 1)) for k in range(draws + 1)]
    return np.array([comb(volume, k) * onto[k] / volume**draws for k in range(draws + 1)])


@pytest.mark.parametrize("draws", [5, 12])
def test_most_likely_volume_over_whole_numbers(draws):
    """The real-valued maximum lies within one of the best whole N, found by trying all up to 400."""
    laws = np.array([occupancy_law(volume, draws) for volume in range(1, 401)])
    for distinct in range(1, draws):
        best = laws[:, distinct].argmax() + 1
        assert abs(ve.estimate_volume(distinct, draws).volume - best) <= 1


@pytest.mark.parametrize("distinct", [3, 6, 9, 11])
def test_exact_interval_ends_where_the_tails_are(distinct):
    """At the whole N just inside the limits each tail is at least 2.5 %, just outside it is less."""
    draws, law = 12, lambda volume: occupancy_law(volume, 12)
    _, low, high = ve.estimate_volume(distinct, draws)
    for volume in range(max(int(np.ceil(low)), distinct), int(np.ceil(low)) + 3):
        assert law(volume)[distinct:].sum() >= 0.025  # enough distinct
    if int(low) > distinct:
        assert law(int(low))[distinct:].sum() < 0.025
    assert law(int(high))[: distinct + 1].sum() >= 0.025
    assert law(int(high) + 1)[: distinct + 1].sum() < 0.025


@pytest.mark.parametrize("volume, draws", [(50, 40), (1000, 60), (1000, 120)])
def test_coverage_of_the_exact_interval(volume, draws):
    """2000 experiments: at least 95 % of the intervals hold N, less 3 binomial standard errors."""
    seen = covered(volume, draws, 2000, seed=volume)[:, 0]
    interval = {k: ve.estimate_volume(int(k), draws) for k in np.unique(seen)}
    held = np.mean([interval[k].low <= volume <= interval[k].high for k in seen])
    assert held >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 2000)


@pytest.mark.parametrize("volume, draws", [(10**6, 20_000), (3000, 8000)])
def test_coverage_of_the_likelihood_interval(volume, draws):
    """Beyond the exact range: 500 experiments, 95 % within 3.5 standard errors on either side."""
    seen = covered(volume, draws, 500, seed=1)[:, 0]
    interval = {k: ve.estimate_volume(int(k), draws) for k in np.unique(seen)}
    held = np.mean([interval[k].low <= volume <= interval[k].high for k in seen])
    assert abs(held - 0.95) <= 3.5 * np.sqrt(0.95 * 0.05 / 500)


def test_both_intervals_agree_where_they_meet(monkeypatch):
    exact = ve.estimate_volume(900, 1000)
    monkeypatch.setattr(ve, "EXACT_DRAWS", 10)
    likelihood = ve.estimate_volume(900, 1000)
    assert exact.volume == likelihood.volume
    assert likelihood.low == pytest.approx(exact.low, rel=0.02) and likelihood.high == pytest.approx(
        exact.high, rel=0.02
    )


def test_nothing_repeats():
    """N is infinite, beta 1; the lower limit makes 'no repeat' a 2.5 % event: (1 - 1/N) (1 - 2/N) ... = 0.025."""
    estimate = ve.estimate_volume(50, 50)
    assert estimate.volume == np.inf and estimate.high == np.inf and estimate.beta[0] == estimate.beta[2] == 1
    assert np.prod(1 - np.arange(50) / estimate.low) == pytest.approx(0.025, rel=1e-5)
    assert ve.estimate_volume(1, 1) == (np.inf, 1.0, np.inf)  # one sample says nothing
    assert 0 < estimate.beta[1] < 1


def test_everything_repeats():
    estimate = ve.estimate_volume(1, 10)
    assert estimate.volume == 1 and estimate.beta[0] == 0 and 1 <= estimate.high < 2


def test_large_counts_keep_their_digits():
    """r repeats in n draws with n << N: N = n^2 / 2r to first order, as in the birthday problem."""
    for draws, repeats in ((10**5, 5), (10**6, 50), (3 * 10**6, 1000)):
        estimate = ve.estimate_volume(draws - repeats, draws)
        assert estimate.volume == pytest.approx(draws**2 / (2 * repeats), rel=0.01)
        assert estimate.low < estimate.volume < estimate.high


def test_volume_from_covered_inverts_the_effective_number():
    for volume in (1.0, 1.7, 30.0, 1e4, 1e9):
        for draws in (2, 50, 10**6):
            value = float(effective_number(draws, beta_from_volume(volume)))
            got = ve.volume_from_covered(value, draws)
            # as many digits as `value` itself can hold of N
            assert float(effective_number(draws, beta_from_volume(got))) == pytest.approx(value, rel=1e-9)
    assert ve.volume_from_covered(5, 5) == np.inf and ve.volume_from_covered(1, 5) == 1


@pytest.mark.parametrize("volume", [10**12, 10**14, 10**15, 10**17])
def test_volume_from_covered_beyond_the_digits_of_beta(volume):
    """N (1 - (1 - 1/N)^n) with 60 digits, rounded to float64: N comes back as far as that float holds it.  By way of
    a float beta N = 1e14 was off by 0.5 %, N = 1e17 by 90 %."""
    draws = 10**9
    with mp.workdps(60):
        value = float(volume * (1 - (1 - mpf(1) / volume) ** draws))
    digits = np.spacing(value) / (draws - value)  # the shortfall n - E_n = n^2 / 2N is what tells of N
    assert ve.volume_from_covered(value, draws) == pytest.approx(volume, rel=2 * digits + 1e-11)


def test_collisions_of_simulated_draws():
    """300 samples of 80 draws from N = 500: the mean collision share is 1/N, and 95 % intervals hold N in >= 92 %."""
    draws, volume = 80, 500
    pairs = draws * (draws - 1) // 2
    counts = []
    for seed in range(300):
        seen = np.bincount(np.random.default_rng(seed).integers(volume, size=draws), minlength=volume)
        counts.append(int((seen * (seen - 1)).sum() // 2))
    assert np.mean(counts) / pairs == pytest.approx(1 / volume, rel=0.08)
    estimates = [ve.estimate_volume_from_collisions(pairs, c) for c in counts]
    assert np.mean([e.low <= volume <= e.high for e in estimates]) >= 0.92


def test_collision_interval_by_the_binomial():
    """Clopper and Pearson: at the limits each binomial tail is 2.5 %."""
    from scipy.stats import binom

    _, low, high = ve.estimate_volume_from_collisions(1000, 20)
    assert binom.sf(19, 1000, 1 / high) == pytest.approx(0.025) and binom.cdf(20, 1000, 1 / low) == pytest.approx(0.025)
    assert ve.estimate_volume_from_collisions(100, 0)[0::2] == (np.inf, np.inf)
    assert ve.estimate_volume_from_collisions(100, 100)[:2] == (1, 1)


def test_features_recover_a_known_volume():
    """Prototypes as points far apart, one cloud a draw: N per class within its interval; beta is (N - 1) / N."""
    generator = np.random.default_rng(0)
    targets = np.repeat([0, 1], 400)
    place = np.where(targets == 0, generator.integers(100, size=800), generator.integers(1000, size=800))
    features = np.stack([10.0 * place, generator.normal(0, 0.01, 800)], axis=1)
    table = ve.beta_from_features(features, 1.0, targets).set_index("class_name")
    for name, volume in ((0, 100), (1, 1000)):
        row = table.loc[name]
        assert row.N_low <= volume <= row.N_high and row.draws == 400 and row.pairs == 400 * 399 // 2
        assert row.beta == pytest.approx((row.N - 1) / row.N) and row.beta_low == pytest.approx(
            (row.N_low - 1) / row.N_low
        )


def test_collisions_are_counted_within_classes_only_and_once():
    features = np.array([[0.0], [0.0], [0.0], [5.0]])
    assert ve.beta_from_features(features, 0.0).collisions.tolist() == [3]
    assert ve.beta_from_features(features, 0.0, [0, 1, 1, 0]).collisions.tolist() == [0, 1]
    assert ve.beta_from_features(features, 5.0).collisions.tolist() == [6]  # "within" includes the radius


def test_variants_only_add():
    """A copy of one that comes near the other is enough, from either side, and still one collision."""
    features = np.array([[0.0], [4.0], [9.0]])
    plain = ve.beta_from_features(features, 1.0)
    moved = ve.beta_from_features(features, 1.0, variants=[features + 4, features])
    assert plain.collisions.tolist() == [0] and plain.N.tolist() == [np.inf]
    assert moved.collisions.tolist() == [2]  # 0 + 4 meets 4; 4 + 4 meets 9


def test_clusters_widen_the_interval():
    """10 clusters of different sizes: the interval must hold the true N, 1 over the share of equal pairs."""
    weights = np.array([0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01])
    truth, held, binomial_held = 1 / (weights**2).sum(), 0, 0
    for seed in range(100):
        features = np.random.default_rng(seed).choice(10, size=(200, 1), p=weights) * 10.0
        row = ve.beta_from_features(features, 1.0).iloc[0]
        held += row.N_low <= truth <= row.N_high
        _, low, high = ve.estimate_volume_from_collisions(row.pairs, row.collisions)
        binomial_held += low <= truth <= high
    assert held >= 88 and binomial_held < 80


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ve.estimate_volume(0, 5), "distinct must be from 1 to draws = 5, got 0"),
        (lambda: ve.estimate_volume(6, 5), "distinct must be from 1 to draws = 5, got 6"),
        (lambda: ve.estimate_volume(1.5, 5), "draws must be whole numbers"),
        (lambda: ve.estimate_volume_from_collisions(0, 0), "pairs must be a finite number >= 1, got 0"),
        (lambda: ve.estimate_volume_from_collisions(float("nan"), 0), "pairs must be a finite number >= 1, got nan"),
        (lambda: ve.estimate_volume_from_collisions(10, 11), "collisions must be from 0 to pairs = 10, got 11"),
        (
            lambda: ve.estimate_volume_from_collisions(10, float("nan")),
            "collisions must be from 0 to pairs = 10, got nan",
        ),
        (lambda: ve.beta_from_features(np.zeros(3), 1), "features must be finite and of shape"),
        (lambda: ve.beta_from_features(np.full((3, 1), np.nan), 1), "features must be finite and of shape"),
        (lambda: ve.beta_from_features(np.zeros((3, 1)), -1), "radius must be a finite number >= 0, got -1"),
        (lambda: ve.beta_from_features(np.zeros((3, 1)), float("nan")), "radius must be a finite number >= 0, got nan"),
        (lambda: ve.beta_from_features(np.zeros((3, 1)), 1, [0, 1]), r"targets must have shape \(3,\), got \(2,\)"),
        (
            lambda: ve.beta_from_features(np.zeros((3, 1)), 1, [0, 0, 1]),
            "at least two samples of each class, got one of",
        ),
        (
            lambda: ve.beta_from_features(np.zeros((3, 1)), 1, variants=[np.zeros((2, 1))]),
            "variants must be finite and of shape",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def squared_distances(samples, queries):
    """Of all pairs (queries, samples), as fractions, without rounding."""
    samples, queries = ([[Fraction(float(v)) for v in row] for row in rows] for rows in (samples, queries))
    return [[sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for x in samples] for y in queries]


@pytest.mark.parametrize("dimension", [1, 3, 512, 2048])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4, 1e9, -1e15, 1e200])
@pytest.mark.parametrize("radius", [0.0, 1e-12])
def test_exact_duplicates_are_found_at_any_offset_and_dimension(dimension, offset, radius):
    features = np.random.default_rng(dimension).normal(size=(50, dimension)) + offset
    assert ve.beta_from_features(np.concatenate([features, features]), radius).collisions.iloc[0] >= 50


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-500, 1.0, 2.0**500, 2.0**990])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6])
def test_pairs_are_those_of_exact_arithmetic(scale, offset):
    """Points on a lattice, so that many differences are as long as the radius or a little longer."""
    rng = np.random.default_rng(7)
    points = (rng.integers(0, 4, (40, 5)) / 4 + offset) * scale
    exact = squared_distances(points, points[::-1])
    for radius in (0.0, 0.25, 0.75, 1.0, np.nextafter(1.0, 0), 1e-3):
        found, limit = pairs_within(points, points[::-1], radius * scale).toarray() > 0, Fraction(radius * scale) ** 2
        assert found.tolist() == [[square <= limit for square in row] for row in exact]


def test_points_that_nearly_coincide_are_no_duplicates():
    """Their squared differences are below the smallest number of float64, and below the rounding of their squares."""
    assert ve.beta_from_features([[0.0], [1e-200], [1.0]], 0.0).collisions.tolist() == [0]
    assert ve.beta_from_features([[1e8], [1e8 + 1e-7], [0.0]], 0.0).collisions.tolist() == [0]
    assert ve.beta_from_features([[1e308], [-1e308], [1e308]], 1.0).collisions.tolist() == [1]
