"""Measure how fast runs train on one device, alone and several at once.

On a machine without CUDA the same code runs with a small network, so that it can be rehearsed.
"""

import gc
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from replication.data.image_set import ImageSet
from replication.experiments.experiment import Experiment
from replication.training.cifar.resnet import ResNet
from replication.training.cifar.train import CifarRun
from replication.training.device import own_stream, synchronize
from replication.training.plain_loop import (
    bytes_an_image,
    copy_rate,
    multiplication_rate,
    operations_an_image,
    plain_loop,
    seconds_of,
)

LOSSES: tuple[dict[str, Any], ...] = (
    dict(loss="softmax", beta=0.9999),
    dict(loss="sigmoid", beta=0.999),
    dict(loss="focal", gamma=0.5, beta=0.99),
    dict(loss="balanced_softmax"),
)
PLAIN_WORKERS = 4  # processes of the plain loop's DataLoader
PATIENCE = 300.0  # seconds that a thread waits for the other threads to create their runs


def random_data(n: int, classes: int = 10) -> ImageSet:
    """Return n random 32x32 images, brighter for later classes so that there is something to learn."""
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(classes), n // classes)
    images = rng.integers(0, 128, (len(targets), 32, 32, 3), dtype=np.uint8)
    images += (targets * 127 // classes).astype(np.uint8)[:, None, None, None]
    return ImageSet(images, targets, tuple(map(str, range(classes))))


class Bench:
    """A device, random images, and the measurements made with them; `say` is called with each line of the report."""

    def __init__(self, device: torch.device, seconds: float, say: Callable[[str], object]):
        self.device, self.seconds, self.say = device, seconds, say  # seconds for all measurements
        self.cuda = device.type == "cuda"
        self.began, self.compile = time.monotonic(), False
        self.numbers: dict[str, float] = {}
        self.data = random_data(50_000 if self.cuda else 2000), random_data(10_000 if self.cuda else 100)
        small: dict[str, Any] = {} if self.cuda else dict(depth=8, batch_size=32)
        self.base = Experiment(imbalance_factor=50, epochs=20, **small)

    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)

    def make(self, fields: dict, graphs: bool = True, precision: str = "bfloat16", device=None) -> CifarRun:
        device = device or self.device
        return CifarRun(
            replace(self.base, **fields), self.data, device, compiled=self.compile, precision=precision, graphs=graphs
        )

    def train(self, run: CifarRun, steps: int) -> CifarRun:
        run.model.train()
        run.total.zero_()
        for _ in range(steps):
            run.train_once()
        return run

    def losses(self, run: CifarRun, steps: int) -> np.ndarray:
        return np.array([float(self.train(run, 1).total) for _ in range(steps)])

    def at_once(
        self, fields: list[dict], steps: int, counts: tuple[int, ...] | None = None
    ) -> tuple[list[CifarRun], float, list[float]]:
        """Create each run in a thread and stream of its own; then train the first few of them at once, for each count.

        Args:
            fields: of the experiment of each run.
            steps: optimiser steps of each measurement.
            counts: how many of the runs train at once, one after the other; None: all of them.

        Returns:
            (the runs, seconds to make them, seconds of each count's training).
        """
        counts = counts or (len(fields),)
        marks: list[float] = []  # times at which all threads were ready, before and after the training of each count
        barrier = threading.Barrier(len(fields), action=lambda: marks.append(time.monotonic()))

        def life(k: int) -> CifarRun:
            try:
                with own_stream(self.device):
                    run = self.make(fields[k])
                    synchronize(self.device)
                    for count in counts:
                        barrier.wait(PATIENCE)
                        if k < count:
                            self.train(run, steps)
                            synchronize(self.device)
                        barrier.wait(PATIENCE)
                    return run
            except Exception:
                barrier.abort()
                raise

        began = time.monotonic()
        with ThreadPoolExecutor(len(fields)) as pool:
            lives = [pool.submit(life, k) for k in range(len(fields))]
        errors = [error for each in lives if (error := each.exception())]
        if errors:  # the others are of threads that waited for the one that failed
            raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
        made = [each.result() for each in lives]
        return made, marks[0] - began, [end - start for start, end in zip(marks[::2], marks[1::2], strict=True)]

    def speed(self, counts: tuple[int, ...]) -> None:
        """Measure images per second for each number of runs at once; numbers that do not fit in memory are left out."""
        steps = 150 if self.cuda else 2
        for most in sorted(counts, reverse=True):
            few_enough = tuple(k for k in counts if k <= most)
            try:
                fields = [LOSSES[i % 4] | dict(seed=i) for i in range(most)]
                making, training = self.at_once(fields, steps, few_enough)[1:]  # drops the runs, to free memory
            except torch.OutOfMemoryError:
                self.say(f"     {most:2d} at once: not enough memory")
                self._free()
                continue
            self.say(f"     {most} runs made in {making:.1f} s")
            for k, seconds in zip(few_enough, training, strict=True):
                rate = k * steps * self.base.batch_size / seconds
                self._note(f"images/s, {k} at once" + (", compiled" if self.compile else ""), round(rate))
            return self._free()

    def _free(self) -> None:
        gc.collect()  # an error holds on to the frames of its thread
        if self.cuda:
            torch.cuda.empty_cache()

    def plain(self) -> None:
        """Measure the images per second of the straightforward loop, with torch's own switches."""
        warm_up, steps, workers = (30, 150, PLAIN_WORKERS) if self.cuda else (1, 1, 0)
        shape = dict(depth=self.base.depth, batch_size=self.base.batch_size, workers=workers)
        before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True  # as that code usually has it
        try:
            train = plain_loop(self.data[0], self.device, **shape)
            train(warm_up)
            self._note("images/s, plain loop", round(train(steps)))
        finally:
            torch.backends.cudnn.benchmark = before

    def limits(self) -> None:
        """Measure how fast the device multiplies and copies, and count the least that one image needs of each."""
        model = ResNet(self.base.depth).to(self.device)
        size, elements = (8192, 2**28) if self.cuda else (256, 2**20)
        rate = multiplication_rate(size, torch.bfloat16, self.device)
        self._note("bfloat16 multiplication, TFLOP/s", round(rate / 1e12, 3))
        self._note("memory, GB/s", round(copy_rate(elements, self.device) / 1e9))
        self._note("operations an image, MFLOP", round(operations_an_image(model, self.device) / 1e6, 1))
        self._note("memory traffic an image, MB", round(bytes_an_image(model, self.device, 2) / 1e6, 3))

    def _note(self, name: str, value: float) -> None:
        self.numbers[name] = value
        self.say(f"     {name}: {value:,}")

    def evaluation(self) -> None:
        """Measure the float32 evaluation and the captured one, in seconds."""
        run = self.make(LOSSES[0])
        run.model.eval()
        for name, function in (("float32", run.test_logits), ("captured", run.test_once)):
            times = seconds_of(function, self.device, 4 if self.cuda else 1)
            self._note(f"evaluation {name}, s", round(statistics.median(times), 4))

    def profile(self) -> None:
        """Print where a step's time goes, kernel by kernel, if a profiler works here."""
        from torch.profiler import ProfilerActivity, profile

        run = self.train(self.make(LOSSES[0]), 3)
        synchronize(self.device)
        try:
            with profile(activities=[ProfilerActivity.CUDA if self.cuda else ProfilerActivity.CPU]) as seen:
                self.train(run, 5 if self.cuda else 1)
                synchronize(self.device)
        except RuntimeError as error:  # on a shared machine it may not be allowed
            self.say(f"     no profile: {error}")
            return
        sort = "self_device_time_total" if self.cuda else "self_cpu_time_total"
        self.say(seen.key_averages().table(sort_by=sort, row_limit=22, max_name_column_width=80))
