"""Counts against the published totals; subsets that depend on seed and pixels alone."""

import math

import numpy as np
import pytest

from replication import long_tailed_counts
from replication.data.long_tail import keep_indices

PUBLISHED = {  # totals at imbalance 200, 100, 50, 20, 10 (Table 1 gives the ends)
    (5000, 10): [11203, 12406, 13996, 17023, 20431],
    (500, 100): [9502, 10847, 12608, 15907, 19573],
    (2500, 20): [10225, 11514, 13204, 16396, 19954],
}


@pytest.mark.parametrize(("size", "totals"), PUBLISHED.items())
def test_published_totals(size, totals):
    assert [sum(long_tailed_counts(*size, factor)) for factor in (200, 100, 50, 20, 10)] == totals


def test_ends_and_balance():
    assert long_tailed_counts(5000, 10, 100)[0] == 5000
    assert long_tailed_counts(5000, 10, 100)[-1] == 50
    assert long_tailed_counts(500, 100, 200)[-1] == 2  # 500 / 200, rounded down
    assert long_tailed_counts(7, 3, 1) == [7, 7, 7]
    assert long_tailed_counts(7, 1, 5) == [7]


def test_an_imbalance_as_large_as_the_largest_class_leaves_one_image():
    """largest * (1 / largest) rounds to less than 1 for 49, 98, 103 and others."""
    for largest in range(1, 1000):
        counts = long_tailed_counts(largest, 10, largest)
        exact = [math.floor(round(largest ** (1 - i / 9), 9)) for i in range(10)]
        assert (counts[0], counts[-1]) == (largest, 1) and max(
            abs(a - b) for a, b in zip(counts, exact, strict=True)
        ) <= 1


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0, 10, 10), "largest"),
        ((2.5, 10, 10), "largest"),
        ((100, 0, 10), "num_classes"),
        ((100, 10, 0.5), "imbalance_factor"),
        ((100, 10, math.nan), "imbalance_factor"),
        ((100, 10, math.inf), "imbalance_factor"),
        ((100, 10, 101), "imbalance_factor"),
        ((100, 10, "10"), "imbalance_factor"),
        ((100, 10, None), "imbalance_factor"),
        ((100, 10, 10**400), "imbalance_factor"),
        ((100, 10, 10**5000), "imbalance_factor"),
        ((10**400, 10, 10), "largest"),
    ],
)
def test_refuses(arguments, name):
    with pytest.raises(ValueError, match=name) as caught:
        long_tailed_counts(*arguments)
    assert len(str(caught.value)) < 200


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(60, 4, 4, 3), dtype=np.uint8), np.arange(60) % 3


def test_the_same_images_in_whatever_order_they_come(images):
    pixels, targets = images
    kept = keep_indices(pixels, targets, [15, 6, 2], seed=3)
    assert np.bincount(targets[kept]).tolist() == [15, 6, 2]
    order = np.random.default_rng(1).permutation(60)
    again = keep_indices(pixels[order], targets[order], [15, 6, 2], seed=3)
    assert (pixels[order][again] == pixels[kept]).all()


def test_seeds_keep_different_images_and_smaller_counts_keep_a_part(images):
    first = keep_indices(*images, [15, 6, 2], seed=0)
    assert set(first) != set(keep_indices(*images, [15, 6, 2], seed=1))
    assert set(keep_indices(*images, [7, 6, 1], seed=0)) < set(first)


def test_every_image_is_kept_equally_often(images):
    hits = np.bincount(np.concatenate([keep_indices(*images, [10, 10, 10], seed) for seed in range(400)]), minlength=60)
    # each of 60 images is kept with probability 1/2: the sum of squared z over 60 is chi-square with 57 degrees
    chi_square = ((hits - 200) ** 2 / (400 * 0.25)).sum()
    assert 25 < chi_square < 105  # 1e-4 on each side


def test_keep_refuses(images):
    with pytest.raises(ValueError, match=r"class_counts\[1\]"):
        keep_indices(*images, [1, 21, 1], seed=0)
    with pytest.raises(ValueError, match="seed"):
        keep_indices(*images, [1, 1, 1], seed=-1)
    with pytest.raises(ValueError, match="seed"):
        keep_indices(*images, [1, 1, 1], seed=10**4000)
