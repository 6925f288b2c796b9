"""Training speed of the paper's ResNet-32 at batch 128 against a straightforward loop; ratios are taken in one run.

The straightforward loop is how most public long-tail code trains: torchvision transforms over PIL images in a
DataLoader with 2 workers, eager, NCHW, float32.  `make benchmark-training` measures and writes
results/benchmarks_training.md; in a plain test run everything is done once, with the smallest network.  Images are
random: speed does not depend on them.
"""

import contextlib
import functools
import multiprocessing
import os
import time
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from replication.__main__ import KEEP_MEMORY
from replication.data.image_set import ImageSet
from replication.experiments.experiment import Experiment
from replication.training.cifar.resnet import ResNet
from replication.training.cifar.train import CifarRun
from replication.training.device import pick_device
from replication.training.plain_loop import multiplication_rate, operations_an_image, plain_loop

ROUNDS = 5  # of each way in turn, so that a busy moment strikes all of them; the best counts
DEVICE = pick_device("auto")
GOAL = 8.0 if DEVICE.type == "cuda" else 1.6  # times the straightforward loop
NOT_KEPT = "package, compiled, freed memory not kept"


def steps_a_round() -> int:
    return 200 if DEVICE.type == "cuda" else 6


def experiment(enabled: bool) -> Experiment:
    return Experiment(
        imbalance_factor=100 if enabled else 10, depth=32 if enabled else 8, batch_size=128 if enabled else 16
    )


def random_images(enabled: bool) -> ImageSet:
    n = 5000 if enabled else 30
    images = np.random.default_rng(0).integers(0, 256, (10 * n, 32, 32, 3), dtype=np.uint8)
    return ImageSet(images, np.repeat(np.arange(10), n), tuple("0123456789"))


def straightforward(enabled: bool):
    """The loop to compare with: a function that trains for some steps and gives its images per second."""
    chosen = experiment(enabled)
    kept = random_images(enabled).long_tailed(chosen.imbalance_factor, 0)
    return plain_loop(kept, DEVICE, depth=chosen.depth, batch_size=chosen.batch_size, workers=2), None


def ours(enabled: bool, compiled: bool, precision: str | None = None):
    """The same for the package's own step."""
    data = random_images(enabled)
    tested = data.subset(slice(None, None, len(data) // 10))  # one image of each class
    if DEVICE.type == "cuda":  # as `train` does: graphs need a stream of their own
        torch.cuda.set_stream(torch.cuda.Stream(DEVICE))
        torch.backends.cudnn.benchmark = True
    run = CifarRun(experiment(enabled), (data, tested), DEVICE, compiled=compiled, precision=precision)
    run.model.train()

    def train(steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            run.train_once()
        _wait()
        return steps * run.experiment.batch_size / (time.perf_counter() - begin)

    return train, run


def convolutions_alone(enabled: bool):
    """The same for a step's convolutions, forward and backward, and nothing else: the limit if all the rest were free.

    In float32, channels last, as the package calls them on the CPU.
    """
    chosen, calls = experiment(enabled), []
    model = ResNet(chosen.depth).to(memory_format=torch.channels_last)

    def keep(convolution, inputs, output):
        x = inputs[0].detach().requires_grad_(convolution.in_channels > 3)  # no slope is asked of the images
        calls.append((convolution, x, torch.randn_like(output)))

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(keep)
    model(torch.randn(chosen.batch_size, 3, 32, 32).contiguous(memory_format=torch.channels_last))

    def train(steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            for layer, x, slope in calls:
                wanted = [layer.weight, x] if x.requires_grad else [layer.weight]
                torch.autograd.grad(F.conv2d(x, layer.weight, None, layer.stride, layer.padding), wanted, slope)
        return steps * chosen.batch_size / (time.perf_counter() - begin)

    return train, model


def _ways(enabled: bool) -> dict:
    """Name -> how to make that way: a call that gives (its training function, its model or run)."""
    ways = {
        "straightforward": functools.partial(straightforward, enabled),
        "package, eager": functools.partial(ours, enabled, False),
    }
    if enabled:
        ways["package, compiled"] = ways[NOT_KEPT] = functools.partial(ours, enabled, True)
        if DEVICE.type == "cpu":  # on CUDA bfloat16 is what the package does anyway
            ways["package, eager, bfloat16"] = functools.partial(ours, enabled, False, "bfloat16")
            ways["package, compiled, bfloat16"] = functools.partial(ours, enabled, True, "bfloat16")
    if DEVICE.type == "cpu":
        ways["the convolutions alone"] = functools.partial(convolutions_alone, enabled)
    return ways


class _Process:
    """A way in a process of its own: called with steps, gives images/s, None where the compiler it needs is not there.

    Its memory is as at a user: Python's default for the straightforward loop, what our command line sets for the rest.
    """

    def __init__(self, name: str):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        memory = {} if name in ("straightforward", NOT_KEPT) else {"GLIBC_TUNABLES": KEEP_MEMORY}
        with mock.patch.dict(os.environ, memory):
            self.process = context.Process(target=_serve, args=(theirs, name, torch.get_num_threads()))
            self.process.start()
        theirs.close()

    def __call__(self, steps: int) -> float | None:
        self.connection.send(steps)
        return self.connection.recv()

    def close(self) -> None:
        self.connection.close()
        self.process.join()


def _serve(connection, name: str, threads: int) -> None:
    torch.set_num_threads(threads)
    train, made = _ways(True)[name]()
    able = "compiled" not in name or made.compiled  # else there is no compiler that torch.compile can use
    with contextlib.suppress(EOFError):
        while True:
            steps = connection.recv()
            connection.send(train(steps) if able else None)


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


@pytest.fixture(scope="module", autouse=True)
def all_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    yield
    torch.set_num_threads(before)


def test_speed_against_the_straightforward_loop(benchmark):
    enabled = benchmark.enabled
    steps, rounds = (steps_a_round(), ROUNDS) if enabled else (1, 1)
    with contextlib.ExitStack() as stack:
        made = {name: _Process(name) if enabled else make()[0] for name, make in _ways(enabled).items()}
        for process in made.values() if enabled else ():
            stack.callback(process.close)
        ways = [name for name, train in made.items() if train(steps)]  # this warms them up, too
        rates = {name: [] for name in ways}
        for _ in range(rounds):
            for name in ways:
                made[name](steps)  # not counted: the DataLoader's workers had fetched ahead while the others ran
                rates[name].append(made[name](steps))
    images = {name: max(r) for name, r in rates.items()}
    package = [name for name in images if name.startswith("package")]
    size = 4096 if DEVICE.type == "cuda" else 1024 if enabled else 64
    benchmark.extra_info |= dict(
        images_per_second=images,
        rounds=rounds,
        matrix_multiply={
            str(kind)[6:]: multiplication_rate(size, kind, DEVICE) for kind in (torch.float32, torch.bfloat16)
        },
        operations_an_image=operations_an_image(ResNet(experiment(enabled).depth).to(DEVICE), DEVICE),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU",
    )
    benchmark.pedantic(lambda: None, rounds=1)
    if enabled:
        benchmark.extra_info["goal"] = GOAL
        ratio = max(images[name] for name in package if "bfloat16" not in name) / images["straightforward"]
        assert ratio > 1.2, images


def test_operations_are_those_of_the_paper_network(benchmark):
    """ResNet-32 on 32x32 images: about 69 million multiply-adds forward, and three times that with backward."""
    count = benchmark.pedantic(operations_an_image, (ResNet(32).to(DEVICE), DEVICE), rounds=1)
    assert 2 * 3 * 66e6 < count < 2 * 3 * 72e6


def _worker(barrier, threads: int, steps: int, enabled: bool, queue) -> None:
    torch.set_num_threads(threads)
    train, _ = ours(enabled, compiled=enabled)
    train(1 + steps // 4)  # warm-up
    barrier.wait()
    queue.put(train(steps))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_images_per_second_against_workers(benchmark, workers):
    """Compiled runs at once, with the cores divided between them; the sum of their images per second."""
    cores = torch.get_num_threads()
    if workers > cores and DEVICE.type == "cpu":
        pytest.skip(f"{workers} runs at once need {workers} cores, there are {cores}")
    if workers > 1 and not benchmark.enabled:
        pytest.skip("measured with --benchmark-enable")
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(workers), context.Queue()
    steps = 4 * steps_a_round() if benchmark.enabled else 1
    arguments = (barrier, max(1, cores // workers), steps, benchmark.enabled, queue)

    def together() -> float:
        processes = [context.Process(target=_worker, args=arguments) for _ in range(workers)]
        with mock.patch.dict(os.environ, {"GLIBC_TUNABLES": KEEP_MEMORY}):
            for process in processes:
                process.start()
        rates = [queue.get(timeout=600) for _ in processes]
        for process in processes:
            process.join()
        return sum(rates)

    rate = benchmark.pedantic(together, rounds=1) if workers > 1 or benchmark.enabled else ours(False, False)[0](1)
    if not benchmark.enabled:
        benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info |= dict(workers=workers, threads=max(1, cores // workers), rate=rate)
    assert rate > 0
