"""The published schedule at every boundary (Section 5.2, authors' code: warm-up 5, drops at 160 and 180 of 200)."""

import math

import pytest

from replication.training.schedule import learning_rate


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 0.0),
        (1, 0.02),
        (2.5, 0.05),
        (math.nextafter(5, 0), 0.1),
        (5, 0.1),
        (math.nextafter(160, 0), 0.1),
        (160, 0.001),
        (math.nextafter(180, 0), 0.001),
        (180, 0.00001),
        (200, 0.00001),
    ],
)
def test_paper(epoch, rate):
    assert learning_rate(epoch) == pytest.approx(rate, rel=1e-12)


def test_usual_drop():
    assert [learning_rate(e, drop_factor=0.1) for e in (159, 160, 180)] == pytest.approx([0.1, 0.01, 0.001])


def test_scales_with_the_number_of_epochs():
    for epoch in (0, 1, 4.9, 5, 100, 159.9, 160, 179.9, 180, 200):
        scaled = learning_rate(epoch * 30 / 200, epochs=30)
        assert scaled == pytest.approx(learning_rate(epoch), rel=1e-9)


@pytest.mark.parametrize("epoch", [-0.1, 200.1, math.nan])
def test_refuses(epoch):
    with pytest.raises(ValueError, match="epoch"):
        learning_rate(epoch)
