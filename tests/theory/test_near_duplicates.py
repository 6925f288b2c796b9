"""Near-duplicates among pixels: crops by hand, radii that hold their share, augmentation that only adds."""

import numpy as np
import pytest

from replication.theory.near_duplicates import (
    AUGMENTATIONS,
    crops,
    near_duplicates,
    radii_from_shares,
    random_crops,
    take,
)


@pytest.fixture(scope="module")
def images():
    """Two classes of 30 random 4x4 grey images; in class 0 image 1 is image 0 mirrored, image 2 is image 0 shifted."""
    pixels = np.random.default_rng(0).integers(1, 256, (60, 4, 4, 1), dtype=np.uint8)
    pixels[1] = pixels[0, :, ::-1]
    pixels[2] = 0
    pixels[2, :, 1:] = pixels[0, :, :-1]
    return pixels, np.repeat([0, 1], 30)


def test_crops_by_hand():
    """Padding 1: nine shifts, each twice; the middle one is the image; zeros come in from outside."""
    image = np.arange(1, 5, dtype=np.uint8).reshape(1, 2, 2, 1)
    made = [tuple(c[0].astype(int)) for c in crops(image, 1)]
    assert len(made) == 18 and all(c.shape == (1, 4) and c.dtype == np.float64 for c in crops(image, 1))
    assert {(1, 2, 3, 4), (2, 1, 4, 3), (0, 0, 0, 1), (0, 0, 1, 0), (4, 0, 0, 0), (0, 0, 1, 2), (2, 0, 4, 0)} <= set(
        made
    )


def test_random_crops_are_among_the_crops(images):
    pixels = images[0][:10]
    allowed = np.stack(list(crops(pixels, 1)))  # (18, 10, 16)
    made = random_crops(pixels, 1, seed=3)
    assert (allowed == made[None]).all(-1).any(0).all()
    assert len({tuple((allowed[:, k] == made[k]).all(-1)) for k in range(10)}) > 3  # not always the same one
    np.testing.assert_array_equal(made, random_crops(pixels, 1, seed=3))
    assert not np.array_equal(made, random_crops(pixels, 1, seed=4))


def test_mirrored_and_shifted_copies_count_only_under_augmentation(images):
    table = near_duplicates(*images, ("a", "b"), [0.0], AUGMENTATIONS, padding=1).set_index(
        ["augmentation", "class_name"]
    )
    assert table.loc["none"].collisions.tolist() == [0, 0]
    assert table.loc["crop and flip"].collisions.tolist() == [3, 0]  # 0, its mirror image and its shift: three pairs
    assert (table.loc["crop and flip"].N <= table.loc["none"].N).all()


def test_radii_hold_their_share_of_the_pairs(images):
    """The average N at a radius that holds the share q of all pairs is 1/q by construction."""
    radii = radii_from_shares(*images, shares=[0.01, 0.1])
    table = near_duplicates(*images, ("a", "b"), radii)
    share = table.groupby("radius").collisions.sum() / table.groupby("radius").pairs.sum()
    assert share.tolist() == pytest.approx([0.01, 0.1], abs=1 / 435)


def test_take_is_seeded_and_balanced():
    targets = np.array([0] * 50 + [1] * 3 + [2] * 50)
    pixels = np.arange(103, dtype=np.uint8).reshape(-1, 1, 1, 1)
    taken, classes = take(pixels, targets, 10, seed=1)
    assert np.bincount(classes).tolist() == [10, 3, 10]
    assert (targets[taken.ravel()] == classes).all()
    np.testing.assert_array_equal(taken, take(pixels, targets, 10, seed=1)[0])
    assert not np.array_equal(taken, take(pixels, targets, 10, seed=2)[0])


def test_bad_input_is_named(images):
    with pytest.raises(ValueError, match=r"shares must lie in \(0, 1\], got \[0.0\]"):
        radii_from_shares(*images, shares=[0.0])
    with pytest.raises(ValueError, match="per_class must be at least 2, got 1"):
        take(*images, 1, 0)
    with pytest.raises(ValueError, match="padding must be at least 0 pixels, got -1"):
        near_duplicates(*images, ("a", "b"), [1.0], padding=-1)
    for wrong in (["blur"], []):
        with pytest.raises(ValueError, match="augmentations must be of none, crop and flip"):
            near_duplicates(*images, ("a", "b"), [1.0], wrong)
