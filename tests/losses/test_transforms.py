"""The losses under autocast, compilers, export and torch.func: the same values and gradients as without."""

import pytest
import torch
from torch.autograd import forward_ad

from replication import ClassBalancedLoss
from replication.losses import sigmoid_cross_entropy, sigmoid_focal_loss, softmax_cross_entropy, softmax_focal_loss

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
    """A linear layer gives halves under autocast; the loss of them is that of the same numbers in float32."""
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


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_compiles_as_one_graph(loss, dense):
    """fullgraph=True fails on any graph break, such as a wait for a value; the gradient must be eager's."""
    torch.compiler.reset()
    logits, target = batch()
    target = torch.eye(4)[target.clamp(min=0)] if dense else target
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradient(compiled, logits, target), gradient(loss, logits, target))
    if not dense:
        value, slope = gradient(compiled, logits, torch.full_like(target, -100))
        assert value == 0 and (slope == 0).all()


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


class Waits(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes each step whose result the host waits for, or whose shape hangs on the data: neither can be captured."""

    FORBIDDEN = ("_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "is_nonzero", "equal")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().split("::")[1].split(".")[0]
        by_mask = name.startswith("index") and any(
            x is not None and isinstance(x, torch.Tensor) and x.dtype == torch.bool
            for x in (args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else [])
        )
        if name in self.FORBIDDEN or by_mask:
            self.found.append(function.name())
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "sum", "none"])
@pytest.mark.parametrize("loss", LOSSES)
def test_index_path_never_waits_for_the_device(loss, reduction):
    """What CUDA-graph capture asks, shown on the CPU: no host synchronisation, no data-dependent shape."""
    logits, target = batch()
    with Waits() as mode:
        loss(logits.requires_grad_(), target, torch.ones(4), reduction=reduction).sum().backward()
    assert mode.found == []
    with Waits() as mode:
        logits.detach()[target >= 0].sum().item()
    assert mode.found  # the check can fail


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
