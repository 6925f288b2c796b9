"""What test logits give: shot groups, logit adjustment, calibration, and the file that keeps them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from replication.training.cifar.evaluation import adjusted_logits, calibration_error, errors, write_logits


def test_shot_groups_follow_the_training_counts():
    """Liu et al. 2019: many-shot classes have over 100 training images, few-shot ones under 20."""
    found = errors(np.array([1, 2, 3, 4]), np.full(4, 10), np.array([101, 100, 20, 19]))
    assert found["error_per_class"] == [10, 20, 30, 40]
    assert (found["many_error"], found["medium_error"], found["few_error"]) == (10, 25, 40)
    assert found["balanced_error"] == 25


def test_the_balanced_error_weighs_classes_and_groups_weigh_images():
    found = errors(np.array([10, 0]), np.array([100, 10]), np.array([500, 200]))
    assert found["balanced_error"] == 5
    assert found["many_error"] == pytest.approx(100 * 10 / 110)
    assert found["few_error"] is None


def test_logit_adjustment_is_bayes_rule_for_equal_priors():
    """Logits that are the log posterior under training priors become the log likelihood, up to a constant."""
    rng = np.random.default_rng(0)
    likelihood, counts = rng.random((50, 4)), np.array([500, 50, 5, 1])
    posterior = likelihood * counts / (likelihood * counts).sum(1, keepdims=True)
    adjusted = adjusted_logits(np.log(posterior), counts)
    assert (adjusted.argmax(1) == likelihood.argmax(1)).all()
    assert (np.log(posterior).argmax(1) != likelihood.argmax(1)).any()
    assert_allclose(adjusted_logits(np.log(posterior), counts, tau=0.0), np.log(posterior))


def test_calibration_error_of_a_calibrated_classifier_is_small_and_of_a_sure_one_its_error():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20_000)
    logits = np.stack([np.log(confidence), np.log(1 - confidence)], 1)
    targets = (rng.random(20_000) > confidence).astype(int)
    assert calibration_error(logits, targets) < 1.5
    assert_allclose(calibration_error(1000 * logits, targets), 100 * targets.mean(), atol=0.1)


def test_logits_are_kept_as_float16_with_a_fingerprint_of_their_values(tmp_path):
    logits = np.random.default_rng(0).normal(size=(100, 10)).astype(np.float32)
    mark = write_logits(tmp_path / "a.npz", logits)
    kept = np.load(tmp_path / "a.npz")["logits"]
    assert kept.dtype == np.float16
    assert_allclose(kept, logits, rtol=1e-3, atol=1e-6)
    assert write_logits(tmp_path / "b.npz", kept) == mark
    assert write_logits(tmp_path / "c.npz", logits + 1) != mark
