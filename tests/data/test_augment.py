"""Batched augmentation, bit for bit against a slow one that handles one image at a time."""

import numpy as np
import pytest
import torch

from replication.data.augment import batch_order, crop_and_flip, crop_draws, pad, scale


@pytest.mark.parametrize(("size", "channels", "padding"), [(32, 3, 4), (8, 1, 1), (28, 1, 4)])
def test_equals_a_slow_reference(size, channels, padding):
    images = torch.randint(256, (20, size, size, channels), dtype=torch.uint8)
    index = torch.randint(20, (64,))
    top, left, flip = crop_draws(64, padding, True, seed=5)
    batch = crop_and_flip(pad(images, padding), index, top, left, flip, (size, size)).numpy()
    for k in range(64):
        canvas = np.zeros((size + 2 * padding, size + 2 * padding, channels), np.uint8)
        canvas[padding : padding + size, padding : padding + size] = images[index[k]].numpy()
        crop = canvas[top[k] : top[k] + size, left[k] : left[k] + size]
        assert (batch[k] == (crop[:, ::-1] if flip[k] else crop)).all()


def test_draws_cover_all_places_evenly_and_flip_half():
    top, left, flip = crop_draws(90_000, 4, True, seed=0)
    for draws in (top, left):
        counts = torch.bincount(draws, minlength=9).double()
        assert len(counts) == 9
        assert ((counts - 10_000) ** 2 / 10_000).sum() < 34  # chi-square, 8 degrees, 4e-5
    assert abs(flip.double().mean() - 0.5) < 4 * 0.5 / 300
    assert not crop_draws(1000, 4, False, seed=0)[2].any()


def test_scale():
    values = scale(torch.tensor([0, 64, 128, 255], dtype=torch.uint8).reshape(1, 2, 2, 1))
    assert values.shape == (1, 1, 2, 2)
    assert values.flatten().tolist() == [-1, -0.5, 0, 255 / 128 - 1]


def test_scale_keeps_channels_last_in_memory():
    assert scale(torch.zeros(2, 4, 4, 3, dtype=torch.uint8)).is_contiguous(memory_format=torch.channels_last)


def test_iid_order_is_a_permutation_in_each_epoch():
    order = batch_order(50, 4, seed=1)
    for epoch in order.split(50):
        assert sorted(epoch.tolist()) == list(range(50))
    assert not torch.equal(order[:50], order[50:100])
    assert torch.equal(order, batch_order(50, 4, seed=1))
    assert not torch.equal(order, batch_order(50, 4, seed=2))


def test_buffered_order_mixes_only_within_its_buffer():
    n, batch = 1000, 16
    order = batch_order(n, 6, seed=0, shuffle="buffered", batch_size=batch)
    size = int(0.4 * n) + 3 * batch
    assert len(order) == 6 * n
    # the k-th taken image comes from the first `size + k` of the repeated file: the start sees only the head classes
    assert order[:100].max() < size + 100
    # an image is taken 6 times, give or take those that wait in the buffer or came in early
    counts = torch.bincount(order, minlength=n)
    assert counts.min() >= 3 and counts.max() <= 8 and counts.sum() == 6 * n
    # neighbours share classes: within a window the places spread less than an even shuffle's n / sqrt(12)
    spread = order[2 * n : 3 * n].reshape(-1, 50).double()
    circular = torch.exp(2j * torch.pi * spread / n).mean(1).abs().mean()
    assert circular > 2 / 50**0.5


def test_buffered_order_of_five_files_sees_every_class_at_once():
    """CIFAR-10's archive: five files, each class by class, so that a buffer of 0.4 n holds two whole ones."""
    n, batch = 1000, 16
    one, five = (batch_order(n, 6, seed=0, shuffle="buffered", batch_size=batch, files=files) for files in (1, 5))
    assert one[:100].max() < 0.6 * n < 0.95 * n < five[:100].max()
    assert len(five) == 6 * n and torch.bincount(five, minlength=n).min() >= 3

    def shared(order):  # resultant length of the places in a batch: 0 if they are spread evenly over the classes
        spread = order[2 * n : 3 * n].reshape(-1, 50).double()
        return torch.exp(2j * torch.pi * spread / n).mean(1).abs().mean()

    assert shared(five) < 0.5 * shared(one)


def test_order_refuses():
    with pytest.raises(ValueError, match="shuffle"):
        batch_order(10, 1, seed=0, shuffle="sorted")
