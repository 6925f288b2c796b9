"""Where E_n fails: simulated and integrated means agree, the formula is never too small, one N does not serve."""

import math

import numpy as np
import pytest
from scipy import integrate

from replication.theory.departures import (
    LAWS,
    best_misfit,
    clamped_mean,
    covered_share,
    departures,
    draw_centres,
    exact_mean,
    fit_volume,
    met_probability,
)
from replication.theory.effective_number import beta_from_volume, effective_number

DRAWS = np.array([1, 3, 10, 30, 100, 300])


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("volume", [1, 100])
def test_covered_volume_with_an_edge_is_the_closed_form(d, volume):
    """Sum of C(n, k) (-1)^(k+1) int p^k; along an axis p is 1/side inside, and u/side, u from 1/2, at an edge."""
    side, n = volume ** (1 / d), 10
    power = [((side - 1 + 2 * (1 - 0.5 ** (k + 1)) / (k + 1)) / side**k) ** d for k in range(n + 1)]
    expected = sum(math.comb(n, k) * (-1) ** (k + 1) * power[k] for k in range(1, n + 1))
    assert exact_mean("bounded", d, volume, [n])[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("law", LAWS)
def test_met_probability_is_the_share_of_centres_that_cover_a_point(law, d):
    """Against 50 000 drawn centres at 20 points, within 5 binomial standard errors."""
    side = 30.0 ** (1 / d)
    generator = np.random.default_rng(d)
    points = generator.random((20, d)) * side
    centres = draw_centres(law, d, side, 50_000, generator)
    apart = np.abs(points[:, None] - centres[None])
    apart = apart if law == "bounded" else np.minimum(apart, side - apart)
    observed = (apart <= 0.5).all(-1).mean(1)
    expected = met_probability(law, points, side)
    assert (np.abs(observed - expected) <= 5 * np.sqrt(expected * (1 - expected) / 50_000) + 1e-6).all()


@pytest.mark.parametrize("law, d", [("bounded", 1), ("gaussian", 1), ("gaussian", 2), ("mixture", 2), ("bounded", 3)])
def test_simulated_mean_is_the_integral(law, d):
    shares = covered_share(law, d, 50, DRAWS[:5], replicates=200, seed=1)
    error = shares.std(0, ddof=1) / np.sqrt(200)
    assert (np.abs(shares.mean(0) - exact_mean(law, d, 50, DRAWS[:5])) < 4.5 * error).all()


def test_bounded_in_one_dimension_by_hand():
    """p(x) = min(1, 1/2 + x, 1/2 + N - x) / N, integrated by scipy."""
    volume = 6.0

    def p(x):
        return min(1.0, 0.5 + x, 0.5 + volume - x) / volume

    expected = [integrate.quad(lambda x, n=n: 1 - (1 - p(x)) ** n, 0, volume, points=[0.5, 5.5])[0] for n in (1, 4, 40)]
    np.testing.assert_allclose(exact_mean("bounded", 1, volume, [1, 4, 40]), expected, rtol=1e-6)


def test_uniform_is_the_formula():
    np.testing.assert_allclose(
        exact_mean("uniform", 2, 50, DRAWS), effective_number(DRAWS, beta_from_volume(50)), rtol=1e-12
    )


@pytest.mark.parametrize("law", ["bounded", "gaussian", "mixture"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_formula_is_never_too_small(law, d):
    """Jensen: the mean lies below E_n, by more than the quadrature error (1e-4) somewhere."""
    ratio = exact_mean(law, d, 100, DRAWS) / effective_number(DRAWS, beta_from_volume(100))
    assert (ratio <= 1 + 1e-4).all() and ratio.min() < 0.998


def test_effective_volume_of_each_law():
    """The torus gives its own N back, inside the interval; a cluster less, outside it, and no single N fits."""
    table = departures([("uniform", 1), ("mixture", 2)], volume=50, replicates=100, resamples=60)
    uniform, mixture = (table[table.geometry == law].iloc[0] for law in ("uniform", "mixture"))
    assert uniform.fitted_low < 50 < uniform.fitted_high and uniform.misfit < 4
    assert mixture.fitted_high < 45 and mixture.misfit > 6
    ends = table[table.geometry == "mixture"].iloc[[-8, -1]]["N_at_n"].to_numpy()
    assert ends[1] > ends[0]  # the outskirts are found later


def test_fit_finds_the_volume_behind_an_exact_curve():
    draws = np.array([2, 10, 50, 200])
    means = effective_number(draws, beta_from_volume(37.5))
    assert fit_volume(means, draws) == pytest.approx(37.5, rel=1e-4)
    assert best_misfit(means, np.full(4, 0.1), draws) < 0.01
    assert best_misfit(means + np.array([0, 1, -1, 0]), np.full(4, 0.1), draws) > 5


@pytest.mark.parametrize("volume", [1, 2, 7, 30])
def test_clamped_chain_is_the_formula_for_whole_volumes(volume):
    draws = [0, 1, 2, 10, 200]
    np.testing.assert_allclose(
        clamped_mean(volume, draws), effective_number(draws, beta_from_volume(volume)), rtol=1e-12
    )


@pytest.mark.parametrize("volume", [1.5, 2.5, 10.01])
def test_clamped_chain_passes_a_volume_that_is_not_whole(volume):
    """It agrees until the chain can reach ceil(N) = floor(N) + 1, and ends there."""
    early = np.arange(int(volume) + 1)
    np.testing.assert_allclose(
        clamped_mean(volume, early), effective_number(early, beta_from_volume(volume)), rtol=1e-12
    )
    assert clamped_mean(volume, 20_000)[0] == pytest.approx(np.ceil(volume), rel=1e-3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("ring", 1, 10, 3, 2), "law must be one of uniform, bounded, gaussian, mixture, got 'ring'"),
        (("gaussian", 7, 10, 3, 2), "d must be a whole number from 1 to 6, got 7"),
        (("gaussian", 1, 0.5, 3, 2), "volume must be a finite number >= 1"),
        (("gaussian", 1, 10, -3, 2), "draws must be whole numbers >= 0"),
        (("gaussian", 1, 10, 3, 1), "replicates must be a whole number >= 2"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        covered_share(*arguments)
