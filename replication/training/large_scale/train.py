"""Train one run of Table 3's protocol: ResNets on large image sets, alone or under torchrun (Section 5.4).

    python -m replication large-scale --dataset inat2018 --data-root DIR --loss focal --gamma 0.5 --beta 0.999
    torchrun --nproc-per-node 8 -m replication large-scale ...

The global batch, the order of the images, their crops and the initial weights are the same for any number of processes.
"""

import contextlib
import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from replication.data.image_lists import ImageFiles
from replication.data.large_images import IGNORED, KeyedImages, batch_keys, normalise, test_transform, train_transform
from replication.data.seeds import stream
from replication.experiments.large_scale import LargeScaleExperiment, LargeScaleRecord
from replication.losses import ClassBalancedLoss
from replication.losses.terms import prior_bias
from replication.training import checkpoint
from replication.training.device import autocast, cuda_switches, pick_precision
from replication.training.large_scale import processes
from replication.training.large_scale.resnet import decay_groups, initialise, resnet
from replication.training.loop import Run, fit, history
from replication.training.schedule import LARGE_SCALE, learning_rate

MICRO_BATCH = 128  # images of one forward pass, which batch norm sees; the authors' 1024 lay on 8 cores
DROP_FACTOR = 0.1
# Each process keeps its own running statistics, which `evaluate` averages: by default rank 0's replace them all
# before each step.  The option has a new name in torch 2.14, where the old one warns.
NEW_NAME = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
OWN_STATISTICS = {"forward_sync_buffers" if NEW_NAME else "broadcast_buffers": False}


def train(
    experiment: LargeScaleExperiment,
    files: tuple[ImageFiles, ImageFiles],
    device: torch.device,
    *,
    micro_batch: int | None = None,
    workers: int = 0,
    skip_unreadable: bool = False,
    **fitting: Any,
) -> LargeScaleRecord:
    """Train one experiment, in all processes of the group if there is one; each of them returns the record.

    Args:
        experiment: what to run.
        files: training and validation images, from `list_images`.
        device: the device of this process.
        micro_batch: images of one forward pass; gradients add up over several if a process has more in a batch.
            Default: the largest divisor of its part of the batch up to 128.
        workers: worker processes that decode images, for each process.
        skip_unreadable: leave out images that cannot be read, naming and counting them, rather than stop at the first.
        fitting: checkpoint_path, which only rank 0 reads and writes, and further arguments of `fit`.

    Raises:
        ValueError: batch, processes and micro-batch that do not divide, fewer images than a batch, an unreadable image.
    """
    with cuda_switches(device):
        return fit(_LargeRun(experiment, files, device, micro_batch, workers, skip_unreadable), **fitting)  # type: ignore[return-value]


def part_of_batch(batch: int, count: int, micro_batch: int | None = None) -> tuple[int, int]:
    """Return how many images of a batch one process takes, and how many go through one forward pass.

    >>> part_of_batch(1024, 2), part_of_batch(1024, 8), part_of_batch(1024, 16)
    ((512, 128), (128, 128), (64, 64))
    """
    if batch % count:
        raise ValueError(f"batch_size must be a multiple of the {count} processes, got {batch}")
    part = batch // count
    if micro_batch is None:
        return part, max(d for d in range(1, min(part, MICRO_BATCH) + 1) if part % d == 0)
    if micro_batch < 1 or part % micro_batch:
        raise ValueError(f"micro_batch must divide a process's {part} images of a batch, got {micro_batch}")
    return part, micro_batch


class _LargeRun(Run):
    """The state of one run in one process: network, optimiser, the images' loader, and the next step."""

    experiment: LargeScaleExperiment

    def __init__(self, experiment, files, device, micro_batch, workers, skip_unreadable):
        super().__init__(experiment, device, pick_precision(None, device))
        self.files, self.test = files
        self.n, self.classes = len(self.files), len(self.files.class_names)
        self.skip, self.unreadable, self.workers, self.batches = skip_unreadable, set(), workers, None
        self.part, self.micro = part_of_batch(experiment.batch_size, processes.count(), micro_batch)
        if self.n < experiment.batch_size:
            raise ValueError(f"batch_size must be at most the {self.n} training images, got {experiment.batch_size}")
        self.steps = experiment.steps(self.n)
        prior = 0.0 if experiment.loss == "softmax" else prior_bias(self.classes)
        with torch.device("meta"):  # `initialise` draws the weights
            self.model = resnet(experiment.depth, self.classes)
        initialise(self.model.to_empty(device="cpu"), stream(experiment.seed, "weights"), prior)
        self.model.to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.SGD(
            decay_groups(self.model, experiment.weight_decay), lr=0.0, momentum=0.9, nesterov=True, fused=True
        )
        self.network = self.model
        if processes.count() > 1:
            ids = [device] if device.type == "cuda" else None
            self.network = DistributedDataParallel(self.model, device_ids=ids, **OWN_STATISTICS)
        e, counts = experiment, self.files.class_counts
        # a sum, divided by the whole batch below: so the mean over all processes is the paper's
        self.loss = ClassBalancedLoss(counts, e.beta, e.loss, e.gamma, "sum", IGNORED).to(device, torch.float32)
        self.normalise = normalise(experiment.dataset, device)

    def evaluation_epochs(self) -> list[int]:
        """Return every epoch still to come."""
        e = self.experiment
        return [k for k in range(1, e.epochs + 1) if self.step < e.steps_until(k, self.n) or k == e.epochs]

    def learning_rate(self, step: int) -> float:
        e = self.experiment
        epoch = step * e.batch_size / self.n
        return learning_rate(
            epoch, epochs=e.epochs, base=e.peak_learning_rate, drop_factor=DROP_FACTOR, points=LARGE_SCALE
        )

    def loader(self, files: ImageFiles, transform, keys) -> DataLoader:
        images = KeyedImages(files, transform, self.experiment.size, self.experiment.seed)
        return DataLoader(images, batch_sampler=keys, num_workers=self.workers, pin_memory=self.device.type == "cuda")

    def advance(self, epoch: int, progress) -> float:
        """Train until the end of an epoch; return the mean training loss of these steps, over all processes."""
        e = self.experiment
        if self.batches is None:  # one stream of batches to the end, so that workers read ahead across epoch borders
            shape = dict(rank=processes.rank(), processes=processes.count(), micro_batch=self.micro)
            keys = batch_keys(self.n, e.batch_size, range(self.step, self.steps), e.seed, **shape)
            self.batches = iter(self.loader(self.files, train_transform(e.size), keys))
        self.model.train()
        sums = torch.zeros((), device=self.device)
        first, last = self.step, e.steps_until(epoch, self.n)
        for self.step in range(first, last):
            sums += self.gradients([next(self.batches) for _ in range(self.part // self.micro)])
            for group in self.optimiser.param_groups:
                group["lr"] = self.learning_rate(self.step)
            self.optimiser.step()
            if progress:
                progress(e.batch_size)
        self.step = last
        return float(processes.all_reduce_sum(sums)) / (last - first) if last > first else math.nan

    def gradients(self, micro_batches: list) -> Tensor:
        """Compute the gradients of the mean loss over one global batch; return this process's share of that mean."""
        self._agree_on_unreadable(self.files, micro_batches)
        self.optimiser.zero_grad()
        share = torch.zeros((), device=self.device)
        for k, (images, targets, _) in enumerate(micro_batches):
            wait = k + 1 < len(micro_batches) and self.network is not self.model
            with self.network.no_sync() if wait else contextlib.nullcontext():
                with autocast(self.device, self.precision):
                    logits = self.network(self._input(images))
                loss = self.loss(logits.float(), targets.to(self.device, non_blocking=True))
                (loss / self.part).backward()  # DistributedDataParallel takes the mean over processes
            share += loss.detach() / self.experiment.batch_size
        return share

    def _input(self, images: Tensor) -> Tensor:
        images = self.normalise(images.to(self.device, non_blocking=True))
        return images.contiguous(memory_format=torch.channels_last)  # (B, 3, H, W)

    def _agree_on_unreadable(self, files: ImageFiles, micro_batches) -> None:
        """Tell all processes which images one of them cannot read; all stop, or all continue without these."""
        bad = [int(i) for _, targets, index in micro_batches for i in index[targets == IGNORED]]
        if not processes.any_of(bool(bad)):
            return
        paths = sorted({files.paths[i].decode(errors="replace") for found in processes.all_of(bad) for i in found})
        if not self.skip:
            raise ValueError(
                f"{paths[0]} cannot be read as an image: replace it, or leave such out with --skip-unreadable"
            )
        for path in set(paths) - self.unreadable:
            if processes.is_main_process():
                tqdm.write(f"skipped: {path} cannot be read as an image")
        self.unreadable.update(paths)

    @torch.no_grad()
    def evaluate(self) -> tuple[dict, np.ndarray | None]:
        """Return top-1 and top-5 error in percent, and per class (top-1 wrong, top-5 wrong, images): (3, C) counts.

        They are NaN and None if a logit is not finite.  Each of `count` processes takes every `count`-th image, without
        padding.  The running statistics of batch norm are averaged over the processes first.  There is no autocast,
        because rounded logits would tie, and ties are broken by the order of the classes.
        """
        for buffer in self.model.buffers():
            if buffer.is_floating_point():
                processes.all_reduce_sum(buffer).div_(processes.count())
        self.model.eval()
        counts = torch.zeros(3, self.classes, dtype=torch.int64, device=self.device)
        mine = [(0, i) for i in range(processes.rank(), len(self.test), processes.count())]
        keys = [mine[i : i + self.micro] for i in range(0, len(mine), self.micro)]
        seen, finite = [], torch.ones((), dtype=torch.bool, device=self.device)
        for images, targets, index in self.loader(self.test, test_transform(self.experiment.size), keys):
            logits = self.model(self._input(images))  # (B, C)
            counts += self._count(logits, targets)
            finite &= logits.isfinite().all()
            seen.append((None, targets, index))
        self._agree_on_unreadable(self.test, seen)
        if processes.any_of(not finite):
            return dict(error=math.nan, top5_error=math.nan), None
        totals = processes.all_reduce_sum(counts).cpu().numpy()
        wrong1, wrong5, images = totals
        if not images.sum():
            raise ValueError("data_root must hold validation images that can be read")
        top1, top5 = (100 * int(wrong.sum()) / int(images.sum()) for wrong in (wrong1, wrong5))
        return dict(error=top1, top5_error=top5), totals

    def _count(self, logits: Tensor, targets: Tensor) -> Tensor:
        readable = targets != IGNORED
        targets = targets[readable].to(self.device)  # (B,)
        top = logits[readable.to(self.device)].topk(min(5, self.classes)).indices  # (B, 5)
        hits = top == targets[:, None]
        misses = (~hits[:, 0], ~hits.any(1), torch.ones_like(hits[:, 0]))
        return torch.stack([torch.bincount(targets[m], minlength=self.classes) for m in misses])

    def resume(self, path: Path | None) -> tuple[list[dict], float]:
        """Load the checkpoint that rank 0 finds, if it is a good one; return its curve and the seconds so far."""
        if path is None:
            return [], 0.0
        like = self._state([], 0.0)
        state = processes.by_main_process(
            lambda: checkpoint.load(path, self.experiment, self.files.fingerprint, self.precision, like)
        )
        if not state:
            return [], 0.0
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.unreadable = state["step"], set(state["unreadable"])
        self.devices, self.commits = state.get("devices", []), state.get("commits", [])
        return state["curve"], state["seconds"]

    def _state(self, curve: list[dict], seconds: float) -> dict:
        """Return what a checkpoint holds, except devices and commits, which older ones lack."""
        state = dict(model=self.model.state_dict(), optimiser=self.optimiser.state_dict(), step=self.step)
        return state | dict(curve=curve, seconds=seconds, unreadable=sorted(self.unreadable))

    def save(self, path: Path, curve: list[dict], seconds: float) -> None:
        state = self._state(curve, seconds) | history(self)
        processes.by_main_process(
            lambda: checkpoint.save(path, self.experiment, self.files.fingerprint, self.precision, state)
        )

    def record(self, counts, shared) -> LargeScaleRecord:
        finished, per_class = counts is not None, None
        if finished:
            per_class = [100 * float(w) / int(n) if n else None for w, n in zip(counts[0], counts[2], strict=True)]
        return LargeScaleRecord(
            error_per_class=per_class,
            class_names=list(self.files.class_names),
            class_counts=self.files.class_counts,
            dataset_fingerprint=self.files.fingerprint,
            subset_fingerprint=self.files.fingerprint,
            compiled=False,
            parameters=sum(p.numel() for p in self.model.parameters()),
            top5_error=shared["curve"][-1]["top5_error"] if finished else None,
            processes=processes.count(),
            global_batch=self.experiment.batch_size,
            micro_batch=self.micro,
            test_images=int(counts[2].sum()) if finished else 0,
            skipped_images=len(self.unreadable),
            **shared,
        )
