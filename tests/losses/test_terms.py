"""Extreme logits against mpmath, derivatives of both orders, and the faults measured in other implementations."""

import itertools

import mpmath
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from replication.losses import sigmoid_cross_entropy, sigmoid_focal_loss, softmax_cross_entropy, softmax_focal_loss
from replication.losses.terms import prior_bias

EXTREMES = [0.0, 12.0, -12.0, 100.0, -100.0, 1e4, -1e4]
GAMMAS = [0, 0.5, 1, 2, 5]
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 1e-2}
DTYPES = list(TOLERANCE)


def representable(dtype):
    return torch.tensor(EXTREMES).to(dtype).double().tolist()  # 1e4 is 9984 in bfloat16


def binary_term(u, gamma):
    """f(u) = sigmoid(u)^gamma log(1 + e^u) and f'(u), at 50 digits and any exponent."""
    u, gamma = mpmath.mpf(u), mpmath.mpf(gamma)
    s, rest = 1 / (1 + mpmath.exp(-u)), 1 / (1 + mpmath.exp(u))
    loss = mpmath.log1p(mpmath.exp(u))
    return s**gamma * loss, s**gamma * (gamma * rest * loss + s)


def softmax_term(z, gamma):
    """(1 - p)^gamma (-log p) of the first class, and its gradient in z."""
    z, gamma = [mpmath.mpf(x) for x in z], mpmath.mpf(gamma)
    others = sum(mpmath.exp(x - z[0]) for x in z[1:])  # (1 - p) / p
    p, q, loss = 1 / (1 + others), others / (1 + others), mpmath.log1p(others)
    slope = q**gamma + gamma * q ** (gamma - 1) * p * loss
    share = [mpmath.exp(x - z[0]) * p for x in z]
    return q**gamma * loss, [slope * -q, *(slope * x for x in share[1:])]


def assert_within(ours, exact, tolerance):
    """Finite, and within tolerance of the larger of 1 and the exact value."""
    exact = torch.tensor([float(x) for x in exact], dtype=torch.float64)
    assert ours.isfinite().all()
    worst = ((ours.detach().double() - exact).abs() / exact.abs().clamp(min=1)).max()
    assert worst <= tolerance, float(worst)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_sigmoid_and_focal_at_extreme_logits(gamma, dtype):
    """Every pair (true logit, other logit), in value and gradient."""
    values = representable(dtype)
    with mpmath.workdps(50):
        terms = {(v, sign): binary_term(sign * v, gamma) for v in values for sign in (1, -1)}
    pairs = list(itertools.product(values, values))
    loss = sigmoid_cross_entropy if gamma == 0 else lambda *a, **k: sigmoid_focal_loss(*a, gamma=gamma, **k)
    logits = torch.tensor(pairs, dtype=dtype, requires_grad=True)
    ours = loss(logits, torch.zeros(len(pairs), dtype=torch.long), reduction="none")
    ours.sum().backward()
    assert_within(ours, [terms[a, -1][0] + terms[b, 1][0] for a, b in pairs], TOLERANCE[dtype])
    assert_within(logits.grad[:, 0], [-terms[a, -1][1] for a, _ in pairs], TOLERANCE[dtype])
    assert_within(logits.grad[:, 1], [terms[b, 1][1] for _, b in pairs], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_softmax_and_softmax_focal_at_extreme_logits(gamma, dtype):
    """Every triple of logits, in value and gradient."""
    triples = list(itertools.product(representable(dtype), repeat=3))
    with mpmath.workdps(50):
        exact = [softmax_term(triple, gamma) for triple in triples]
    loss = softmax_cross_entropy if gamma == 0 else lambda *a, **k: softmax_focal_loss(*a, gamma=gamma, **k)
    logits = torch.tensor(triples, dtype=dtype, requires_grad=True)
    ours = loss(logits, torch.zeros(len(triples), dtype=torch.long), reduction="none")
    ours.sum().backward()
    assert_within(ours, [value for value, _ in exact], TOLERANCE[dtype])
    for i in range(3):
        assert_within(logits.grad[:, i], [gradient[i] for _, gradient in exact], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("loss", [sigmoid_focal_loss, softmax_focal_loss])
def test_probabilities_at_extreme_logits(loss, gamma, dtype):
    """Targets of the logits' shape go another way through the code; one-hot, they must end where indices do."""
    logits = torch.tensor(list(itertools.product(representable(dtype), repeat=3)), dtype=dtype)
    index = torch.arange(len(logits)) % 3
    results = []
    for target in (index, torch.eye(3)[index]):
        z = logits.clone().requires_grad_()
        value = loss(z, target, gamma=gamma, reduction="none")
        value.sum().backward()
        results.append((value, z.grad))
    assert results[1][0].isfinite().all() and results[1][1].isfinite().all()
    torch.testing.assert_close(results[1], results[0], rtol=TOLERANCE[dtype] * 3, atol=TOLERANCE[dtype] * 3)


def test_small_losses_keep_their_digits():
    """8,000 easy negatives of 1e-5 each make up a loss: each is right to 1e-6 of itself, not of 1."""
    logits = torch.full((1, 8000), -12.0, requires_grad=True)
    sigmoid_cross_entropy(logits, torch.tensor([0])).backward()
    exact = 1 / (1 + torch.exp(torch.tensor(12.0, dtype=torch.float64)))
    torch.testing.assert_close(logits.grad[0, 1:].double(), exact.expand(7999), rtol=1e-6, atol=0)


# --- faults measured in other implementations -----------------------------------------------------------------


@pytest.mark.parametrize(("logit", "dtype"), [(-89.0, torch.float32), (-11.5, torch.float16), (-1e4, torch.float16)])
@pytest.mark.parametrize("gamma", [0.5, 1, 2])
def test_a_badly_wrong_true_class_costs_its_logit(logit, dtype, gamma):
    """The modulator exp(-gamma y z - gamma log1p(exp(-z))) overflows here: loss 0, gradient NaN. It should be -z."""
    logits = torch.tensor([[logit]], dtype=dtype, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([0]), gamma=gamma)
    loss.backward()
    assert loss.item() == pytest.approx(-logit, rel=1e-3) and logits.grad.item() == pytest.approx(-1, rel=1e-3)


@pytest.mark.parametrize(("size", "dtype"), [(17.0, torch.float32), (6.5, torch.bfloat16), (8.5, torch.float16)])
@pytest.mark.parametrize("loss", [sigmoid_focal_loss, softmax_focal_loss])
def test_easy_samples_have_gradients_below_gamma_1(loss, size, dtype):
    """(1 - p)^gamma with gamma < 1 has a NaN gradient where p rounds to 1: here every class is easy."""
    for scale in (1, 2, 10, 1000):
        logits = torch.tensor([[size * scale, -size * scale]], dtype=dtype, requires_grad=True)
        loss(logits, torch.tensor([0]), gamma=0.5).backward()
        assert logits.grad.isfinite().all() and logits.grad.abs().max() < 0.05


def test_softmax_is_not_binary_cross_entropy_of_probabilities():
    logits, target = torch.tensor([[2.0, 0.5, -1.0]]), torch.tensor([0])
    p = logits.softmax(1)
    assert softmax_cross_entropy(logits, target).item() == pytest.approx(-p[0, 0].log().item(), rel=1e-6)
    other = torch.nn.functional.binary_cross_entropy(p, torch.eye(3)[target])
    assert abs(softmax_cross_entropy(logits, target) - other) > 0.05


# --- derivatives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["indices", "smoothed", "probabilities"])
@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "none"])
@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (softmax_cross_entropy, {}),
        (sigmoid_cross_entropy, {}),
        (sigmoid_focal_loss, {"gamma": 0.5}),
        (sigmoid_focal_loss, {"gamma": 1}),
        (sigmoid_focal_loss, {"gamma": 2}),
        (softmax_focal_loss, {"gamma": 0.5}),
    ],
)
def test_first_and_second_derivatives(loss, options, reduction, kind):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 2))
    target[0, 0] = -100
    if kind == "probabilities":
        target = torch.rand(2, 3, 2, dtype=torch.float64).softmax(1)
    options = options | {"reduction": reduction, "label_smoothing": 0.1 if kind == "smoothed" else 0.0}
    weight = torch.rand(3, dtype=torch.float64)
    assert gradcheck(lambda z: loss(z, target, weight, **options), logits)
    assert gradgradcheck(lambda z: loss(z, target, weight, **options), logits)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 3])
def test_pieces_of_a_large_batch_are_the_whole(gamma):
    """Above 2^16 elements the batch is worked in pieces, down to a sample each; the result must not show it."""
    torch.manual_seed(0)
    logits = torch.randn(5, 7, 120, 110, dtype=torch.float64, requires_grad=True)
    target, weight = torch.randint(0, 7, (5, 120, 110)), torch.rand(7, dtype=torch.float64)
    whole = sigmoid_focal_loss(logits, target, weight, gamma)
    (gradient,) = torch.autograd.grad(whole, logits)
    single = [sigmoid_focal_loss(z[None], y[None], weight, gamma) for z, y in zip(logits, target, strict=True)]
    torch.testing.assert_close(whole, torch.stack(single).mean())
    torch.testing.assert_close(gradient, torch.autograd.grad(torch.stack(single).mean(), logits)[0])
    with torch.no_grad():
        assert sigmoid_focal_loss(logits, target, weight, gamma) == whole
        each = sigmoid_focal_loss(logits, target, weight, gamma, "none")
    torch.testing.assert_close(each.mean(), whole.detach())


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 5])
def test_third_derivative_of_the_focal_loss(gamma):
    """The second derivative is a formula; autograd differentiates it once more."""
    logits = torch.tensor([[0.7, -1.3]], dtype=torch.float64, requires_grad=True)

    def gradient_of_gradient(z):
        first = torch.autograd.grad(sigmoid_focal_loss(z, torch.tensor([0]), gamma=gamma), z, create_graph=True)[0]
        return torch.autograd.grad((first**2).sum(), z, create_graph=True)[0]

    assert gradcheck(gradient_of_gradient, logits)


@pytest.mark.parametrize("classes", [2, 10, 8142])
def test_prior_bias_gives_each_class_probability_one_in_c(classes):
    """Section 5.2."""
    assert 1 / (1 + mpmath.exp(-prior_bias(classes))) == pytest.approx(1 / classes)


def test_prior_bias_of_a_single_class_is_0():
    assert prior_bias(1) == 0
