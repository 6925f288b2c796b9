"""The straightforward training loop with which the benchmarks compare ours, the limits of a device, and a timer."""

import itertools
import time
import timeit
from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from replication.data.image_set import ImageSet
from replication.training.cifar.resnet import ResNet
from replication.training.device import synchronize


class PilImages(Dataset):
    """Give images as torchvision's CIFAR10 class does, with the usual crop, flip and scaling."""

    def __init__(self, data: ImageSet):
        self.data = data
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data.images[i])), int(self.data.targets[i])


def plain_loop(
    data: ImageSet, device: torch.device, *, depth: int, batch_size: int, workers: int
) -> Callable[[int], float]:
    """Return a function that trains a ResNet of `depth` layers for some steps and returns its images per second.

    It trains as most public long-tail code does: transforms of PIL images in a DataLoader with `workers` processes,
    eager, NCHW, float32, and torch's own switches.
    """
    model = ResNet(depth, len(data.class_names)).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
    loader = DataLoader(
        PilImages(data),
        batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
    stream = itertools.chain.from_iterable(itertools.repeat(loader))  # epoch after epoch

    def train(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            images, targets = next(stream)
            loss = F.cross_entropy(model(images.to(device)), targets.to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        synchronize(device)
        return steps * batch_size / (time.perf_counter() - began)

    return train


def operations_an_image(model: nn.Module, device: torch.device) -> float:
    """Return the floating-point operations of a forward and a backward pass for one image, as torch counts them."""
    images = torch.zeros(2, 3, 32, 32, device=device)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return counter.get_total_flops() / 2


def bytes_an_image(model: nn.Module, device: torch.device, element_bytes: int) -> int:
    """Return the least memory traffic of the convolutions of a training step, for one image.

    Forward, each reads its input and writes its output; backward, it reads input and gradient and writes a gradient.
    """
    total = 0

    def count(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += 3 * inputs[0].numel() + 2 * output.numel()

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    model(torch.zeros(1, 3, 32, 32, device=device))
    for hook in hooks:
        hook.remove()
    return total * element_bytes


def multiplication_rate(size: int, kind: torch.dtype, device: torch.device) -> float:
    """Return the floating-point operations per second of a (size x size) matrix product, the best of ten."""
    a = torch.randn(size, size, device=device, dtype=kind)
    return 2 * size**3 / min(seconds_of(lambda: a @ a, device, 10))


def copy_rate(elements: int, device: torch.device) -> float:
    """Return the bytes per second, read and written, of a copy between two float32 vectors, the best of ten."""
    source = torch.zeros(elements, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(seconds_of(lambda: target.copy_(source), device, 10))


def seconds_of(function: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Return the seconds of each call, with all that it leaves to the device."""

    def call() -> None:
        function()
        synchronize(device)

    return timeit.repeat(call, setup=lambda: synchronize(device), number=1, repeat=repeats)
