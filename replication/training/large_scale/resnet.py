"""The large-scale ResNets: torchvision's, changed as in the authors' code (Section 5.4)."""

import math

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from replication.experiments.large_scale import DEPTHS

CUT_DEVIATION = 0.87962566  # standard deviation of a standard normal cut at +-2


def resnet(depth: int, num_classes: int) -> ResNet:
    """Return torchvision's ResNet with the authors' max pooling, which pads only after the last row and column.

    Their "same" padding of 3x3 at stride 2 puts the one padded row at the end, torchvision's at the start; everything
    else (stride in the 3x3 convolution, projections, batch norm 0.1 and 1e-5) is the same.  Sides: multiples of 32.

    Raises:
        ValueError: a depth that the paper and torchvision do not have.
    """
    if depth not in DEPTHS:
        raise ValueError(f"depth must be one of {', '.join(map(str, DEPTHS))}, got {depth!r}")
    model = getattr(torchvision.models, f"resnet{depth}")(num_classes=num_classes)
    model.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # (B, 64, H / 2, W / 2) -> (B, 64, H / 4, W / 4)
    return model


@torch.no_grad()
def initialise(model: ResNet, seed: int, last_bias: float = 0.0) -> None:
    """Reset every parameter and statistic in place, as the authors' code does; the draws depend on the seed alone.

    Convolutions: normal of variance 1 / fan-in, cut at two deviations.  Dense: N(0, 0.01) weights, the bias as given.
    Batch norm: (1, 0), except 0 for the last weight of each block, so that the block starts as its shortcut.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.copy_(_cut_normal(module.weight.shape, generator) / CUT_DEVIATION / math.sqrt(fan_in))
        elif isinstance(module, nn.Linear):
            module.weight.copy_(torch.empty(module.weight.shape).normal_(0.0, 0.01, generator=generator))
            module.bias.fill_(last_bias)
    for block in model.modules():
        if isinstance(block, (BasicBlock, Bottleneck)):
            nn.init.zeros_((block.bn3 if isinstance(block, Bottleneck) else block.bn2).weight)


def _cut_normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draw standard normals; draw those beyond +-2 anew (faster here than torch's method, which inverts erf)."""
    draws = torch.empty(shape).normal_(generator=generator)
    while (outside := draws.abs() > 2).any():
        draws[outside] = torch.empty(int(outside.sum())).normal_(generator=generator)
    return draws


def decay_groups(model: ResNet, weight_decay: float) -> list[dict]:
    """Return parameter groups: weight decay on convolutions and dense weights, none on batch norm and biases."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    return [dict(params=weights, weight_decay=weight_decay), dict(params=rest, weight_decay=0.0)]
