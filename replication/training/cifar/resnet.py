"""The paper's CIFAR network: ResNet version 1 for small images (Section 5.2 and the authors' code)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d that does not count its batches.

    Nothing here reads the count, and counting costs a kernel launch for each layer and step.  The state_dict has the
    keys of nn.BatchNorm2d, so older checkpoints load.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )


class ResNet(nn.Module):
    """3 stages of (depth - 2) / 6 basic blocks with 16, 32 and 64 channels, global average pool, linear.

    Maps (B, in_channels, H, W) floats to (B, num_classes) logits.  The convolutions have no bias and each is followed
    by batch norm (momentum 0.1, eps 1e-5).

    Args:
        depth: 6 k + 2; the paper's is 32.
        shortcut: what happens where the shape changes: "average_pool" (the paper's code: 2x2 average pool, then zero
            channels, half on each side) or "subsample" (every other pixel, then the same zero channels).
    """

    def __init__(self, depth: int = 32, num_classes: int = 10, in_channels: int = 3, shortcut: str = "average_pool"):
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth must be 6 k + 2 (8, 14, 20, 26, 32, ...), got {depth!r}")
        if shortcut not in ("average_pool", "subsample"):
            raise ValueError(f"shortcut must be average_pool or subsample, got {shortcut!r}")
        self.stem = _conv_norm(in_channels, 16)
        blocks, channels = [], 16
        for stage, width in enumerate((16, 32, 64)):
            for block in range((depth - 2) // 6):
                blocks.append(Block(channels, width, 2 if stage and not block else 1, shortcut))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))  # (B, 16, H, W)
        x = self.blocks(x)  # (B, 64, H / 4, W / 4)
        return self.classifier(x.mean((2, 3)))  # (B, num_classes)


class Block(nn.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))."""

    def __init__(self, channels: int, width: int, stride: int, shortcut: str):
        super().__init__()
        self.first = _conv_norm(channels, width, stride)
        self.second = _conv_norm(width, width)
        self.stride, self.extra, self.shortcut = stride, width - channels, shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        if self.stride == 2:
            x = x[:, :, ::2, ::2] if self.shortcut == "subsample" else F.avg_pool2d(x, 2, ceil_mode=True)
            x = F.pad(x, (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))
        return F.relu(x + y)


def _conv_norm(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), BatchNorm(width))


@torch.no_grad()
def initialise(model: ResNet, seed: int, last_bias: float = 0.0) -> None:
    """Reset every parameter and statistic in place: Glorot-uniform weights, norms at (1, 0), the last bias as given.

    The draws depend on the seed alone, so that two losses start from the same weights, except for the last bias.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            weight = torch.empty(module.weight.shape)
            module.weight.copy_(nn.init.xavier_uniform_(weight, generator=generator))
    model.classifier.bias.fill_(last_bias)


def decay_groups(model: ResNet, weight_decay: float, decay_last_bias: bool) -> list[dict]:
    """Return parameter groups: weight decay on all of them, but on the last bias only for softmax (authors' code)."""
    last = model.classifier.bias
    rest = [p for p in model.parameters() if p is not last]
    return [
        dict(params=rest, weight_decay=weight_decay),
        dict(params=[last], weight_decay=weight_decay if decay_last_bias else 0.0),
    ]
