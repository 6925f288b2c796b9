"""The network against counts and formulas worked out by hand (Section 5.2 and the authors' code)."""

import math

import pytest
import torch

from replication.losses.terms import prior_bias
from replication.training.cifar.resnet import Block, ResNet, decay_groups, initialise


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_parameters_of_resnet_32_by_hand():
    # 3x3 convolutions without bias, batch norms (2 a channel), no weights in the shortcuts, a linear layer at the end
    stem = 3 * 16 * 9 + 2 * 16
    first = 10 * (16 * 16 * 9 + 2 * 16)
    second = 16 * 32 * 9 + 9 * 32 * 32 * 9 + 10 * 2 * 32
    third = 32 * 64 * 9 + 9 * 64 * 64 * 9 + 10 * 2 * 64
    assert parameters(ResNet(32, 10)) == stem + first + second + third + 64 * 10 + 10 == 464_154


@pytest.mark.parametrize("depth", [8, 14, 20, 32])
def test_depth_counts_weighted_layers(depth):
    convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in ResNet(depth).modules())
    assert convolutions + 1 == depth


@pytest.mark.parametrize("size", [8, 28, 32])
def test_shapes(size):
    model = ResNet(8, num_classes=7, in_channels=1)
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 7)
    assert model.blocks(model.stem(torch.zeros(2, 1, size, size))).shape == (2, 64, size // 4, size // 4)


def silent(block):
    """The block with a residual branch of 0, so that only its shortcut shows."""
    torch.nn.init.zeros_(block.second[1].weight)
    return block.eval()


def test_shortcut_is_a_mean_of_four_pixels_between_zero_channels():
    x = torch.rand(1, 4, 6, 6)
    y = silent(Block(4, 8, 2, "average_pool"))(x)
    assert (y[:, :2] == 0).all() and (y[:, 6:] == 0).all()
    assert y[0, 2, 1, 2].item() == pytest.approx(x[0, 0, 2:4, 4:6].mean().item(), rel=1e-6)


def test_subsample_shortcut_is_every_other_pixel():
    x = torch.rand(1, 4, 6, 6)
    assert torch.equal(silent(Block(4, 8, 2, "subsample"))(x)[:, 2:6], x[:, :, ::2, ::2])


def test_equal_shapes_pass_through_unchanged():
    x = torch.rand(1, 4, 6, 6)
    assert torch.equal(silent(Block(4, 4, 1, "average_pool"))(x), x)


def test_initial_weights_are_glorot_uniform_and_depend_on_the_seed_alone():
    model, other = ResNet(8), ResNet(8)
    initialise(model, seed=1)
    initialise(other, seed=1, last_bias=-2.0)
    weight = model.blocks[0].first[0].weight
    bound = math.sqrt(6 / (16 * 9 + 16 * 9))
    assert weight.abs().max() <= bound
    # variance of a uniform on (-a, a) is a^2 / 3; 2304 draws, 5 standard errors of the variance
    assert weight.var().item() == pytest.approx(bound**2 / 3, rel=5 * math.sqrt(0.8 / weight.numel()))
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) != (name == "classifier.bias")
    assert (other.classifier.bias == -2.0).all() and (model.classifier.bias == 0).all()
    initialise(other, seed=2)
    assert not torch.equal(weight, other.blocks[0].first[0].weight)


def test_initialise_resets_statistics():
    model = ResNet(8)
    model(torch.randn(4, 3, 32, 32) * 5)
    initialise(model, seed=0)
    norm = model.stem[1]
    assert (norm.running_mean == 0).all() and (norm.running_var == 1).all() and norm.num_batches_tracked == 0


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_prior_bias_gives_every_class_one_in_c(classes):
    assert torch.sigmoid(torch.tensor(prior_bias(classes), dtype=torch.float64)).item() == pytest.approx(1 / classes)


def test_norms_as_in_the_authors_code():
    norms = [m for m in ResNet(32).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.1)}


@pytest.mark.parametrize("last", [True, False])
def test_decay_reaches_everything_and_the_last_bias_only_for_softmax(last):
    model = ResNet(8)
    rest, bias = decay_groups(model, 2e-4, decay_last_bias=last)
    assert rest["weight_decay"] == 2e-4 and bias["weight_decay"] == (2e-4 if last else 0)
    assert bias["params"][0] is model.classifier.bias
    assert len(rest["params"]) + 1 == len(list(model.parameters()))


@pytest.mark.parametrize("depth", [7, 9, 2, 33])
def test_refuses_depth(depth):
    with pytest.raises(ValueError, match="depth"):
        ResNet(depth)


def test_refuses_shortcut():
    with pytest.raises(ValueError, match="shortcut"):
        ResNet(8, shortcut="projection")
