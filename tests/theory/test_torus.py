"""Partial overlap on the torus: exact unions against brute force, exact spread against simulation."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate

from replication.theory import torus
from replication.theory.effective_number import beta_from_volume, effective_number


def grid_area(centres: np.ndarray, side: float, m: int = 1500) -> float:
    """Area of a union of unit squares on the torus by painting a fine grid, square by square."""
    x = (np.arange(m) + 0.5) / m * side
    painted = np.zeros((m, m), dtype=bool)
    for c in centres:
        inside = [np.minimum(np.abs(x - c[k]), side - np.abs(x - c[k])) <= 0.5 for k in (0, 1)]
        painted |= inside[0][:, None] & inside[1][None, :]
    return painted.mean() * side**2


def test_one_square_covers_a_torus_of_volume_1():
    """Wherever it lies: rounding must not make it a sliver."""
    volumes = torus.covered_volume("cubes", 2, 1.0, [0, 1, 2, 3], 40, seed=0)
    assert (volumes == [0, 1, 1, 1]).all()


@pytest.mark.parametrize("side, n", [(1.0, 1), (1.3, 2), (2.0, 3), (4.5, 12), (6.0, 60)])
def test_union_of_squares_is_the_painted_area(side, n):
    centres = np.random.default_rng(n).random((n, 2)) * side
    assert torus.union_of_squares(centres, side) == pytest.approx(grid_area(centres, side), abs=0.004 * side**2)


def test_union_of_squares_by_hand():
    """Squares shifted by (0.5, 0.5) share a quarter, across the edge too; all of N = 1 is covered."""
    pair = np.array([[1.0, 1.0], [1.5, 1.5]])
    assert torus.union_of_squares(pair, 4.0) == pytest.approx(1.75)
    assert torus.union_of_squares((pair + 2.6) % 4, 4.0) == pytest.approx(1.75)
    assert torus.union_of_squares(np.array([[0.3, 0.9]]), 1.0) == pytest.approx(1.0)
    assert torus.union_of_squares(np.empty((0, 2)), 3.0) == 0


def test_union_of_intervals_by_hand():
    assert torus.union_of_intervals(np.array([[0.1], [3.8]]), 4.0) == pytest.approx(1.3)  # they meet across the edge
    assert torus.union_of_intervals(np.array([[0.0], [2.0]]), 4.0) == pytest.approx(2.0)
    assert torus.union_of_intervals(np.empty((0, 1)), 4.0) == 0


@pytest.mark.parametrize("d", range(1, 7))
def test_ball_has_volume_one(d):
    """Monte Carlo over the cube around it: 4e5 points, 5 standard errors."""
    radius = torus.ball_radius(d)
    points = np.random.default_rng(d).uniform(-radius, radius, (400_000, d))
    inside = (points**2).sum(1) <= radius**2
    box = (2 * radius) ** d
    assert inside.mean() * box == pytest.approx(1, abs=5 * box * inside.std() / np.sqrt(len(points)))


@pytest.mark.parametrize("geometry", ["cubes", "balls"])
@pytest.mark.parametrize("side", [3.0, None])
def test_first_cover_against_all_distances(geometry, side):
    generator = np.random.default_rng(0)
    probes, centres = generator.random((200, 2)) * 3, generator.random((150, 2)) * 3
    apart = np.abs(probes[:, None] - centres[None])
    apart = apart if side is None else np.minimum(apart, side - apart)
    hit = (apart.max(-1) <= 0.5) if geometry == "cubes" else (np.hypot(*apart.transpose(2, 0, 1)) <= np.pi**-0.5)
    expected = np.where(hit.any(1), hit.argmax(1), 150)
    np.testing.assert_array_equal(torus.first_cover(probes, centres, geometry, side), expected)


@pytest.mark.parametrize(
    "geometry, d, volume",
    [("cubes", 1, 12), ("cubes", 2, 12.5), ("cubes", 3, 30), ("balls", 2, 20), ("balls", 4, 80), ("cubes", 6, 70)],
)
def test_mean_and_spread_of_the_covering(geometry, d, volume):
    """Robbins (1944): the mean is E_n for every shape and dimension, N whole or not.  The spread is the exact one, with
    what the probes add.  300 replicates, fixed seeds: |z| < 4.5, variance ratio within 4.5 of its standard errors."""
    draws, replicates = np.array([1, 5, int(volume), 2 * int(volume)]), 300
    volumes = torus.covered_volume(geometry, d, volume, draws, replicates, 11)
    exact = torus.exact_sd(geometry, d, volume, draws, torus.default_probes(geometry, d, draws))
    spread = exact > 1e-9
    z = (
        (volumes.mean(0) - effective_number(draws, beta_from_volume(volume)))
        / np.maximum(exact, 1e-9)
        * np.sqrt(replicates)
    )
    assert np.abs(z).max() < 4.5
    ratio = volumes.var(0, ddof=1)[spread] / exact[spread] ** 2
    assert np.abs(ratio - 1).max() < 4.5 * np.sqrt(2 / replicates) * 1.5


def test_exact_spread_in_one_dimension_by_direct_integration():
    """Var = int int P(x and y missed) - P(missed)^2 over the circle, by scipy.integrate, N = 9.5, n = 7."""
    volume, n = 9.5, 7

    def covariance(apart):
        overlap = max(0.0, 1 - min(apart, volume - apart))
        return (1 - (2 - overlap) / volume) ** n - (1 - 1 / volume) ** (2 * n)

    variance = volume * integrate.quad(covariance, 0, volume, points=[1, volume - 1])[0]
    assert torus.exact_sd("cubes", 1, volume, n)[0] == pytest.approx(np.sqrt(variance), rel=1e-7)
    assert torus.exact_sd("balls", 1, volume, n)[0] == pytest.approx(np.sqrt(variance), rel=1e-7)


def test_spread_depends_on_shape_and_dimension():
    """What the mean does not (claim T4): at N = n = 100 it falls with the dimension."""
    by_dimension = [float(torus.exact_sd("cubes", d, 100, 100)[0]) for d in range(1, 7)]
    assert all(a > 1.1 * b for a, b in pairwise(by_dimension))
    assert float(torus.exact_sd("balls", 2, 100, 100)[0]) != pytest.approx(by_dimension[1], rel=0.01)


def test_default_probes():
    """Exact where it is cheap; else more probes where there are fewer draws, within limits."""
    assert torus.default_probes("cubes", 1, 10**6) is None and torus.default_probes("cubes", 2, [5, 1024]) is None
    assert torus.default_probes("cubes", 2, 2048) == 256 and torus.default_probes("balls", 2, 10) == 1024
    assert torus.default_probes("balls", 6, 10**6) == 128


def test_spread_is_unknown_where_sets_meet_from_two_sides():
    assert (
        np.isnan(torus.exact_sd("cubes", 3, 7.9, [5])).all() and np.isfinite(torus.exact_sd("cubes", 3, 8, [5])).all()
    )


def test_seed_decides_and_replicates_are_a_prefix():
    few, many = (torus.covered_volume("balls", 2, 20, [5, 20], r, seed=3) for r in (3, 6))
    np.testing.assert_array_equal(few, many[:3])
    assert not np.array_equal(few, torus.covered_volume("balls", 2, 20, [5, 20], 3, seed=4))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("spheres", 2, 10, 3, 2), "geometry must be one of cubes, balls, got 'spheres'"),
        (("cubes", 0, 10, 3, 2), "d must be a whole number from 1 to 6, got 0"),
        (("cubes", 7, 10, 3, 2), "d must be a whole number from 1 to 6, got 7"),
        (("cubes", 1.5, 10, 3, 2), "d must be a whole number from 1 to 6"),
        (("cubes", float("nan"), 10, 3, 2), "d must be a whole number from 1 to 6"),
        (("cubes", 2, 0.9, 3, 2), "volume must be a finite number >= 1, got 0.9"),
        (("cubes", 2, float("nan"), 3, 2), "volume must be a finite number >= 1"),
        (("balls", 2, 1.2, 3, 2), "volume must be at least 1.273 for balls.*above half its side"),
        (("balls", 6, 12, 3, 2), "volume must be at least 12.3.* for balls"),
        (("cubes", 2, 10, -3, 2), "draws must be whole numbers >= 0"),
        (("cubes", 2, 10, 3, 1), "replicates must be a whole number >= 2"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        torus.covered_volume(*arguments)
