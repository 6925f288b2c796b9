"""The losses of Section 4: the authors' formula, reductions, targets, weights and ignored targets.

`reference` below is the formula written out in float64 with one-hot targets, as the authors' code has it, by nothing
that the package uses. Extreme logits and derivatives are in test_terms.py, compilers and torch.func in test_kernels.py.
"""

import functools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings

from replication import ClassBalancedLoss, class_balanced_weights, long_tailed_counts
from replication.losses import (
    balanced_softmax_loss,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_focal_loss,
)

LOSSES = {
    "softmax": softmax_cross_entropy,
    "sigmoid": sigmoid_cross_entropy,
    "focal": sigmoid_focal_loss,
    "softmax_focal": softmax_focal_loss,
}
REDUCTIONS = ("mean", "weighted_mean", "sum", "none")


def call(loss, *arguments, gamma=0.5, **options):
    return LOSSES[loss](*arguments, **({"gamma": gamma} if "focal" in loss else {}), **options)


def reference(loss, logits, target, weight, gamma=0.5, reduction="mean", smoothing=0.0, ignore_index=-100):
    """Section 4 with one-hot targets in float64, as plainly as it can be written; for moderate logits."""
    classes = logits.shape[1]
    z = logits.double().movedim(1, -1).reshape(-1, classes)  # (N, C)
    if target.shape == logits.shape:
        t = target.double().movedim(1, -1).reshape(-1, classes)
        seen = t != ignore_index
    else:
        y = target.reshape(-1).long()
        seen = (y != ignore_index)[:, None].expand(-1, classes)
        t = torch.eye(classes, dtype=torch.float64)[torch.where(seen[:, 0], y, 0)]
    if "softmax" in loss:
        seen = seen.all(1, keepdim=True).expand(-1, classes)
    t = torch.where(seen, t, 0.0)
    w = torch.ones(classes, dtype=torch.float64) if weight is None else weight.double()
    s = (1 - smoothing) * t + smoothing / classes
    power = gamma if "focal" in loss else 0
    if "softmax" in loss:
        p = z.exp() / z.exp().sum(1, keepdim=True)
        own = (t * w).sum(1)
        pure = -((1 - p) ** power) * p.log()  # the loss of each label
        each = (t * w * ((1 - smoothing) * pure + smoothing * pure.mean(1, keepdim=True))).sum(1)
    else:
        p = 1 / (1 + (-z).exp())
        own = torch.where(t.sum(1) > 0, (t * w).sum(1) / t.sum(1).clamp(min=1e-300), 1.0)
        element = (t * w + (1 - t) * own[:, None]) * seen
        each = -(element * (s * (1 - p) ** power * p.log() + (1 - s) * p**power * (1 - p).log())).sum(1)
        own = own * seen.any(1)
    if reduction == "none":
        return each.reshape(logits.shape[0], *logits.shape[2:])
    divisor = {"sum": 1.0, "mean": seen.any(1).sum(), "weighted_mean": own.sum()}[reduction]
    return each.sum() / (divisor if divisor > 0 else 1.0)


# --- the paper's formula and its mean ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "focal"])
def test_mean_is_the_authors_formula(loss):
    """Sections 4.1 to 4.3: the weight of the true class, summed over classes, divided by the batch size."""
    torch.manual_seed(0)
    counts = long_tailed_counts(5000, 10, 100)
    weight = torch.tensor(class_balanced_weights(counts, 0.9999))
    logits, target = torch.randn(128, 10, dtype=torch.float64) * 3, torch.randint(0, 10, (128,))
    onehot = F.one_hot(target, 10).double()
    weights = (onehot * weight).sum(1, keepdim=True)  # (128, 1), as the authors tile it
    if loss == "softmax":
        authors = (weights[:, 0] * -(onehot * logits.log_softmax(1)).sum(1)).sum() / 128
    else:
        entropy = F.binary_cross_entropy_with_logits(logits, onehot, reduction="none")
        p = 1 / (1 + torch.exp(-logits))
        modulator = (onehot * (1 - p) + (1 - onehot) * p) ** (0.5 if loss == "focal" else 0)
        authors = (weights * modulator * entropy).sum() / 128
    ours = ClassBalancedLoss(counts, 0.9999, loss, 0.5 if loss == "focal" else None)(logits, target)
    torch.testing.assert_close(ours, authors, rtol=1e-7, atol=0)


PUBLISHED_FACTORS = {
    (5000, 10): {10: 1.60, 50: 3.72, 100: 5.85, 200: 9.54},
    (500, 100): {10: 1.54, 50: 3.26, 100: 4.93, 200: 8.17},
}


@pytest.mark.parametrize(
    ("largest", "classes", "imbalance"), [(*k, i) for k, v in PUBLISHED_FACTORS.items() for i in v]
)
def test_torchs_weighted_mean_is_another_loss(largest, classes, imbalance):
    """At beta 0.9999 dividing by the sum of weights multiplies the gradient over the data by these factors."""
    counts = long_tailed_counts(largest, classes, imbalance)
    target = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts))
    gradients = []
    for reduction in ("mean", "weighted_mean"):
        logits = torch.zeros(len(target), classes, dtype=torch.float64, requires_grad=True)
        ClassBalancedLoss(counts, 0.9999, reduction=reduction)(logits, target).backward()
        gradients.append(logits.grad)
    factor = PUBLISHED_FACTORS[largest, classes][imbalance]
    torch.testing.assert_close(gradients[1], gradients[0] * factor, rtol=0.005 / factor + 1e-9, atol=1e-12)


def test_weighted_mean_is_torchs():
    torch.manual_seed(0)
    logits, target, weight = torch.randn(32, 5), torch.randint(0, 5, (32,)), torch.rand(5) + 0.1
    torch.testing.assert_close(
        softmax_cross_entropy(logits, target, weight, "weighted_mean"), F.cross_entropy(logits, target, weight)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_beta_0_is_the_plain_loss_to_the_bit(loss):
    torch.manual_seed(0)
    logits, target = torch.randn(64, 10), torch.randint(0, 10, (64,))
    gamma = 0.5 if "focal" in loss else None
    assert ClassBalancedLoss([900, 80, 7] + [5] * 7, 0.0, loss, gamma)(logits, target) == call(loss, logits, target)


def test_class_balanced_focal_is_alpha_balanced_focal():
    """Section 4.3: CB focal is focal loss with alpha_t = (1 - beta) / (1 - beta^n); the weight stays outside p."""
    torch.manual_seed(0)
    counts, beta = np.array([5000, 500, 50, 5]), 0.999
    logits, target = torch.randn(64, 4, dtype=torch.float64), torch.randint(0, 4, (64,))
    ours = ClassBalancedLoss(counts, beta, "focal", 2.0, "none")(logits, target).numpy()
    z, y = logits.numpy(), target.numpy()
    p = 1 / (1 + np.exp(-np.where(np.arange(4) == y[:, None], z, -z)))
    alpha_balanced = ((1 - beta) / (1 - beta**counts))[y] * (-((1 - p) ** 2) * np.log(p)).sum(1)
    np.testing.assert_allclose(ours / alpha_balanced, (ours / alpha_balanced)[0], rtol=2e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_softmax_losses_know_masked_classes(gamma):
    """A logit of -inf takes its class out: value and slope are those without it, and it has none itself."""
    logits = torch.tensor([[1.0, -math.inf, 2.0]], requires_grad=True)
    short = torch.tensor([[1.0, 2.0]], requires_grad=True)
    masked, without = (softmax_focal_loss(z, torch.tensor([0]), gamma=gamma) for z in (logits, short))
    masked.backward()
    without.backward()
    torch.testing.assert_close(masked, without)
    torch.testing.assert_close(logits.grad[0, [0, 2]], short.grad[0])
    assert logits.grad[0, 1] == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ignored_targets_count_nowhere_even_where_a_class_is_masked(loss, reduction):
    """Class 0 stands in for what is ignored; where its logit is -inf, 0 times its loss must not be NaN."""
    logits = torch.tensor([[-math.inf, 1.0, 2.0], [-math.inf, 1.0, 2.0]], requires_grad=True)
    target, weight = torch.tensor([-100, 1]), torch.tensor([3.0, 2.0, 1.0])

    def total(z, y):
        return call(loss, z, y, weight, reduction=reduction).sum()

    torch.testing.assert_close(total(logits, target), total(logits[1:], target[1:]))
    expected = torch.autograd.grad(total(logits[1:], target[1:]), logits)[0]
    assert expected[0].tolist() == [0, 0, 0] and expected[1, 1] < 0
    kept = torch.autograd.grad(total(logits, target), logits, create_graph=True)[0]
    torch.testing.assert_close(kept, expected)
    assert torch.autograd.grad(kept.sum(), logits)[0].isfinite().all()
    torch.testing.assert_close(torch.func.grad(total)(logits.detach(), target), expected)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_targets_of_one_byte_lose_no_class_to_ignore_index(loss, reduction):
    """-100 in uint8 is 156."""
    torch.manual_seed(0)
    logits, target = torch.randn(2, 200), torch.tensor([156, 3])
    ours = call(loss, logits, target.to(torch.uint8), reduction=reduction)
    assert torch.equal(ours, call(loss, logits, target, reduction=reduction)) and (ours > 0).all()


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_that_are_learned_get_their_gradient(loss, reduction, dense):
    """For class indices d/dw_c of the sum is the loss of the targets of class c at weight 1, even at w_c = 0."""
    torch.manual_seed(0)
    logits, target = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 0, 1, 2, 2, 2])
    weight = torch.tensor([0.7, 0.0, 1.3], dtype=torch.float64, requires_grad=True)
    each = call(loss, logits, target, reduction="none")
    own = weight[target]
    divisor = {"mean": 6, "weighted_mean": own.sum()}.get(reduction, 1)
    expected = torch.autograd.grad((own * each / divisor).sum(), weight)[0]
    value = call(loss, logits, F.one_hot(target, 3) if dense else target, weight, reduction=reduction)
    torch.testing.assert_close(torch.autograd.grad(value.sum(), weight)[0], expected)


def test_focal_with_gamma_0_is_sigmoid_and_softmax_focal_is_neither():
    torch.manual_seed(0)
    logits, target = torch.randn(16, 4), torch.randint(0, 4, (16,))
    assert sigmoid_focal_loss(logits, target, gamma=0) == sigmoid_cross_entropy(logits, target)
    assert softmax_focal_loss(logits, target, gamma=0) == softmax_cross_entropy(logits, target)
    assert not torch.isclose(softmax_focal_loss(logits, target, gamma=1), sigmoid_focal_loss(logits, target, gamma=1))


# --- random cases against the reference -------------------------------------------------------------------------


@st.composite
def cases(draw):
    loss = draw(st.sampled_from(sorted(LOSSES)))
    classes = draw(st.integers(2 if loss == "softmax_focal" else 1, 6))  # of 1, (1 - p)^gamma has no plain gradient
    batch = draw(st.integers(0, 5))
    space = draw(st.sampled_from([(), (), (3,), (classes,), (classes, classes), (2, 1, 3)]))
    return {
        "loss": loss,
        "shape": (batch, classes, *space),
        "dtype": draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])),
        "kind": draw(st.sampled_from(["indices", "indices", "probabilities", "multi-hot"])),
        "integers": draw(st.sampled_from([torch.int64, torch.int32, torch.int16])),
        "ignored": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "ignore_index": draw(st.sampled_from([-100, -1, 255])),
        "weighted": draw(st.booleans()),
        "gamma": draw(st.sampled_from([0, 0.5, 1, 2, 5])),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
        "smoothing": draw(st.sampled_from([0.0, 0.0, 0.1, 1.0])),
        "scale": draw(st.sampled_from([0.1, 1.0, 4.0])),
        "strided": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**31)),
    }


def agrees_with_reference(case):
    """Value and gradient of one random case, each against the reference's."""
    rng = torch.Generator().manual_seed(case["seed"])
    shape, classes, ignore = case["shape"], case["shape"][1], case["ignore_index"]
    places = (shape[0], *shape[2:])
    logits = (torch.randn(shape, generator=rng, dtype=torch.float64) * case["scale"]).clamp(-8, 8).to(case["dtype"])
    if case["strided"]:
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    target = torch.randint(0, classes, places, generator=rng, dtype=case["integers"])
    ignored = torch.rand(places, generator=rng) < case["ignored"]
    if case["kind"] == "indices":
        target = torch.where(ignored, ignore, target).to(case["integers"])
    else:
        target = torch.rand(shape, generator=rng, dtype=torch.float64)
        target = target / target.sum(1, keepdim=True) if case["kind"] == "probabilities" else (target < 0.4).double()
        target = torch.where(ignored.unsqueeze(1), float(ignore), target)
    weight = torch.rand(classes, generator=rng, dtype=torch.float64) + 0.05 if case["weighted"] else None
    options = {"gamma": case["gamma"], "reduction": case["reduction"]}
    logits.requires_grad_()
    ours = call(case["loss"], logits, target, weight, ignore_index=ignore, label_smoothing=case["smoothing"], **options)
    exact = logits.detach().double().requires_grad_()
    theirs = reference(case["loss"], exact, target, weight, smoothing=case["smoothing"], ignore_index=ignore, **options)
    assert ours.dtype == (torch.float64 if case["dtype"] == torch.float64 else torch.float32)
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5}.get(case["dtype"], 1e-2)
    ours.sum().backward()
    theirs.sum().backward()
    value = min(tolerance, 1e-5)  # halves are computed in float32
    torch.testing.assert_close(ours.double(), theirs, rtol=value, atol=value)
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=tolerance, atol=tolerance)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(cases())
def test_random_cases(case):
    agrees_with_reference(case)


@pytest.mark.slow
def test_twenty_thousand_random_cases():
    count = 0

    @settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(cases())
    def run(case):
        nonlocal count
        count += 1
        agrees_with_reference(case)

    run()
    assert count >= 20_000


# --- targets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(4, 4, 4, 4), (4, 4), (3, 5, 2)])
def test_onehot_probabilities_are_class_indices(loss, shape):
    """Also where H = W = C = B, where only the number of dimensions tells indices from probabilities."""
    torch.manual_seed(0)
    logits, weight = torch.randn(shape, dtype=torch.float64), torch.rand(shape[1], dtype=torch.float64)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    onehot = F.one_hot(target, shape[1]).movedim(-1, 1)
    for reduction in REDUCTIONS:
        for smoothing in (0.0, 0.2):
            options = {"reduction": reduction, "label_smoothing": smoothing}
            torch.testing.assert_close(
                call(loss, logits, onehot.double(), weight, **options), call(loss, logits, target, weight, **options)
            )
            assert torch.equal(call(loss, logits, onehot, **options), call(loss, logits, onehot.bool(), **options))


@pytest.mark.parametrize("loss", LOSSES)
def test_pixels_are_targets_of_a_batch(loss):
    """(B, C, H, W) is B x H x W targets of C classes, in the value and in where each loss ends up."""
    torch.manual_seed(0)
    logits, target, weight = torch.randn(3, 4, 4, 4), torch.randint(0, 4, (3, 4, 4)), torch.rand(4)
    flat = call(loss, logits.permute(0, 2, 3, 1).reshape(-1, 4), target.reshape(-1), weight, reduction="none")
    torch.testing.assert_close(call(loss, logits, target, weight, reduction="none"), flat.reshape(3, 4, 4))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_softmax_losses_are_linear_in_the_target(gamma, smoothing):
    """sum_i t_i w_i l_i for any t >= 0: mixed labels, multi-hots, probabilities times a sample weight."""
    torch.manual_seed(0)
    logits, weight = torch.randn(6, 4, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    target = torch.rand(6, 4, dtype=torch.float64)
    pure = [
        softmax_focal_loss(logits, torch.full((6,), i), weight, gamma, "none", label_smoothing=smoothing)
        for i in range(4)
    ]
    ours = softmax_focal_loss(logits, target, weight, gamma, "none", label_smoothing=smoothing)
    torch.testing.assert_close(ours, (target * torch.stack(pure, 1)).sum(1))


def test_mixup_of_labels_is_the_mix_of_their_losses():
    torch.manual_seed(0)
    logits, weight = torch.randn(6, 3), torch.tensor([0.2, 0.8, 2.0])
    first, second = torch.arange(6) % 3, (torch.arange(6) + 1) % 3
    mix = 0.3 * F.one_hot(first, 3).float() + 0.7 * F.one_hot(second, 3).float()
    for reduction in ("mean", "sum", "none"):
        ours = softmax_cross_entropy(logits, mix, weight, reduction)
        parts = [softmax_cross_entropy(logits, y, weight, reduction) for y in (first, second)]
        torch.testing.assert_close(ours, 0.3 * parts[0] + 0.7 * parts[1])


def test_multi_hot_weighs_each_positive_by_its_own_class():
    """Positives weigh as their class, negatives as the positives beside them on average, 1 where there are none."""
    logits = torch.zeros(3, 4)
    target = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
    weight = torch.tensor([0.5, 1.0, 3.0, 7.0])
    element = torch.tensor([[0.5, 1.75, 3.0, 1.75], [1, 1, 1, 1], [1, 1, 1, 1]])
    torch.testing.assert_close(
        sigmoid_cross_entropy(logits, target, weight, "none"), element.sum(1) * torch.log(torch.tensor(2.0))
    )


def test_label_smoothing_is_torchs_and_leaves_the_weight_alone():
    torch.manual_seed(0)
    logits, target, weight = torch.randn(8, 5), torch.randint(0, 5, (8,)), torch.rand(5)
    expected = weight[target] * F.cross_entropy(logits, target, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(softmax_cross_entropy(logits, target, weight, "none", label_smoothing=0.1), expected)


@pytest.mark.parametrize("loss", ["softmax", "softmax_focal", "sigmoid", "focal"])
def test_probabilities_know_masked_classes_as_indices_do(loss):
    """0 times the infinite loss of a class that is masked, or certain, and has no share is 0."""
    function = {
        "softmax": softmax_cross_entropy,
        "softmax_focal": functools.partial(softmax_focal_loss, gamma=1.0),
        "sigmoid": sigmoid_cross_entropy,
        "focal": functools.partial(sigmoid_focal_loss, gamma=0.5),
    }[loss]
    logits = torch.tensor([[1.0, -math.inf, 2.0], [0.5, 1.0, -math.inf]], requires_grad=True)
    target = torch.tensor([0, 1])
    values, slopes = [], []
    for t in (target, torch.eye(3)[target]):
        values.append(function(logits, t))
        slopes.append(torch.autograd.grad(values[-1], logits)[0])
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*slopes)
    assert values[0].isfinite() and slopes[0].isfinite().all()
    weight, of_the_masked = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1, 0])
    forms = [torch.eye(3)[of_the_masked], of_the_masked]
    for t in forms:  # a class without images has weight 0
        value = function(logits[:1].expand(2, 3), t, weight=weight)
        assert value.isfinite() and torch.autograd.grad(value, logits)[0].isfinite().all()


# --- ignored targets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_ignored_targets_gives_0_and_zero_gradients(loss, reduction, dense):
    logits = torch.randn(4, 3, 2, requires_grad=True)
    target = torch.full((4, 3, 2) if dense else (4, 2), -100)
    value = call(loss, logits, target, torch.rand(3), reduction=reduction).sum()
    value.backward()
    assert value == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "sum"])
@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_targets_might_as_well_not_be_there(loss, reduction):
    torch.manual_seed(0)
    logits, target, weight = torch.randn(9, 4), torch.randint(0, 4, (9,)), torch.rand(4)
    target[::3] = 255
    kept = target != 255
    torch.testing.assert_close(
        call(loss, logits, target, weight, reduction=reduction, ignore_index=255),
        call(loss, logits[kept], target[kept], weight, reduction=reduction),
    )


def test_an_ignored_element_of_a_multi_hot_is_left_out_alone():
    logits, target = torch.zeros(2, 3), torch.tensor([[1.0, -100.0, 0.0], [1.0, 0.0, 0.0]])
    assert sigmoid_cross_entropy(logits, target, reduction="none").tolist() == pytest.approx(
        [2 * np.log(2), 3 * np.log(2)]
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_empty_batch_and_single_class(loss):
    logits = torch.randn(0, 3, requires_grad=True)
    value = call(loss, logits, torch.zeros(0, dtype=torch.long))
    value.backward()
    assert value == 0 and logits.grad.shape == (0, 3)
    lone = torch.randn(4, 1, requires_grad=True)
    value = call(loss, lone, torch.zeros(4, dtype=torch.long))
    value.backward()
    assert lone.grad.isfinite().all() and (value == 0 if "softmax" in loss else value > 0)


BAD = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_bad_logits_of_ignored_targets_reach_neither_loss_nor_shared_parameters(loss, reduction, dense, smoothing):
    """The loss, and the gradient of a layer that all rows share, are those of the batch without the ignored rows."""
    torch.manual_seed(0)
    inputs, weight = torch.randn(4, 5), torch.tensor([0.5, 1.0, 2.0])
    target = torch.tensor([0, -100, 1, 2])
    kept = torch.tensor([0, 2, 3])
    if dense:
        target = torch.where((target == -100)[:, None], -100, F.one_hot(target.clamp(min=0), 3))
    layer = torch.nn.Linear(5, 3)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    without = call(loss, layer(inputs[kept]), target[kept], weight, **options)
    expected = torch.autograd.grad(without.sum(), layer.weight)[0]
    for bad in BAD:
        logits = layer(inputs).masked_fill(torch.tensor([[0], [1], [0], [0]], dtype=torch.bool), bad)
        logits.retain_grad()
        value = call(loss, logits, target, weight, **options)
        gradient = torch.autograd.grad(value.sum(), [logits, layer.weight])
        torch.testing.assert_close(value.sum(), without.sum())
        torch.testing.assert_close(gradient[1], expected)
        assert (gradient[0][1] == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("loss", ["sigmoid", "focal"])
def test_bad_logits_of_ignored_elements_count_nowhere(loss, smoothing):
    torch.manual_seed(0)
    target = torch.tensor([[1.0, -100.0, 0.0], [0.0, 1.0, 1.0]])
    clean = torch.randn(2, 3, requires_grad=True)
    expected = call(loss, clean, target, label_smoothing=smoothing)
    slope = torch.autograd.grad(expected, clean)[0]
    assert slope[0, 1] == 0
    for bad in BAD:
        logits = clean.detach().clone()
        logits[0, 1] = bad
        logits.requires_grad_()
        value = call(loss, logits, target, label_smoothing=smoothing)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, logits)[0], slope)


# --- one logit for two classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("loss", ["sigmoid", "focal"])
def test_binary_head_with_one_logit(loss, smoothing, reduction):
    """w_t (1 - p^t)^gamma BCE of one logit, whatever the shape of logits and target, in value and gradient."""
    torch.manual_seed(0)
    gamma = 2.0 if loss == "focal" else 0.0
    z, y = torch.randn(6, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 1, 0, 1, 0])
    weight = torch.tensor([0.4, 1.6], dtype=torch.float64)
    t = (1 - smoothing) * y + smoothing / 2
    p = torch.sigmoid(z)
    each = weight[y] * -(t * (1 - p) ** gamma * p.log() + (1 - t) * p**gamma * (1 - p).log())
    divisor = {"mean": 6, "weighted_mean": weight[y].sum()}.get(reduction, 1)
    expected = each if reduction == "none" else each.sum() / divisor
    slope = torch.autograd.grad(expected.sum(), z)[0]
    for logits in (z, z[:, None]):
        for target in (y, y[:, None], y.double(), y[:, None].float(), y.bool()):
            options = {"reduction": reduction, "label_smoothing": smoothing}
            value = call(loss, logits, target, weight, gamma=gamma, **options)
            torch.testing.assert_close(value, expected)
            torch.testing.assert_close(torch.autograd.grad(value.sum(), z)[0], slope)


@pytest.mark.parametrize(("target", "wrong"), [([0.0, 255.0], "255; divide"), ([-1.0, 1.0], "-1"), ([0.0, 2.0], "2")])
def test_binary_head_names_the_label_that_is_wrong(target, wrong):
    with pytest.raises(ValueError, match=rf"target must lie in \[0, 1\] .*got {wrong}"):
        sigmoid_cross_entropy(torch.zeros(2), torch.tensor(target), torch.ones(2))


def test_binary_head_of_pixels_with_ignored_targets():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 1, 3, 3), torch.randint(0, 2, (2, 3, 3))
    target[0, 0, 0] = 255
    module = ClassBalancedLoss([900, 100], 0.999, "sigmoid", ignore_index=255)
    each = module.weight[target.clamp(max=1)] * F.binary_cross_entropy_with_logits(
        logits[:, 0], target.clamp(max=1).float(), reduction="none"
    )
    expected = (each * (target != 255)).sum() / 17
    torch.testing.assert_close(module(logits, target), expected)
    torch.testing.assert_close(module(logits, target[:, None].float()), expected)


def test_one_logit_without_two_weights_is_one_class():
    logits = torch.tensor([[0.3], [-0.2]])
    expected = F.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(sigmoid_cross_entropy(logits, torch.tensor([[1.0], [0.0]])), expected)


# --- balanced softmax -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("space", [(), (3,)])
def test_balanced_softmax_is_cross_entropy_of_shifted_logits(space, smoothing, reduction):
    """Ren et al. 2020: p_y = n_y exp(z_y) / sum_i n_i exp(z_i), for class indices, with torch's cross-entropy."""
    torch.manual_seed(0)
    counts = [5000, 500, 3]
    logits = torch.randn(6, 3, *space, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (6, *space))
    target[0] = -100
    shifted = logits + torch.tensor(counts).double().log().view(1, 3, *[1] * len(space))
    expected = F.cross_entropy(shifted, target, reduction=reduction, label_smoothing=smoothing)
    for form in (counts, torch.tensor(counts), np.array(counts), dict(enumerate(counts))):
        value = balanced_softmax_loss(logits, target, form, reduction, label_smoothing=smoothing)
        torch.testing.assert_close(value, expected)
    slopes = [torch.autograd.grad(x.sum(), logits)[0] for x in (value, expected)]
    torch.testing.assert_close(*slopes)


def test_balanced_softmax_of_probabilities_and_of_equal_counts():
    torch.manual_seed(0)
    logits, target = torch.randn(5, 3), torch.rand(5, 3).softmax(1)
    shifted = logits + torch.tensor([4.0, 2.0, 1.0]).log()
    torch.testing.assert_close(balanced_softmax_loss(logits, target, [4, 2, 1]), F.cross_entropy(shifted, target))
    torch.testing.assert_close(balanced_softmax_loss(logits, target, [7, 7, 7]), F.cross_entropy(logits, target))


def test_balanced_softmax_in_half_precision_is_that_of_float32():
    logits, target = torch.randn(5, 3).half(), torch.tensor([0, 1, 2, 0, 1])
    value = balanced_softmax_loss(logits, target, [10**6, 10, 1])
    assert value == balanced_softmax_loss(logits.float(), target, [10**6, 10, 1])


@pytest.mark.parametrize("counts", [[5, 0, 3], [5, 3], [5, -1, 3], "abc", torch.tensor([5, 0, 3])])
def test_balanced_softmax_names_wrong_counts(counts):
    with pytest.raises(ValueError, match="class_counts must be"):
        balanced_softmax_loss(torch.zeros(2, 3), torch.tensor([0, 1]), counts)
