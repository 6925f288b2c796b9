"""What each beta does to the weights: numbers of the paper's sets, and those of the weights themselves."""

import numpy as np
import pytest

from replication import describe_weights, long_tailed_counts


def test_describe_weights_on_cifar10_at_imbalance_100():
    """The loss of the paper's choice, beta 0.9999, falls 5.85 times; 0.9 leaves the weights as they are."""
    counts = long_tailed_counts(5000, 10, 100)
    plain, small, chosen, inverse = describe_weights(counts, [0, 0.9, 0.9999, 1])
    assert plain.weight_ratio == plain.mean_weight == 1 and plain.smallest == plain.largest == 1
    assert "no effect" in plain.remark and "no effect" in small.remark
    assert 1 / chosen.mean_weight == pytest.approx(5.85, abs=0.005) and not chosen.remark
    assert inverse.weight_ratio == pytest.approx(100) and "inverse" in inverse.remark
    assert inverse.mean_weight == pytest.approx(10 / (sum(counts) * sum(1 / n for n in counts) / 10))


def test_describe_weights_is_that_of_the_weights_themselves():
    counts = np.array([800, 90, 7])
    [row] = describe_weights(counts, [0.99])
    covered = [sum(0.99**j for j in range(n)) for n in counts]
    weights = [3 / e / sum(1 / e for e in covered) for e in covered]
    assert (row.smallest, row.largest) == pytest.approx((covered[2], covered[0]))
    assert row.weight_ratio == pytest.approx(weights[2] / weights[0])
    assert row.mean_weight == pytest.approx(sum(n * w for n, w in zip(counts, weights, strict=True)) / counts.sum())
    with pytest.raises(ValueError, match="class_counts must be > 0"):
        describe_weights([5, 0])
