"""The large-scale networks: torchvision's, with the authors' initialisation, pooling and decay groups (Section 5.4)."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from replication.losses.terms import prior_bias
from replication.training.large_scale.resnet import decay_groups, initialise, resnet


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    net = resnet(18, 10)
    initialise(net, seed=0, last_bias=prior_bias(10))
    return net


def test_parameters_of_resnet50_are_the_known_25_557_032():
    with torch.device("meta"):
        counts = {d: sum(p.numel() for p in resnet(d, 1000).parameters()) for d in (18, 50, 101, 152)}
    assert counts == {
        18: 11_689_512,
        50: 25_557_032,
        101: 44_549_160,
        152: 60_192_808,
    }  # He et al., torchvision's pages


def test_dense_layer_starts_at_the_prior(model):
    """Weights N(0, 0.01), bias -log(C - 1): each class's sigmoid starts near 1 / C."""
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert model.fc.bias.tolist() == pytest.approx([-math.log(9)] * 10)


def test_convolutions_are_cut_normals_of_variance_one_over_fan_in(model):
    for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        fan_in = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
        assert conv.weight.std().item() * math.sqrt(fan_in) == pytest.approx(1, rel=0.05)
        assert conv.weight.abs().max().item() * math.sqrt(fan_in) <= 2 / 0.8796 + 1e-4
        assert conv.bias is None


@pytest.mark.parametrize("depth, block", [(18, BasicBlock), (50, Bottleneck)])
def test_every_block_starts_as_its_shortcut(depth, block):
    """Zero scale in the last batch norm of a block: an identity block gives relu(x) = x for x >= 0."""
    net = resnet(depth, 10)
    initialise(net, seed=0)
    inner = next(b for b in net.layer2 if isinstance(b, block) and b.downsample is None).eval()
    x = torch.rand(2, inner.conv1.in_channels, 4, 4)
    assert torch.equal(inner(x), x)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    blocks = [m for m in net.modules() if isinstance(m, block)]
    assert sum(bool((n.weight == 0).all()) for n in norms) == len(blocks)
    assert all(n.momentum == 0.1 and n.eps == 1e-5 for n in norms)


def test_max_pooling_pads_at_the_end_only(model):
    """The authors' "same" padding: 112 -> 56 with one row and column of padding, both last."""
    x = torch.randn(1, 2, 112, 112)
    padded = F.pad(x, (0, 1, 0, 1), value=-math.inf)
    assert torch.equal(model.maxpool(x), F.max_pool2d(padded, 3, 2))
    assert not torch.equal(model.maxpool(x), F.max_pool2d(x, 3, 2, padding=1))  # torchvision's


def test_seed_alone_decides_the_weights(model):
    again = resnet(18, 10)
    initialise(again, seed=0, last_bias=prior_bias(10))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    initialise(again, seed=1)
    assert not torch.equal(model.conv1.weight, again.conv1.weight)


def test_no_decay_on_batch_norm_and_biases(model):
    decayed, free = decay_groups(model, 1e-4)
    names = {id(p): n for n, p in model.named_parameters()}
    assert decayed["weight_decay"] == 1e-4 and free["weight_decay"] == 0
    assert all(
        ("conv" in n or "downsample.0" in n or n == "fc.weight") for n in (names[id(p)] for p in decayed["params"])
    )
    assert all(("bn" in n or "downsample.1" in n or n == "fc.bias") for n in (names[id(p)] for p in free["params"]))
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def test_unknown_depth():
    with pytest.raises(ValueError, match="depth must be one of 18, 34, 50, 101, 152, got 20"):
        resnet(20, 10)
