"""Where the losses agree with torch, torchvision and scikit-learn, and the four definitions in which they differ."""

import functools
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss
from torchvision.ops import sigmoid_focal_loss as torchvision_focal

from replication import ClassBalancedLoss
from replication.losses import (
    balanced_softmax_loss,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_focal_loss,
)

BATCH, CLASSES = 7, 4
WEIGHT = torch.tensor([0.3, 1.0, 0.0, 2.7], dtype=torch.float64)
ONES = torch.ones(2, dtype=torch.float64)


def problem(space=(), seed=0):
    """Logits, class indices with one that is ignored, and probabilities."""
    torch.manual_seed(seed)
    logits = torch.randn(BATCH, CLASSES, *space, dtype=torch.float64) * 4
    indices = torch.randint(0, CLASSES, (BATCH, *space))
    indices[2] = -100
    return logits, indices, torch.rand_like(logits).softmax(1)


def onehot(indices):
    return F.one_hot(indices, CLASSES).movedim(-1, 1).double()


def agree(ours, theirs, *logits):
    """The same value and the same gradient."""
    logits = [z.clone().requires_grad_() for z in logits]
    values = ours(*logits), theirs(*logits)
    torch.testing.assert_close(*values, rtol=1e-9, atol=1e-12)
    slopes = [torch.autograd.grad(value.sum(), logits)[0] for value in values]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


SPACES = [(), (3,), (2, 5)]
TORCH = {"weighted_mean": "mean", "sum": "sum", "none": "none"}  # by ours: torch's name of the reduction


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", TORCH)
def test_softmax_of_indices_is_torch_cross_entropy(reduction, weighted, space):
    z, y, _ = problem(space)
    w = WEIGHT if weighted else None
    agree(
        lambda z: softmax_cross_entropy(z, y, w, reduction),
        lambda z: F.cross_entropy(z, y, w, reduction=TORCH[reduction]),
        z,
    )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_softmax_of_probabilities_is_torch_cross_entropy(reduction, weighted, space):
    """Here torch's mean divides by the number of targets too; targets need not sum to 1."""
    z, _, p = problem(space)
    w = WEIGHT if weighted else None
    for target in (p, 0.5 * p, (p > 0.3).double()):
        ours = functools.partial(softmax_cross_entropy, target=target, weight=w, reduction=reduction)
        agree(ours, functools.partial(F.cross_entropy, target=target, weight=w, reduction=reduction), z)


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_smoothed_softmax_without_weights_is_torch_cross_entropy(reduction, smoothing):
    z, y, p = problem()
    options = {"reduction": reduction, "label_smoothing": smoothing}
    for target in (y, p):
        agree(
            lambda z, t=target: softmax_cross_entropy(z, t, **options),
            lambda z, t=target: F.cross_entropy(z, t, **options),
            z,
        )


@pytest.mark.parametrize("ignore_index", [-100, -1, 0, 3, 255])
def test_ignore_index_is_torchs(ignore_index):
    z, y, _ = problem()
    y[2] = ignore_index
    agree(
        lambda z: softmax_cross_entropy(z, y, ignore_index=ignore_index),
        lambda z: F.cross_entropy(z, y, ignore_index=ignore_index),
        z,
    )


KEPT = torch.tensor([0, 1, 3, 4, 5, 6])
Z, Y, P = problem()
ZK, YK = Z[KEPT], Y[KEPT]
M = (P > 0.25).double()  # multi-hot
BINARY = (torch.arange(BATCH) % 2).double()
SAME = {
    "sigmoid, indices: torch's BCE of the one-hot, summed over the classes": (
        lambda z: sigmoid_cross_entropy(z, YK),
        lambda z: F.binary_cross_entropy_with_logits(z, onehot(YK), reduction="sum") / len(YK),
        ZK,
    ),
    "sigmoid, multi-hot: torch's BCE": (
        lambda z: sigmoid_cross_entropy(z, M, reduction="sum"),
        lambda z: F.binary_cross_entropy_with_logits(z, M, reduction="sum"),
        Z,
    ),
    "sigmoid, soft labels: torch's BCE": (
        lambda z: sigmoid_cross_entropy(z, P, reduction="none"),
        lambda z: F.binary_cross_entropy_with_logits(z, P, reduction="none").sum(1),
        Z,
    ),
    "sigmoid, multi-hot: C times torch's multilabel soft margin loss": (
        lambda z: sigmoid_cross_entropy(z, M),
        lambda z: CLASSES * F.multilabel_soft_margin_loss(z, M),
        Z,
    ),
    "sigmoid, one logit: torch's soft margin loss of labels -1 and 1": (
        lambda z: sigmoid_cross_entropy(z, BINARY, ONES),
        lambda z: F.soft_margin_loss(z, 2 * BINARY - 1),
        Z[:, 0],
    ),
    "sigmoid, one logit, weights 1 and w: torch's BCE with pos_weight w": (
        lambda z: sigmoid_cross_entropy(z, BINARY, torch.tensor([1, 2.5], dtype=torch.float64)),
        lambda z: F.binary_cross_entropy_with_logits(z, BINARY, pos_weight=torch.tensor(2.5)),
        Z[:, 0],
    ),
    "focal, one logit, weights 1 - alpha and alpha: torchvision's focal loss": (
        lambda z: sigmoid_focal_loss(z, BINARY, torch.tensor([0.75, 0.25], dtype=torch.float64), 2.0),
        lambda z: torchvision_focal(z, BINARY, alpha=0.25, gamma=2, reduction="mean"),
        Z[:, 0],
    ),
    "softmax: torch's NLL of the log-softmax": (
        lambda z: softmax_cross_entropy(z, Y, reduction="sum"),
        lambda z: F.nll_loss(z.log_softmax(1), Y, reduction="sum"),
        Z,
    ),
    "softmax, probabilities: torch's KL divergence plus the entropy": (
        lambda z: softmax_cross_entropy(z, P),
        lambda z: F.kl_div(z.log_softmax(1), P, reduction="batchmean") - (P * P.log()).sum(1).mean(),
        Z,
    ),
    "softmax focal, gamma 0: torch's cross-entropy": (
        lambda z: softmax_focal_loss(z, Y, WEIGHT, 0.0, "weighted_mean"),
        lambda z: F.cross_entropy(z, Y, WEIGHT),
        Z,
    ),
    "softmax, one-hot probabilities, weighted mean: torch's cross-entropy of the indices": (
        lambda z: softmax_cross_entropy(z, onehot(YK), WEIGHT, "weighted_mean"),
        lambda z: F.cross_entropy(z, YK, WEIGHT),
        ZK,
    ),
    "balanced softmax: torch's cross-entropy of logits adjusted by the log-prior": (
        lambda z: balanced_softmax_loss(z, Y, [40, 30, 20, 10]),
        lambda z: F.cross_entropy(z + torch.tensor([0.4, 0.3, 0.2, 0.1]).log(), Y),
        Z.float().double(),
    ),
}


@pytest.mark.parametrize(("ours", "theirs", "logits"), SAME.values(), ids=SAME)
def test_the_same_loss(ours, theirs, logits):
    z = logits.clone().requires_grad_()
    values = ours(z), theirs(z)
    torch.testing.assert_close(*values, rtol=1e-6, atol=1e-9)
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("gamma", "dense"), itertools.product([0, 0.5, 1, 2, 5], [False, True]))
def test_focal_is_torchvisions_summed_over_the_classes(gamma, dense):
    target = M[KEPT] if dense else YK
    labels = M[KEPT] if dense else onehot(YK)
    agree(
        lambda z: sigmoid_focal_loss(z, target, gamma=gamma, reduction="none"),
        lambda z: torchvision_focal(z, labels, alpha=-1, gamma=gamma).sum(1),
        ZK,
    )


def test_weighted_mean_is_scikit_learns_log_loss_with_sample_weights():
    p, weight = ZK.softmax(1).numpy(), WEIGHT.numpy()
    theirs = log_loss(YK.numpy(), p, sample_weight=weight[YK.numpy()], labels=np.arange(CLASSES))
    assert softmax_cross_entropy(ZK, YK, WEIGHT, "weighted_mean").item() == pytest.approx(theirs, rel=1e-9)


# --- where torch differs, as the contract says ------------------------------------------------------------------


def test_mean_divides_by_the_number_of_targets_and_torchs_by_their_weights():
    ours, theirs = softmax_cross_entropy(ZK, YK, WEIGHT), F.cross_entropy(ZK, YK, WEIGHT)
    assert ours.item() == pytest.approx((theirs * WEIGHT[YK].mean()).item()) and ours.item() != pytest.approx(
        theirs.item()
    )


def test_torch_weights_the_uniform_part_of_label_smoothing_by_each_class():
    """Ours: w_y ((1 - e) l_y + e mean_j l_j). Torch: (1 - e) w_y l_y + e / C sum_j w_j l_j."""
    e, each = 0.2, -ZK.log_softmax(1)
    own = WEIGHT[YK] * each[torch.arange(len(YK)), YK]
    options = {"reduction": "none", "label_smoothing": e}
    torch.testing.assert_close(
        softmax_cross_entropy(ZK, YK, WEIGHT, **options), (1 - e) * own + e * WEIGHT[YK] * each.mean(1)
    )
    torch.testing.assert_close(F.cross_entropy(ZK, YK, WEIGHT, **options), (1 - e) * own + e * (WEIGHT * each).mean(1))


def test_a_batch_that_is_ignored_whole_gives_0_and_torch_nan():
    nothing = torch.full((BATCH,), -100)
    assert softmax_cross_entropy(Z, nothing) == 0 and F.cross_entropy(Z, nothing).isnan()


def test_unbatched_logits_are_refused_and_torch_takes_them():
    z, y = Z[0], Y[0]
    with pytest.raises(ValueError, match=r"pass logits\[None\]"):
        softmax_cross_entropy(z, y)
    torch.testing.assert_close(softmax_cross_entropy(z[None], y[None]), F.cross_entropy(z, y))


def test_the_module_is_torchs_with_the_same_weights():
    module = ClassBalancedLoss([900, 80, 7, 50], 0.999, reduction="weighted_mean")
    theirs = torch.nn.CrossEntropyLoss(module.weight)
    torch.testing.assert_close(module(Z.float(), Y), theirs(Z.float(), Y))
