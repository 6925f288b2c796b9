"""Forward and backward of the losses against torch's, torchvision's and PyPI's, and the memory that they take.

`make benchmark` times these in turn, round by round, so that a slow moment of the machine falls on all of them alike,
and writes results/benchmarks.md; in a plain test run each is called a few times, at a toy shape.
The one-hot targets that torchvision wants are made outside the timing. `balanced-loss` is timed where it is installed.
"""

import math
import os
import random
from importlib.util import find_spec
from itertools import accumulate
from time import perf_counter

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile
from torchvision.ops import sigmoid_focal_loss as torchvision_focal

from replication import ClassBalancedLoss
from replication.losses import sigmoid_cross_entropy, sigmoid_focal_loss, softmax_cross_entropy

SHAPES = {  # rounds and calls a round: a minimum wants many
    (128, 10): (1000, 10),
    (256, 1000): (400, 2),
    (256, 8142): (50, 1),
    (8, 21, 256, 256): (8, 1),
}
OURS = {
    "softmax": softmax_cross_entropy,
    "sigmoid": sigmoid_cross_entropy,
    "focal 0.5": lambda *a: sigmoid_focal_loss(*a, gamma=0.5),
    "focal 1": lambda *a: sigmoid_focal_loss(*a, gamma=1),
    "focal 2": lambda *a: sigmoid_focal_loss(*a, gamma=2),
}
THEIRS = ["F.cross_entropy", "torchvision", "balanced-loss cross entropy", "balanced-loss focal"]
MODULES = ["ClassBalancedLoss softmax", "ClassBalancedLoss focal"]


def problem(shape):
    """logits, target, class weights, class counts, always the same."""
    torch.manual_seed(0)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    return torch.randn(shape, requires_grad=True), target, torch.rand(shape[1]) + 0.5, [10 + c for c in range(shape[1])]


def step(name, shape):
    """A function that does one forward and backward pass, and the logits."""
    logits, target, weight, counts = problem(shape)
    if name in OURS:
        arguments, loss = (target, weight), OURS[name]
    elif name in MODULES:
        focal = "focal" in name
        arguments, loss = (
            (target,),
            ClassBalancedLoss(counts, 0.999, "focal" if focal else "softmax", 2 if focal else None),
        )
    elif name == "F.cross_entropy":
        arguments, loss = (target,), F.cross_entropy
    elif name == "torchvision":
        onehot = F.one_hot(target, shape[1]).movedim(-1, 1).float().contiguous()
        arguments, loss = (onehot,), lambda z, t: torchvision_focal(z, t, alpha=-1, gamma=2, reduction="mean")
    else:
        import balanced_loss  # installed by `make benchmark` alone

        kind = "focal_loss" if "focal" in name else "cross_entropy"
        loss = balanced_loss.Loss(kind, beta=0.999, fl_gamma=2, samples_per_class=counts, class_balanced=True)
        arguments = (target,)

    def run():
        logits.grad = None
        loss(logits, *arguments).backward()

    return run, logits


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(1 if request.param == "one" else len(os.sched_getaffinity(0)))
    yield torch.get_num_threads()
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", ["one", "all"], indirect=True)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_speed(benchmark, shape, threads):
    rounds, calls = SHAPES[shape]
    names = [*OURS, *MODULES, *THEIRS]
    if shape != (256, 8142) or not find_spec("balanced_loss"):
        names = [name for name in names if not name.startswith("balanced-loss")]
    if not benchmark.enabled:
        shape = tuple(min(n, 5) for n in shape)
    ways = {name: step(name, shape) for name in names}
    shortest = dict.fromkeys(ways, math.inf)
    turns = random.Random(0)

    def in_turn():
        for name in turns.sample(names, len(names)):  # no way always after the same other, in its memory and caches
            run, _ = ways[name]
            start = perf_counter()
            for _ in range(calls):
                run()
            shortest[name] = min(shortest[name], (perf_counter() - start) / calls)

    benchmark.pedantic(in_turn, rounds=rounds, warmup_rounds=2)
    benchmark.extra_info |= {"shortest": shortest, "shape": list(shape), "threads": threads, "torch": torch.__version__}
    for name, (_, logits) in ways.items():
        assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0, name


def peak_tensors(name, shape):
    """The most memory held at once forward and backward, the gradient included, in tensors of the logits' size."""
    run, logits = step(name, shape)
    run()
    logits.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    events = [e for e in watched.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))
    return max(held) / (logits.numel() * logits.element_size())


@pytest.mark.parametrize("name", ["sigmoid", "focal 0.5", "focal 1", "focal 2"])
@pytest.mark.parametrize("shape", [(256, 8142), (8, 21, 256, 256)], ids=str)
def test_peak_memory_is_two_tensors_of_the_logits(benchmark, shape, name):
    """Beside the logits: what is kept for the gradient, and the gradient."""
    if not benchmark.enabled:
        shape = (*shape[:2], *(n // 2 for n in shape[2:]))
    peak = peak_tensors(name, shape)
    benchmark.extra_info |= {"name": name, "shape": list(shape), "peak": peak}
    benchmark.pedantic(lambda: None, rounds=1)
    assert 1 < peak <= 2.01, peak  # a hundredth: what is no tensor of the logits' size, (C,) and scalars


def test_peak_memory_sees_what_torchvision_takes():
    assert peak_tensors("torchvision", (256, 1000)) > 4
