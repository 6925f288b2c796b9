"""Section 4's losses: the authors' formula, reductions, targets, weights, ignored targets, the module, and guards.

`reference` below is the formula written out in float64 with one-hot targets, as the authors' code has it, by nothing
that the package uses. test_losses_numerics.py holds extreme logits and derivatives, test_losses_transforms.py autocast,
compilers and torch.func.
"""

import copy
import functools
import math
import pickle
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings

from replication import ClassBalancedLoss, class_balanced_weights, long_tailed_counts
from replication.losses import sigmoid_cross_entropy, sigmoid_focal_loss, softmax_cross_entropy, softmax_focal_loss

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
    torch.testing.assert_close(ours, authors, rtol=1e-13, atol=0)


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
    np.testing.assert_allclose(ours / alpha_balanced, (ours / alpha_balanced)[0], rtol=1e-12)


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


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_weights_that_are_learned_get_their_gradient(gamma):
    """d/dw_c of the sum is the loss of the targets of class c at weight 1."""
    torch.manual_seed(0)
    logits, target = torch.randn(6, 3), torch.tensor([0, 0, 1, 2, 2, 2])
    weight = torch.rand(3, requires_grad=True)
    sigmoid_focal_loss(logits, target, weight, gamma, "sum").backward()
    each = sigmoid_focal_loss(logits, target, None, gamma, "none")
    torch.testing.assert_close(weight.grad, torch.zeros(3).index_add(0, target, each))


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
    ours = call(
        case["loss"], logits, target, weight, ignore_index=ignore, label_smoothing=case["smoothing"], **options
    )
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


def test_mixup_weighs_by_expectation():
    """Softmax with probabilities: E[w] times the cross entropy, which with equal weights is torch's."""
    torch.manual_seed(0)
    logits, weight = torch.randn(6, 3), torch.tensor([0.2, 0.8, 2.0])
    mix = 0.3 * F.one_hot(torch.arange(6) % 3, 3).float() + 0.7 * F.one_hot((torch.arange(6) + 1) % 3, 3).float()
    expected = (mix @ weight) * F.cross_entropy(logits, mix, reduction="none")
    torch.testing.assert_close(softmax_cross_entropy(logits, mix, weight, "none"), expected)


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


# --- the module -------------------------------------------------------------------------------------------------


def test_weights_are_a_float64_buffer_that_travels():
    module = ClassBalancedLoss([900, 80, 7], 0.999, "focal", 0.5)
    assert module.weight.dtype == torch.float64 and list(module.state_dict()) == ["weight"]
    assert module.weight.tolist() == class_balanced_weights([900, 80, 7], 0.999).tolist()
    assert not list(module.parameters())
    logits, target = torch.randn(6, 3), torch.randint(0, 3, (6,))
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert copied(logits, target) == module(logits, target)
    assert copy.deepcopy(module).to(torch.float32).weight.dtype == torch.float32
    assert module.to("meta").weight.is_meta


def test_empty_class_of_weight_0_adds_nothing_but_counts_in_the_mean():
    module = ClassBalancedLoss([900, 0, 70], 0.999, empty="zero", reduction="none")
    loss = module(torch.zeros(3, 3), torch.tensor([0, 1, 2]))
    assert loss[1] == 0 and (loss[[0, 2]] > 0).all() and loss.isfinite().all()


def test_repr_says_what_it_is():
    assert "2 classes, beta=0.9, loss='focal', gamma=2" in repr(ClassBalancedLoss([40, 21], 0.9, "focal", 2))


def warned(*arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = ClassBalancedLoss(*arguments)
        module(torch.zeros(1, len(arguments[0])), torch.tensor([0]))
        module(torch.zeros(1, len(arguments[0])), torch.tensor([0]))
    return [str(w.message) for w in caught]


def test_warns_once_of_a_beta_that_re_balances_nothing():
    [message] = warned([5000, 500, 100], 0.9)
    assert "beta = 0.9" in message and "100 to 5000" in message


def test_warns_once_of_counts_of_a_batch():
    [message] = warned([100, 20, 8], 0.99)  # 128 altogether
    assert "128 samples" in message
    [message] = warned([2, 1, 1], 0.9)  # fewer than two a class
    assert "4 samples" in message


@pytest.mark.parametrize(
    "arguments",
    [([5000, 500, 50], 0.9999), ([5000, 500], 0.0), ([500, 500], 0.9), (long_tailed_counts(150, 10, 10), 0.9)],
)
def test_warns_of_nothing_else(arguments):
    """Not of beta = 0, which asks for no weights, nor of balanced classes, nor of a small data set."""
    assert warned(*arguments) == []


# --- guards -----------------------------------------------------------------------------------------------------

Z, Y = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ((Z.long(), Y), {}, TypeError, r"logits must be a floating-point tensor, got a tensor of torch.int64"),
        ((Z[0], Y), {}, ValueError, r"logits must be \(B, C\).*got shape \(3,\)"),
        ((Z[:, :0], Y), {}, ValueError, r"C >= 1, got shape \(4, 0\)"),
        ((Z, Y.float()), {}, TypeError, r"target must hold integers .*float32"),
        ((Z, Y.bool()), {}, TypeError, r"target must hold integers .*bool"),
        ((Z, [0, 1, 2, 0]), {}, TypeError, r"target must be a tensor"),
        ((Z, Y[:3]), {}, ValueError, r"target must have shape \(4,\) .*got \(3,\)"),
        ((Z, torch.zeros(4, 5)), {}, ValueError, r"target must have shape .*\(4, 3\).*got \(4, 5\)"),
        ((Z, Y + 1), {}, ValueError, r"target must hold class indices in \[0, 2\].*got 3"),
        ((Z, Y - 1), {}, ValueError, r"target must hold class indices in \[0, 2\].*got -1"),
        ((Z, Y, torch.ones(4)), {}, ValueError, r"weight must be one number for each of the 3 classes.*\(4,\)"),
        ((Z, Z), {"ignore_index": 1}, ValueError, r"ignore_index must not be 0 or 1"),
        ((Z, Y), {"ignore_index": 0.5}, TypeError, r"ignore_index must be an integer, got 0.5"),
        ((Z, Y), {"reduction": "average"}, ValueError, r"reduction must be one of .*got 'average'"),
        ((Z, Y), {"label_smoothing": 1.5}, ValueError, r"label_smoothing must be a number in \[0, 1\], got 1.5"),
    ],
)
def test_guards_name_argument_value_and_range(arguments, options, error, says):
    for loss in LOSSES:
        with pytest.raises(error, match=says):
            call(loss, *arguments, **options)


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
    for t in forms[: 1 if loss == "softmax" else 2]:  # a class without images: weight 0; torch's own kernel gives NaN
        value = function(logits[:1].expand(2, 3), t, weight=weight)
        assert value.isfinite() and torch.autograd.grad(value, logits)[0].isfinite().all()


@pytest.mark.parametrize("gamma", [-1, float("nan"), float("inf"), "one"])
@pytest.mark.parametrize("loss", ["focal", "softmax_focal"])
def test_gamma_is_finite_and_not_negative(loss, gamma):
    with pytest.raises(ValueError, match=f"gamma must be a finite number >= 0, got {gamma!r}"):
        call(loss, Z, Y, gamma=gamma)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (([9, 5], 0.9, "hinge"), {}, r"loss must be one of .*'hinge'"),
        (([9, 5], 0.9, "focal"), {}, r"gamma must be given for the focal losses"),
        (([9, 5], 0.9, "softmax_focal"), {}, r"gamma must be given for the focal losses"),
        (([9, 5], 0.9, "sigmoid", 1.0), {}, r"gamma must be given for the focal losses and no other, got 1.0"),
        (([9, 5], 0.9, "focal", -1.0), {}, r"gamma must be a finite number >= 0, got -1.0"),
        (([9, 5], 0.9), {"reduction": "median"}, r"reduction must be one of"),
        (([9, 5], 0.9), {"label_smoothing": -0.1}, r"label_smoothing must be"),
        (([9, 5], 1.1), {}, r"beta must be in \[0, 1\], got 1.1"),
        (([9, -5], 0.9), {}, r"class_counts must be finite and >= 0, got -5"),
        (([9, float("nan")], 0.9), {}, r"class_counts .*got nan"),
        (([9, 0, 5, 0], 0.9), {}, r"class_counts .*classes \[1, 3\]"),
    ],
)
def test_the_module_refuses_at_construction(arguments, options, says):
    with pytest.raises(ValueError, match=says):
        ClassBalancedLoss(*arguments, **options)


def test_the_module_names_the_number_of_classes_it_was_made_for():
    with pytest.raises(ValueError, match=r"weight must be one number for each of the 3 classes of logits.*\(2,\)"):
        ClassBalancedLoss([40, 21], 0.9)(Z, Y)
