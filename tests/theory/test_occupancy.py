"""The occupancy process: moments against independent exact arithmetic, the two simulations against each other."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy import stats

from replication.theory.effective_number import beta_from_volume, effective_number
from replication.theory.occupancy import covered, covered_literally, occupancy_moments


def exact_distribution(volume: int, draws: int) -> dict[int, Fraction]:
    """P(k covered) by the chain itself, in fractions."""
    state = {0: Fraction(1)}
    for _ in range(draws):
        step: dict[int, Fraction] = {}
        for k, p in state.items():
            for new, q in ((k, Fraction(k, volume)), (k + 1, 1 - Fraction(k, volume))):
                step[new] = step.get(new, Fraction(0)) + p * q
        state = {k: p for k, p in step.items() if p}
    return state


@settings(max_examples=60, deadline=None)
@given(volume=st.integers(1, 12), draws=st.integers(0, 25))
def test_moments_are_those_of_the_exact_distribution(volume, draws):
    law = exact_distribution(volume, draws)
    mean = sum(k * p for k, p in law.items())
    variance, fourth = (sum((k - mean) ** m * p for k, p in law.items()) for m in (2, 4))
    got = [float(v[0]) for v in occupancy_moments(volume, draws)]
    assert got[:2] == pytest.approx([float(mean), float(variance)], rel=1e-14)
    if variance:
        assert got[2] == pytest.approx(float(fourth / variance**2 - 3), rel=1e-12, abs=1e-12)
    else:
        assert np.isnan(got[2])


@pytest.mark.parametrize("volume", [2, 10**4, 10**9, 10**12])
@pytest.mark.parametrize("draws", [1, 2, 7, 10**6, 10**12])
def test_moments_hold_up_to_1e12(volume, draws):
    """The closed forms in mpmath with 300 digits; all must hold where floats would cancel (N = 1e12, n = 7)."""
    with mp.workdps(300):
        q1, q2 = (1 - mpf(1) / volume) ** draws, (1 - mpf(2) / volume) ** draws
        mean = volume * (1 - q1)
        variance = volume * (volume - 1) * q2 + volume * q1 - mpf(volume) ** 2 * q1**2
        mean, variance = float(mean), float(variance) if draws > 1 else 0.0
    got = occupancy_moments(volume, draws)
    assert float(got[0][0]) == pytest.approx(mean, rel=1e-14)
    assert float(got[1][0]) == pytest.approx(variance, rel=1e-14, abs=1e-50)


def test_mean_is_the_papers_effective_number():
    """Proposition 1: E_n = (1 - beta^n) / (1 - beta), beta = (N - 1) / N, as far as a float beta says which N it is."""
    draws = np.array([1, 2, 10, 1000, 10**6])
    for volume in (1, 2, 10, 1000, 10**6):
        expected = effective_number(draws, beta_from_volume(volume))
        np.testing.assert_allclose(occupancy_moments(volume, draws)[0], expected, rtol=1e-14 + 1.2e-16 * volume)


@pytest.mark.parametrize("volume, draws", [(5, 6), (30, 30), (30, 100)])
def test_fast_and_literal_simulation_have_one_distribution(volume, draws):
    """Chi-square, 4000 replicates each, fixed seeds, level 1e-3: the two samples, and each against exact."""
    size = 4000
    samples = [covered(volume, draws, size, seed=1)[:, 0], covered_literally(volume, draws, size, seed=2)[:, 0]]
    exact = exact_distribution(volume, draws)
    common = [k for k, p in exact.items() if p * size >= 10]
    tables = np.array([[np.sum(s == k) for k in common] + [np.sum(~np.isin(s, common))] for s in samples])
    tables = tables[:, tables.sum(0) > 0]
    assert stats.chi2_contingency(tables).pvalue > 1e-3
    probabilities = np.array([float(exact[k]) for k in common])
    for sample in samples:
        observed = np.array([np.sum(sample == k) for k in common])
        shares = probabilities / probabilities.sum()
        assert stats.chisquare(observed, shares * observed.sum()).pvalue > 1e-3


def test_the_two_sample_test_can_fail():
    """The same chi-square tells N = 30 from N = 31 at 4000 replicates."""
    a, b = covered(30, 30, 4000, seed=1)[:, 0], covered(31, 30, 4000, seed=2)[:, 0]
    values = np.arange(14, 25)
    assert stats.chi2_contingency([[np.sum(s == k) for k in values] for s in (a, b)]).pvalue < 1e-3


def test_columns_of_one_replicate_belong_together():
    """A covering only grows, by at most one a draw; and increments have the exact law's covariance sign."""
    counts = covered(20, np.arange(60), 200, seed=0)
    steps = np.diff(counts, axis=1)
    assert counts[:, 0].max() == 0 and set(np.unique(steps)) == {0, 1}
    assert (steps[:, 0] == 1).all()


@pytest.mark.parametrize("volume", [1, 2, 7, 1000])
def test_one_seed_one_answer_whatever_the_chunk(volume, monkeypatch):
    draws = [0, 1, 3, 50, 2000]
    expected = covered(volume, draws, 57, seed=4)
    for chunk in (1, 13, 10**4, 10**7):
        monkeypatch.setattr("replication.theory.occupancy.CHUNK", chunk)
        np.testing.assert_array_equal(covered(volume, draws, 57, seed=4), expected)
    assert not np.array_equal(covered(1000, draws, 57, seed=5), covered(1000, draws, 57, seed=4))


def test_draws_in_any_order():
    forward, backward = covered(50, [3, 40, 200], 20), covered(50, [200, 40, 3], 20)
    np.testing.assert_array_equal(forward, backward[:, ::-1])
    np.testing.assert_array_equal(covered_literally(50, [3, 40], 5), covered_literally(50, [40, 3], 5)[:, ::-1])


def test_volumes_beyond_64_bits():
    """No two of a few draws meet among 1e300 prototypes; the variance is n (n - 1) / 2 / N to all digits."""
    for volume in (1e20, 1e300):
        assert covered(volume, [0, 1, 5, 1000], 3).tolist() == [[0, 1, 5, 1000]] * 3
        mean, variance, _ = occupancy_moments(volume, [1, 5, 1000])
        assert mean.tolist() == [1, 5, 1000]
        assert variance.tolist() == pytest.approx([0, 10 / volume, 499_500 / volume], rel=1e-12)


def test_ends():
    assert covered(1, [0, 1, 10**12], 3).tolist() == [[0, 1, 1]] * 3
    assert (covered(3, 10**12, 100) == 3).all()
    assert covered_literally(1, [0, 1, 5], 2).tolist() == [[0, 1, 1]] * 2


@pytest.mark.parametrize("simulate", [covered, covered_literally])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.5, 3, 2), "volume must be a finite number >= 1, got 0.5"),
        ((float("nan"), 3, 2), "volume must be a finite number >= 1, got nan"),
        ((float("inf"), 3, 2), "volume must be a finite number >= 1, got inf"),
        ((2.5, 3, 2), "volume must be a whole number .* got 2.5.*p = E/N passes 1"),
        ((10, -1, 2), "draws must be whole numbers >= 0"),
        ((10, 1.5, 2), "draws must be whole numbers >= 0"),
        ((10, [1, float("nan")], 2), "draws must be whole numbers >= 0"),
        ((10, [], 2), "draws must be whole numbers >= 0"),
        ((10, 3, 1), "replicates must be a whole number >= 2"),
        ((10, 3, 2.5), "replicates must be a whole number >= 2"),
        ((10, 3, float("nan")), "replicates must be a whole number >= 2"),
        ((10, 3, 10**9), "replicates must be at most 1e.08 for 1 numbers"),
        ((10, [3] * 1000, 10**6), "replicates must be at most 100000 for 1000 numbers"),
        ((10, 3, 2, -1), "seed must be a whole number >= 0, got -1"),
        ((10, 3, 2, 1.5), "seed must be a whole number >= 0, got 1.5"),
        ((10, 2**63, 2), "draws must be whole numbers >= 0"),
    ],
)
def test_bad_input_is_named(simulate, arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(*arguments)
