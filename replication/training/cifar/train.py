"""train(experiment, data) -> RunRecord: one run of the paper's protocol (Section 5.2), resumable to the bit."""

import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from replication.data.augment import batch_order, crop_and_flip, crop_draws, pad, scale
from replication.data.seeds import stream
from replication.data.sources import ImageSet
from replication.experiments.experiment import Experiment
from replication.experiments.records import RunRecord
from replication.losses import sigmoid_cross_entropy, sigmoid_focal_loss, softmax_cross_entropy
from replication.theory.effective_number import class_balanced_weights
from replication.training import checkpoint
from replication.training.cifar.resnet import ResNet, decay_groups, initialise, prior_bias
from replication.training.device import autocast, cuda_switches, pick_device, pick_precision
from replication.training.loop import fit, history
from replication.training.schedule import learning_rate

EVALUATE_EVERY = 2  # epochs, as the authors' code
TEST_BATCH = 500
TRAINING_FILES = {"cifar10": 5}  # in the archive; CIFAR-100 has one.  Only the buffered shuffle asks
WORTH_COMPILING = 1_000_000  # images trained on, on CUDA (a guess: no GPU was at hand); on CPUs it gains little


def train(
    experiment: Experiment,
    data: tuple[ImageSet, ImageSet],
    *,
    device: str = "auto",
    checkpoint_path: Path | None = None,
    checkpoint_every: int = EVALUATE_EVERY,
    compiled: bool | None = None,
    deterministic: bool = False,
    precision: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> RunRecord:
    """Train one experiment and return its record.

    Args:
        experiment: what to run.
        data: the full training set, of which the experiment's seed keeps a long-tailed subset, and the test set.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
        checkpoint_path: resume from this file if it is there, and keep it up to date; the caller deletes it.
        checkpoint_every: epochs between checkpoints; they are written at evaluations only.
        compiled: whether torch.compile is used; None: on CUDA, where a run is long enough to repay it.
        deterministic: bit-equal repetition on CUDA too, at a cost in speed (on the CPU runs repeat to the bit anyway).
        precision: of training, "float32" or "bfloat16" (autocast); None: bfloat16 on CUDA, float32 on the CPU.
            Evaluation is in float32.
        progress: called with the number of images trained on since the last call.

    Raises:
        ValueError: fewer images than one batch over all epochs, or an unknown device or precision.
    """
    chosen = pick_device(device)
    with cuda_switches(chosen, deterministic):
        run = _Run(experiment, data, chosen, compiled, deterministic, precision)
        return fit(run, checkpoint_path, checkpoint_every, progress)


class _Run:
    """The state of one run: network, optimiser, images on the device, and the step that comes next."""

    def __init__(self, experiment, data, device, compiled, deterministic, precision=None):
        self.experiment, self.device, self.devices, self.commits, self.step = experiment, device, [], [], 0
        self.precision = pick_precision(precision, device)
        train_full, test = data
        kept = train_full.long_tailed(experiment.imbalance_factor, experiment.seed)
        self.kept, self.test, self.source = kept, test, train_full
        self.n, self.classes = len(kept), len(kept.class_names)
        self.steps = experiment.epochs * self.n // experiment.batch_size
        if self.steps < 1:
            raise ValueError(f"batch_size must be at most epochs x images = {experiment.epochs * self.n}")
        worth_it = device.type == "cuda" and experiment.epochs * self.n >= WORTH_COMPILING
        mode = None
        if worth_it if compiled is None else compiled:
            mode = "reduce-overhead" if device.type == "cuda" and not deterministic else "default"  # CUDA graphs
        shape = kept.images.shape[1:]
        self.model, self.network, self.compiled = _network(
            experiment.depth,
            self.classes,
            shape,
            experiment.shortcut,
            device,
            experiment.batch_size,
            mode,
            self.precision if mode else None,
        )
        self._put_on_device()
        self.loss = _loss(experiment, kept.class_counts, device)
        prior = experiment.loss != "softmax" and experiment.last_bias == "prior"
        initialise(self.model, stream(experiment.seed, "weights"), prior_bias(self.classes) if prior else 0.0)
        groups = decay_groups(self.model, experiment.weight_decay, experiment.loss == "softmax")
        self.optimiser = torch.optim.SGD(groups, lr=0.0, momentum=0.9, fused=True)

    def _put_on_device(self) -> None:
        e, device = self.experiment, self.device
        self.padded = pad(torch.from_numpy(self.kept.images).to(device), self.kept.padding)
        self.targets = torch.from_numpy(self.kept.targets).to(device)
        self.test_images = torch.from_numpy(self.test.images).to(device)
        self.test_targets = torch.from_numpy(self.test.targets).to(device)
        order = batch_order(
            self.n,
            e.epochs,
            stream(e.seed, "order"),
            shuffle=e.shuffle,
            batch_size=e.batch_size,
            files=TRAINING_FILES.get(e.dataset, 1),
        )
        draws = crop_draws(len(order), self.kept.padding, self.kept.flip, stream(e.seed, "augmentation"))
        self.order, *self.draws = (t.to(device) for t in (order, *draws))

    def evaluation_epochs(self) -> list[int]:
        """Epochs still to come after which the test error is taken: every second one, and the last.

        Of epochs with no step between them (fewer images than a batch) only the last is taken.
        """
        last = self.experiment.epochs
        wanted = sorted({*range(EVALUATE_EVERY, last, EVALUATE_EVERY), last})
        by_steps = {self._steps_until(epoch): epoch for epoch in wanted}
        return [epoch for steps, epoch in by_steps.items() if steps > self.step]

    def _steps_until(self, epoch: int) -> int:
        return epoch * self.n // self.experiment.batch_size

    def learning_rate(self, step: int) -> float:
        e = self.experiment
        epoch = step * e.batch_size / self.n
        return learning_rate(epoch, epochs=e.epochs, base=e.base_learning_rate, drop_factor=e.drop_factor)

    def advance(self, epoch: int, progress) -> float:
        """Train until the end of an epoch; the mean training loss of these steps (one host sync, at the end)."""
        self.model.train()
        total = torch.zeros((), device=self.device)
        first, last = self.step, self._steps_until(epoch)
        for self.step in range(first, last):
            total += self._train_step(self.step)
            if progress and self.device.type == "cpu":
                progress(self.experiment.batch_size)
        self.step = last
        if progress and self.device.type != "cpu":
            progress((last - first) * self.experiment.batch_size)
        return float(total) / (last - first)

    def _train_step(self, step: int) -> Tensor:
        size = self.experiment.batch_size
        window = slice(step * size, (step + 1) * size)
        index = self.order[window]
        top, left, flip = (draw[window] for draw in self.draws)
        images = scale(crop_and_flip(self.padded, index, top, left, flip, self.kept.images.shape[1:3]))
        self.optimiser.zero_grad()  # before the forward pass: CUDA graphs reuse the gradients' memory from there on
        with autocast(self.device, self.precision):
            logits = self.network(images)
        loss = self.loss(logits.float(), self.targets[index])
        loss.backward()
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimiser.step()
        return loss.detach()

    def evaluate(self) -> tuple[dict, np.ndarray | None]:
        """The test error in percent (NaN if a logit is not finite), and the wrong test images per class."""
        logits = self.test_logits()
        if not logits.isfinite().all():
            return dict(error=math.nan), None
        labels = self.test_targets[logits.argmax(1) != self.test_targets]
        wrong = torch.bincount(labels, minlength=self.classes).cpu().numpy()  # (C,)
        return dict(error=100 * float(wrong.sum() / len(self.test_targets))), wrong

    @torch.inference_mode()
    def test_logits(self) -> Tensor:
        self.model.eval()  # in float32 on any device: rounded logits would tie, and argmax breaks ties for the head
        return torch.cat([self.model(scale(images)) for images in self.test_images.split(TEST_BATCH)])

    def resume(self, path: Path | None) -> tuple[list[dict], float]:
        """Take up a checkpoint if there is a good one: its curve and the seconds spent so far."""
        state = path and checkpoint.load(path, self.experiment, self.kept.fingerprint, self.precision)
        if not state:
            return [], 0.0
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.devices, self.commits = state["step"], state.get("devices", []), state.get("commits", [])
        self.compiled |= state.get("compiled", False)  # the record tells whether any part was
        return state["curve"], state["seconds"]

    def save(self, path: Path, curve: list[dict], seconds: float) -> None:
        state = dict(model=self.model.state_dict(), optimiser=self.optimiser.state_dict(), step=self.step)
        state |= dict(curve=curve, seconds=seconds, compiled=self.compiled) | history(self)
        checkpoint.save(path, self.experiment, self.kept.fingerprint, self.precision, state)

    def record(self, wrong, shared) -> RunRecord:
        per_class = None if wrong is None else (100 * wrong / np.array(self.test.class_counts)).tolist()
        return RunRecord(
            error_per_class=per_class,
            class_names=list(self.kept.class_names),
            class_counts=self.kept.class_counts,
            dataset_fingerprint=self.source.fingerprint,
            subset_fingerprint=self.kept.fingerprint,
            compiled=self.compiled,
            parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            **shared,
        )


@functools.lru_cache(maxsize=2)
def _network(depth, classes, shape, shortcut, device, batch_size, mode, precision) -> tuple[ResNet, Callable, bool]:
    """A network, and the compiled form of it: made once a process and shape, initialised anew for each run.

    `mode` is torch.compile's, None for no compilation, and `precision` what is compiled for.
    Returns (network, what trains it, whether that is compiled).
    """
    model = ResNet(depth, classes, shape[2], shortcut).to(device, memory_format=torch.channels_last)
    if mode is None:
        return model, model, False
    tqdm.write("compiling the network once for all runs of this shape (up to a minute)")
    try:
        network = torch.compile(model, dynamic=False, mode=mode)
        images = scale(torch.zeros(batch_size, *shape, dtype=torch.uint8, device=device))
        for _ in range(3 if device.type == "cuda" else 1):  # CUDA graphs are recorded at the second call or the third
            with autocast(device, precision):
                network(images).sum().backward()
            model.zero_grad(set_to_none=True)
    except Exception as error:  # no compiler, an unsupported one, ...: torch raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        tqdm.write(f"torch.compile does not work here ({reason}): running eagerly, slower and otherwise the same")
        return model, model, False
    return model, network, True


def _loss(experiment: Experiment, class_counts: list[int], device) -> Callable[[Tensor, Tensor], Tensor]:
    weights = class_balanced_weights(class_counts, experiment.beta)
    if experiment.weights == "uniform_scaled":  # the class-balanced loss's average weight over the training images
        weights = np.full_like(weights, np.average(weights, weights=class_counts))
    weight = torch.from_numpy(weights).to(device, torch.float32)
    keywords = dict(weight=weight, reduction=experiment.reduction)
    if experiment.loss == "focal":
        return functools.partial(sigmoid_focal_loss, gamma=experiment.gamma, **keywords)
    functions = {"softmax": softmax_cross_entropy, "sigmoid": sigmoid_cross_entropy}
    return functools.partial(functions[experiment.loss], **keywords)
