"""What the losses refuse: every error names the argument, what is allowed, and what was given."""

import pytest
import torch

from replication import ClassBalancedLoss
from replication.losses import sigmoid_cross_entropy, sigmoid_focal_loss, softmax_cross_entropy, softmax_focal_loss

LOSSES = {
    "softmax": softmax_cross_entropy,
    "sigmoid": sigmoid_cross_entropy,
    "focal": sigmoid_focal_loss,
    "softmax_focal": softmax_focal_loss,
}


def call(loss, *arguments, **options):
    return LOSSES[loss](*arguments, **options)


Z, Y = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ((Z.long(), Y), {}, TypeError, r"logits must be a floating-point tensor, got a tensor of torch.int64"),
        ((Z[0], Y), {}, ValueError, r"logits must be \(B, C\).*got shape \(3,\)"),
        ((Z[:, :0], Y), {}, ValueError, r"C >= 1, got shape \(4, 0\)"),
        ((Z[0], Y[:1]), {}, ValueError, r"logits must be \(B, C\).*got shape \(3,\)"),
        ((Z[0], Y[0]), {}, ValueError, r"logits must be \(B, C\).*got shape \(3,\)"),
        ((Z, Y.float()), {}, TypeError, r"target must hold integers .*float32"),
        ((Z, Y.bool()), {}, TypeError, r"target must hold integers .*bool"),
        ((Z, [0, 1, 2, 0]), {}, TypeError, r"target must be a tensor"),
        ((Z, Y[:3]), {}, ValueError, r"target must have shape \(4,\) .*got \(3,\)"),
        ((Z, torch.zeros(4, 5)), {}, ValueError, r"target must have shape .*\(4, 3\).*got \(4, 5\)"),
        ((Z, Y + 1), {}, ValueError, r"target must hold class indices in \[0, 2\].*got 3"),
        ((Z, Y - 1), {}, ValueError, r"target must hold class indices in \[0, 2\].*got -1"),
        ((Z, torch.full((4,), torch.nan).long()), {}, ValueError, r"target must hold class indices in \[0, 2\]"),
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
    if len(arguments) == 2:
        with pytest.raises(error, match=says):
            ClassBalancedLoss([500, 90, 50], 0.99, **options)(*arguments)


@pytest.mark.parametrize("gamma", [-1, float("nan"), float("inf"), "one"])
@pytest.mark.parametrize("loss", ["focal", "softmax_focal"])
def test_gamma_is_finite_and_not_negative(loss, gamma):
    with pytest.raises(ValueError, match=f"gamma must be a finite number >= 0, got {gamma!r}"):
        call(loss, Z, Y, gamma=gamma)


@pytest.mark.parametrize(("dtype", "gamma"), [(torch.float32, 1e39), (torch.float32, 1e12), (torch.float16, 1e39)])
@pytest.mark.parametrize("loss", ["focal", "softmax_focal"])
def test_gamma_fits_the_dtype(loss, dtype, gamma):
    with pytest.raises(ValueError, match="gamma must be at most .*float32"):
        call(loss, Z.to(dtype), Y, gamma=gamma)


@pytest.mark.parametrize("gamma", [1e4, 4e9])
@pytest.mark.parametrize("loss", ["focal", "softmax_focal"])
def test_a_gamma_that_fits_gives_finite_derivatives(loss, gamma):
    logits = torch.tensor([[100.0, -100.0, 0.0], [-100.0, 100.0, 0.0]], requires_grad=True)
    value = call(loss, logits, torch.tensor([0, 0]), gamma=gamma)
    (slope,) = torch.autograd.grad(value, logits, create_graph=True)
    assert value.isfinite() and slope.isfinite().all() and torch.autograd.grad(slope.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize(
    "wrong", [[-1.0, 1.0, 1.0], [float("nan"), 1.0, 1.0], [1.0, float("inf"), 1.0], [1j, 1.0, 1.0]]
)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_are_finite_and_not_negative(loss, wrong):
    for weight in (wrong, torch.tensor(wrong)):
        for target in (Y, torch.eye(3)[Y]):
            with pytest.raises(ValueError, match=r"weight must be (finite and >= 0|real)"):
                call(loss, Z, target, weight)


@pytest.mark.parametrize("wrong", [255.0, -0.5, float("nan"), 1.5])
@pytest.mark.parametrize("loss", LOSSES)
def test_elements_of_dense_targets_lie_between_0_and_1(loss, wrong):
    target = torch.eye(3)[Y]
    target[1, 2] = wrong
    with pytest.raises(ValueError, match=r"target must lie in \[0, 1\]"):
        call(loss, Z, target)


@pytest.mark.parametrize("weight", ["abc", [[1.0], [2.0, 3.0]], [None, 1.0, 1.0]])
def test_weights_that_are_no_numbers(weight):
    for logits in (Z, Z.tolist()):
        with pytest.raises(ValueError, match="weight must be one number for each class, got"):
            softmax_cross_entropy(logits, Y, weight)


def test_rounding_above_1_and_ignored_elements_pass():
    target = torch.tensor([[1 + 1e-6, 0.0, 0.0], [-100.0, 0.0, 1.0]])
    assert all(call(loss, Z[:2], target).isfinite() for loss in LOSSES)


@pytest.mark.parametrize("loss", ["softmax", "softmax_focal"])
def test_one_logit_for_two_classes_is_for_the_sigmoid_losses(loss):
    with pytest.raises(ValueError, match="weight must be one number for each of the 1 classes"):
        call(loss, torch.zeros(4, 1), Y.clamp(max=1), torch.ones(2))
    with pytest.raises(ValueError, match=r"logits must be \(B, C\)"):
        call(loss, torch.zeros(4), Y.clamp(max=1), torch.ones(2))


@pytest.mark.parametrize("target", [torch.zeros(3), torch.zeros(4, 2), [0, 1, 0, 1]])
def test_a_binary_target_has_the_shape_of_its_logits(target):
    with pytest.raises(ValueError, match="target must be a tensor of shape"):
        ClassBalancedLoss([900, 100], 0.999, "sigmoid")(torch.zeros(4, 1), target)


def test_messages_stay_short():
    for arguments in ((torch.zeros(9999).tolist(), Y), (Z, list(range(9999))), (Z, Y, torch.arange(-9999.0, -9996.0))):
        with pytest.raises((TypeError, ValueError)) as caught:
            call("softmax", *arguments)
        assert len(str(caught.value)) < 300
