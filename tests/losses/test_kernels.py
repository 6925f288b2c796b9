"""The losses under autocast, compilers, export and torch.func: the same values and gradients as without."""

import contextlib
import warnings

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from replication import ClassBalancedLoss
from replication.losses import (
    balanced_softmax_loss,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_focal_loss,
    targets,
)

LOSSES = [softmax_cross_entropy, sigmoid_cross_entropy, sigmoid_focal_loss, softmax_focal_loss]
KINDS = [("softmax", None), ("sigmoid", None), ("focal", 0.5), ("softmax_focal", 0.5)]


def batch(size=6, classes=4, seed=0):
    torch.manual_seed(seed)
    target = torch.randint(0, classes, (size,))
    target[1] = -100
    return torch.randn(size, classes) * 3, target


def gradient(loss, logits, target):
    z = logits.clone().requires_grad_()
    value = loss(z, target)
    value.backward()
    return value.detach(), z.grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("loss", "gamma"), KINDS)
def test_autocast_computes_in_float32(loss, gamma, dtype):
    """A linear layer returns halves under autocast; their loss equals the loss of the same numbers in float32."""
    module = ClassBalancedLoss([900, 90, 30, 9], 0.999, loss, gamma)
    layer = torch.nn.Linear(8, 4)
    inputs, (_, target) = torch.randn(6, 8), batch()
    with torch.autocast("cpu", dtype=dtype):
        logits = layer(inputs)
        value = module(logits, target)
    assert logits.dtype == dtype and value.dtype == torch.float32
    torch.testing.assert_close(value, module(logits.float(), target))
    value.backward()
    assert layer.weight.grad.isfinite().all() and layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_compiles_as_one_graph_with_probabilities(loss):
    """fullgraph=True fails on any graph break, such as a wait for a value; the gradient must be eager's."""
    use_compile(loss, batch()[0], torch.eye(4)[batch()[1].clamp(min=0)])


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_compiles_to_code(loss):
    """The same through Inductor, which needs a C++ compiler."""
    torch.compiler.reset()
    logits, target = batch()
    compiled = torch.compile(loss, fullgraph=True)
    torch.testing.assert_close(gradient(compiled, logits, target), gradient(loss, logits, target))
    value, slope = gradient(compiled, logits, torch.full_like(target, -100))
    assert value == 0 and (slope == 0).all()


@pytest.mark.parametrize(("loss", "gamma"), KINDS)
def test_exports_with_any_batch_size(loss, gamma):
    module = ClassBalancedLoss([900, 90, 30, 9], 0.999, loss, gamma)
    rows = torch.export.Dim("rows", min=2, max=100)
    exported = torch.export.export(module, batch(), dynamic_shapes=({0: rows}, {0: rows})).module()
    torch.testing.assert_close(exported(*batch(17, seed=1)), module(*batch(17, seed=1)))


@pytest.mark.parametrize("loss", LOSSES)
def test_per_sample_gradients_by_vmap_of_grad(loss):
    logits, target = batch()
    per_sample = torch.func.vmap(torch.func.grad(lambda z, y: loss(z[None], y[None])))(logits, target)
    one_by_one = [gradient(loss, z[None], y[None])[1][0] for z, y in zip(logits, target, strict=True)]
    torch.testing.assert_close(per_sample, torch.stack(one_by_one))


@pytest.mark.parametrize("loss", LOSSES)
def test_hessian_by_torch_func_is_that_of_double_backward(loss):
    logits, target = batch(3)
    forward_over_reverse = torch.func.hessian(lambda z: loss(z, target))(logits)
    torch.testing.assert_close(
        forward_over_reverse, torch.autograd.functional.hessian(lambda z: loss(z, target), logits)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_forward_mode_derivative_is_that_of_backward(loss):
    logits, target = batch()
    direction = torch.ones_like(logits).cumsum(1)
    with forward_ad.dual_level():
        along = forward_ad.unpack_dual(loss(forward_ad.make_dual(logits, direction), target)).tangent
    torch.testing.assert_close(along, (gradient(loss, logits, target)[1] * direction).sum())


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "sum", "none"])
@pytest.mark.parametrize("loss", LOSSES)
def test_never_waits_for_a_device(loss, reduction):
    """What CUDA-graph capture asks: no look at a value. Tensors on the meta device have none, and raise at a look."""
    logits = torch.zeros(6, 4, device="meta", requires_grad=True)
    target = torch.zeros(6, dtype=torch.long, device="meta")
    for t in (target, torch.zeros(6, 4, device="meta")):
        value = loss(logits, t, torch.ones(4, device="meta"), reduction=reduction)
        assert value.shape == ((6,) if reduction == "none" else ())
        assert torch.autograd.grad(value.sum(), logits)[0].shape == (6, 4)
    with pytest.raises(RuntimeError):
        target.min().item()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("loss", LOSSES)
def test_cuda_graph_capture(loss):
    logits, target = (x.cuda() for x in batch())
    weight = torch.rand(4, device="cuda")
    static = logits.clone().requires_grad_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            static.grad = None
            loss(static, target, weight).backward()
    torch.cuda.current_stream().wait_stream(stream)
    static.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = loss(static, target, weight)
        value.backward()
    with torch.no_grad():
        static.copy_(logits * 2)
    graph.replay()
    expected = gradient(lambda z, y: loss(z, y, weight), logits * 2, target)
    torch.testing.assert_close((value.detach(), static.grad), expected)


# --- the same uses at every size --------------------------------------------------------------------------------
# Small logits, many logits, and pixels that the focal kernel works through in pieces.

SIZES = [(6, 4), (300, 500), (3, 5, 120, 110)]
IN_PIECES = [sigmoid_cross_entropy, sigmoid_focal_loss]  # the losses that split large inputs into pieces


def balanced_softmax(logits, target, weight=None, reduction="mean"):
    """With class counts in place of weights."""
    counts = torch.linspace(500, 5, logits.shape[1]) if weight is None else weight
    return balanced_softmax_loss(logits, target, counts, reduction)


def problem(size, ignored=True, seed=0):
    torch.manual_seed(seed)
    target = torch.randint(0, size[1], (size[0], *size[2:]))
    if ignored:
        target[0] = -100
    return torch.randn(size) * 3, target


def use_double_backward(loss, logits, target):
    """The derivative of the gradient along itself, against central differences in float64."""
    z = logits.double().requires_grad_()
    slope = torch.autograd.grad(loss(z, target), z, create_graph=True)[0]
    direction = torch.randn_like(z)
    along = torch.autograd.grad((slope * direction).sum(), z)[0]
    ends = [gradient(loss, z.detach() + step * direction, target)[1] for step in (1e-5, -1e-5)]
    torch.testing.assert_close(along, (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-9)


def use_edit_in_place(loss, logits, target):
    for reduction in ("mean", "none"):
        slopes = []
        for edit in (False, True):
            x = logits.clone().requires_grad_()
            z = x * 1
            value = loss(z, target, reduction=reduction)
            if edit:
                z.zero_()
            value.sum().backward()
            slopes.append(x.grad)
        assert torch.equal(*slopes) and slopes[0].any()


def use_make_fx(loss, logits, target):
    """Traced without ignored targets, called with some."""
    traced = make_fx(lambda z, y: loss(z, y))(logits, target.clamp(min=0))
    torch.testing.assert_close(traced(logits + 1, target), loss(logits + 1, target))
    traced = make_fx(lambda z: loss(z, target))(logits)
    torch.testing.assert_close(traced(logits + 1), loss(logits + 1, target))


def use_jit_trace(loss, logits, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(loss, (logits, target.clamp(min=0)), check_trace=False)
    torch.testing.assert_close(traced(logits + 1, target), loss(logits + 1, target))


def use_vmap(loss, logits, target):
    """Over a stack of problems, and for per-sample gradients."""
    stack, targets = torch.stack([logits, -logits]), torch.stack([target, target.flip(0)])
    both = torch.func.vmap(loss)(stack, targets)
    torch.testing.assert_close(both, torch.stack([loss(z, y) for z, y in zip(stack, targets, strict=True)]))
    slopes = torch.func.vmap(torch.func.grad(loss))(stack, targets)
    torch.testing.assert_close(slopes[1], gradient(loss, stack[1], targets[1])[1])


def use_jvp(loss, logits, target):
    direction = torch.randn_like(logits)
    value, along = torch.func.jvp(lambda z: loss(z, target), (logits,), (direction,))
    expected, slope = gradient(loss, logits, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(along, (slope * direction).sum())


def use_linearize(loss, logits, target):
    direction = torch.randn_like(logits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's folding of constants
        _, along = torch.func.linearize(lambda z: loss(z, target), logits)
    torch.testing.assert_close(along(direction), (gradient(loss, logits, target)[1] * direction).sum())


def use_compile(loss, logits, target):
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradient(compiled, logits, target), gradient(loss, logits, target))
    if not target.is_floating_point():
        value, slope = gradient(compiled, logits, torch.full_like(target, -100))
        assert value == 0 and (slope == 0).all()


def use_export(loss, logits, target):
    """With a dynamic batch, called with another one."""

    class Module(torch.nn.Module):
        def forward(self, logits, target):
            return loss(logits, target)

    rows = {0: torch.export.Dim("rows", min=2, max=100_000)}
    exported = torch.export.export(Module(), (logits, target), dynamic_shapes=(rows, rows)).module()
    torch.testing.assert_close(exported(logits[:2], target[:2]), loss(logits[:2], target[:2]))


def use_fake_tensors(loss, logits, target):
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = torch.empty(logits.shape, requires_grad=True)
        loss(fake, torch.empty(target.shape, dtype=torch.long)).backward()
        assert fake.grad.shape == logits.shape
    assert loss(logits, target).isfinite()  # and nothing fake has been kept


def use_checkpointing(loss, logits, target):
    z = logits.clone().requires_grad_()
    checkpoint(loss, z, target, use_reentrant=False).backward()
    torch.testing.assert_close(z.grad, gradient(loss, logits, target)[1])


TRACED = [use_make_fx, use_jit_trace, use_compile, use_export]  # tracers never see pieces, so one large size is enough
USES = [v for k, v in list(globals().items()) if k.startswith("use_")]


@pytest.mark.parametrize(
    ("loss", "use", "size"),
    [
        (loss, use, size)
        for loss in [*LOSSES, balanced_softmax]
        for size in (SIZES if loss in IN_PIECES else SIZES[:1])
        for use in USES
        if not (use in TRACED and size == SIZES[1])
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_uses(loss, use, size):
    use(loss, *problem(size))


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("use", USES)
def test_uses_of_the_module(use, ignored):
    """It computes the cross-entropy of a small batch before it checks anything, and again if a target is ignored."""
    losses = {name: ClassBalancedLoss([900, 90, 30, 9], 0.999, reduction=name) for name in ("mean", "none")}
    use(lambda logits, target, reduction="mean": losses[reduction](logits, target), *problem(SIZES[0], ignored))


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "sum", "none"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_learned_weights_at_every_size(loss, size, reduction):
    """Along the weights themselves the derivative of a loss is the loss, but 0 where their sum divides it."""
    logits, target = problem(size)
    weight = (torch.rand(size[1]) + 0.1).requires_grad_()
    value = loss(logits.double(), target, weight.double(), reduction=reduction).sum()
    along = (torch.autograd.grad(value, weight)[0].double() * weight.detach()).sum()
    expected = torch.zeros_like(value) if reduction == "weighted_mean" else value.detach()
    torch.testing.assert_close(along, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_softmax_is_torchs_at_every_size(size):
    logits, target = problem(size)
    weight = torch.rand(size[1]) + 0.1
    ours = gradient(lambda z, y: softmax_cross_entropy(z, y, weight, "weighted_mean"), logits, target)
    torch.testing.assert_close(
        ours, gradient(lambda z, y: torch.nn.functional.cross_entropy(z, y, weight), logits, target)
    )


@pytest.mark.parametrize("around", [torch.inference_mode, FakeTensorMode, lambda: torch.device("meta")])
def test_nothing_is_kept_from_special_modes(around, monkeypatch):
    """The number of targets is kept as a tensor between calls; those made here would spoil later ones."""
    monkeypatch.setattr(targets, "_SCALARS", {})
    logits, target = problem((6, 4), ignored=False)
    expected = torch.nn.functional.cross_entropy(logits, target)
    with around():
        softmax_cross_entropy(torch.zeros(6, 4), torch.zeros(6, dtype=torch.long))
        with contextlib.suppress(AssertionError, RuntimeError):  # Real and fake tensors do not mix.
            softmax_cross_entropy(logits, target)
    weight = torch.ones(4, requires_grad=True)
    torch.testing.assert_close(softmax_cross_entropy(logits, target, weight), expected)
    torch.autograd.grad(softmax_cross_entropy(logits, target, weight), weight)


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_kept_from_transforms(loss, monkeypatch):
    monkeypatch.setattr(targets, "_SCALARS", {})
    logits, target = problem((6, 4), ignored=False)
    inner = torch.func.grad(lambda z: torch.func.grad(lambda y: loss(y, target))(z).square().sum())
    along = torch.func.jvp(inner, (logits,), (logits,))
    torch.testing.assert_close(torch.func.jvp(inner, (logits,), (logits,)), along)
    assert all(scalar.numpy() == 6 for scalar in targets._SCALARS.values())
    use_double_backward(loss, logits, target)
