"""One run of the paper's CIFAR protocol (Section 5.2), all of it on the device and resumable to the bit.

The number of the step, the learning rates, the order of the images and their crops are tensors, so that a step asks
nothing of the host.  On CUDA a step is one launch of a recorded graph; elsewhere the same code runs as it is.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from replication.data.augment import batch_order, crop_and_flip, crop_draws, pad, scale
from replication.data.image_set import ImageSet
from replication.data.seeds import stream
from replication.experiments.experiment import Experiment
from replication.experiments.records import RunRecord
from replication.training import checkpoint
from replication.training.captured import EAGER, captured
from replication.training.cifar.evaluation import adjusted_logits, calibration_error, errors, write_logits
from replication.training.cifar.losses import ClassWeights, plain_loss, training_loss
from replication.training.cifar.resnet import ResNet, decay_groups, initialise, prior_bias
from replication.training.device import autocast, cuda_switches, pick_device, pick_precision, synchronize
from replication.training.loop import Run, fit, history
from replication.training.schedule import CIFAR, learning_rate

EVALUATE_EVERY = 2  # epochs, as the authors' code
TEST_BATCH = 500  # images of a forward pass of the last evaluation, and of all on the CPU
TEST_BATCH_CAPTURED = 2000
TRAINING_FILES = {"cifar10": 5}  # in the archive; CIFAR-100 has one.  Only the buffered shuffle asks
WORTH_COMPILING = 1_000_000  # images trained on, on CUDA; on CPUs it gains little
SOFTMAX = ("softmax", "balanced_softmax")  # losses whose logits give probabilities by softmax


def train(
    experiment: Experiment,
    data: tuple[ImageSet, ImageSet],
    *,
    device: str = "auto",
    compiled: bool | None = None,
    deterministic: bool = False,
    precision: str | None = None,
    graphs: bool = True,
    checkpoint_path: Path | None = None,
    checkpoint_every: int | None = None,
    start_path: Path | None = None,
    logits_path: Path | None = None,
    keep_at: Mapping[int, Path] | None = None,
    evaluate_every: int = EVALUATE_EVERY,
    progress: Callable[[int], object] | None = None,
    over: Callable[[], bool] = lambda: False,
) -> RunRecord:
    """Train one experiment and return its record.

    Args:
        experiment: what to run.
        data: the full training set, of which the experiment's seed keeps a long-tailed subset, and the test set.
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...
        compiled: whether the network goes through torch.compile; None: on CUDA, if the run is long enough to repay it.
        deterministic: bit-equal repetition on CUDA too, at a cost in speed (CPU runs repeat to the bit anyway).
        precision: of training, "float32" or "bfloat16" (autocast); None: bfloat16 on CUDA, float32 on the CPU.
        graphs: whether steps are recorded as CUDA graphs and replayed, on CUDA.
        checkpoint_path: resume from this file if it is there, and keep it up to date; the caller deletes it.
        checkpoint_every: epochs between checkpoints; None: every second epoch on the CPU, one a minute on CUDA.
        start_path: for deferred re-weighting, the checkpoint of the plain run at the epoch at which the weights begin.
        logits_path: where the last test logits go (float16).
        keep_at: epoch -> file of a further checkpoint, for other runs that start there.
        evaluate_every: epochs between evaluations before the rate drops first; after that every second, as the paper.
        progress: called with the number of images trained on since the last call.
        over: asked after each evaluation whether the time is up.

    Raises:
        ValueError: fewer images than one batch over all epochs, or an unknown device or precision.
        OutOfTime: the time is up; the checkpoint is written.
    """
    chosen = pick_device(device)
    stream_of_its_own = contextlib.nullcontext()
    if chosen.type == "cuda" and torch.cuda.current_stream(chosen) == torch.cuda.default_stream(chosen):
        stream_of_its_own = torch.cuda.stream(torch.cuda.Stream(chosen))
    with cuda_switches(chosen, deterministic), stream_of_its_own:
        run = CifarRun(experiment, data, chosen, compiled=compiled, precision=precision, graphs=graphs)
        run.start_path, run.logits_path, run.evaluate_every = start_path, logits_path, evaluate_every
        if checkpoint_every is None and chosen.type == "cpu":
            checkpoint_every = EVALUATE_EVERY
        return fit(
            run, checkpoint_path, checkpoint_every=checkpoint_every, progress=progress, over=over, keep_at=keep_at
        )


class CifarRun(Run):
    """The state of one run: its own network and optimiser, the images on the device, and the step that comes next.

    Args:
        experiment, data: as for `train`.
        device: a torch device.
        compiled: whether to train through torch.compile; without a compiler the run trains eagerly and says so.
        precision: "float32", "bfloat16" or None, as for `train`.
        graphs: whether steps are recorded as CUDA graphs, on CUDA.
    """

    start_path: Path | None = None
    logits_path: Path | None = None
    evaluate_every: int = EVALUATE_EVERY

    def __init__(
        self,
        experiment: Experiment,
        data: tuple[ImageSet, ImageSet],
        device: torch.device,
        *,
        compiled: bool | None = False,
        precision: str | None = None,
        graphs: bool = True,
    ):
        super().__init__(experiment, device, pick_precision(precision, device))
        self.source, self.test = data
        self.kept = self.source.long_tailed(experiment.imbalance_factor, experiment.seed)
        self.n, self.classes = len(self.kept), len(self.kept.class_names)
        self.steps = experiment.epochs * self.n // experiment.batch_size
        if self.steps < 1:
            raise ValueError(f"batch_size must be at most epochs x images = {experiment.epochs * self.n}")
        self.graphs = graphs and device.type == "cuda"
        shape = self.kept.images.shape[1:]
        e, network = experiment, None
        if compiled is None:
            compiled = device.type == "cuda" and e.epochs * self.n >= WORTH_COMPILING
        if compiled:
            network = compiled_forward(e.depth, e.shortcut, self.classes, shape, e.batch_size, device, self.precision)
        self.compiled, self.network = network is not None, network or ResNet.forward
        model = ResNet(experiment.depth, self.classes, shape[2], experiment.shortcut)
        order = self._order()
        with EAGER:
            self.model = model.to(device, memory_format=torch.channels_last)
            self._put_on_device(*order)
            self._record_graphs()
            self._initialise()

    def _order(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw on the CPU which image comes when: (steps' images,) index, top, left and flip."""
        e = self.experiment
        files = TRAINING_FILES.get(e.dataset, 1)
        order = batch_order(
            self.n, e.epochs, stream(e.seed, "order"), shuffle=e.shuffle, batch_size=e.batch_size, files=files
        )
        return order, *crop_draws(len(order), self.kept.padding, self.kept.flip, stream(e.seed, "augmentation"))

    def _put_on_device(self, *order: Tensor) -> None:
        e, device = self.experiment, self.device
        self.padded = pad(torch.from_numpy(self.kept.images).to(device), self.kept.padding)
        self.targets = torch.from_numpy(self.kept.targets).to(device)
        self.test_images = torch.from_numpy(self.test.images).to(device)
        self.test_targets = torch.from_numpy(self.test.targets).to(device)
        self.order, *self.draws = (t.to(device) for t in order)
        rates = torch.tensor([self.learning_rate(step) for step in range(self.steps)], dtype=torch.float64)
        self.rates = rates.to(device, torch.float64 if device.type == "cpu" else torch.float32)  # as the fused SGD asks
        self.rate = torch.zeros_like(self.rates[:1])
        self.lanes = torch.arange(e.batch_size, device=device)
        self.position = torch.zeros(1, dtype=torch.int64, device=device)  # the step that comes next
        self.total = torch.zeros((), device=device)  # of the losses since the last evaluation
        self.test_total = torch.zeros((), device=device)
        self.wrong = torch.zeros(self.classes, dtype=torch.int64, device=device)
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.weights = ClassWeights(e, self.kept.class_counts, device)
        self.loss = training_loss(e, self.weights.now, self.kept.class_counts)
        self.test_loss = plain_loss(e)
        groups = decay_groups(self.model, e.weight_decay, e.loss in SOFTMAX)
        self.optimiser = torch.optim.SGD(groups, lr=self.rate, momentum=0.9, fused=True)
        for parameter in self.model.parameters():  # 0.9 x 0 + gradient is what a first step does
            self.optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def _record_graphs(self) -> None:
        """Record the step and the test; the warm-up changes weights, so this comes before they are set."""
        device = self.device if self.graphs else torch.device("cpu")
        self.model.train()
        self.train_once = captured(self._step, device, reset=self.position.zero_)  # a run may have fewer steps
        self.optimiser.zero_grad()  # the gradients live in the graph's memory
        self.model.eval()
        self.test_once = captured(self._test, device, tf32=True)

    def _initialise(self) -> None:
        e = self.experiment
        prior = e.loss not in SOFTMAX and e.last_bias == "prior"
        initialise(self.model, stream(e.seed, "weights"), prior_bias(self.classes) if prior else 0.0)
        for state in self.optimiser.state.values():
            state["momentum_buffer"].zero_()
        self.position.zero_()
        self.total.zero_()

    def evaluation_epochs(self) -> list[int]:
        """Return every second epoch still to come, and the last; before the first drop of the rate `evaluate_every`.

        Of epochs with no step between them (fewer images than a batch) only the last is taken.
        """
        last = self.experiment.epochs
        drop = round(last * CIFAR[1] / CIFAR[-1])
        late = range(drop, last, EVALUATE_EVERY) if self.evaluate_every > EVALUATE_EVERY else ()
        early = range(self.evaluate_every, drop if late else last, self.evaluate_every)
        wanted = sorted({*early, *late, last})
        by_steps = {self.steps_until(epoch): epoch for epoch in wanted}
        return [epoch for steps, epoch in by_steps.items() if steps > self.step]

    def steps_until(self, epoch: float) -> int:
        """Return the number of steps of the first epochs; batches run on across epoch borders."""
        return math.floor(epoch * self.n / self.experiment.batch_size)

    def learning_rate(self, step: int) -> float:
        e = self.experiment
        epoch = step * e.batch_size / self.n
        return learning_rate(epoch, epochs=e.epochs, base=e.base_learning_rate, drop_factor=e.drop_factor)

    def advance(self, epoch: int, progress: Callable[[int], object] | None = None) -> float:
        """Train until the end of an epoch; return the mean training loss of these steps (one wait, at the end)."""
        self.model.train()
        self.total.zero_()
        first, last, size = self.step, self.steps_until(epoch), self.experiment.batch_size
        reweighted = self.steps_until(self.experiment.reweight_from * self.experiment.epochs)
        if first >= reweighted:
            self.weights.balance()
        for step in range(first, last):
            if step == reweighted:
                self.weights.balance()
            self.train_once()
            if progress and self.device.type == "cpu":
                progress(size)
        self.step = last
        synchronize(self.device)
        mean = float(self.total) / (last - first)
        if progress and self.device.type != "cpu":
            progress((last - first) * size)
        return mean

    def _step(self) -> None:
        window = self.position * self.experiment.batch_size + self.lanes  # (B,)
        index = self.order[window]
        top, left, flip = (draw[window] for draw in self.draws)
        self.rate.copy_(self.rates[self.position])
        images = scale(crop_and_flip(self.padded, index, top, left, flip, self.kept.images.shape[1:3]))
        self.optimiser.zero_grad()
        with autocast(self.device, self.precision):
            logits = self.network(self.model, images)
        loss = self.loss(logits.float(), self.targets[index])
        loss.backward()
        self.optimiser.step()
        self.total += loss.detach()
        self.position += 1

    @torch.no_grad()
    def _test(self) -> None:
        """Count the wrong test images of each class and add up their plain loss, without asking the host."""
        for total in (self.wrong, self.test_total):
            total.zero_()
        self.finite.fill_(True)
        batches = zip(*(t.split(TEST_BATCH_CAPTURED) for t in (self.test_images, self.test_targets)), strict=True)
        for images, targets in batches:
            logits = self.model(scale(images))
            self.finite.logical_and_(logits.isfinite().all())
            self.test_total += self.test_loss(logits, targets)
            self.wrong.index_add_(0, targets, (logits.argmax(1) != targets).long())

    def evaluate(self) -> tuple[dict, tuple[np.ndarray, np.ndarray | None] | None]:
        """Return the test error in percent and the test loss; and (wrong images per class, logits at the end).

        The last epoch is evaluated in float32 on any device; before that CUDA uses TF32 and one launch.
        """
        last = self.step >= self.steps
        logits = None
        if last or not self.graphs:
            with EAGER:
                tested = self.test_logits()
                self.finite.copy_(tested.isfinite().all())
                misses = self.test_targets[tested.argmax(1) != self.test_targets]
                self.wrong.copy_(torch.bincount(misses, minlength=self.classes))
                self.test_total.copy_(self.test_loss(tested, self.test_targets))
                logits = tested.cpu().numpy() if last else None
        else:
            self.model.eval()
            self.test_once()
            synchronize(self.device)
        if not bool(self.finite):
            return dict(error=math.nan), None
        wrong, n = self.wrong.cpu().numpy(), len(self.test_targets)  # (C,)
        return dict(error=100 * float(wrong.sum() / n), test_loss=float(self.test_total) / n), (wrong, logits)

    @torch.inference_mode()
    def test_logits(self) -> Tensor:
        """Return the (n, C) test logits in float32: rounded logits would tie, and argmax breaks ties for the head."""
        self.model.eval()
        return torch.cat([self.model(scale(images)) for images in self.test_images.split(TEST_BATCH)])

    def resume(self, path: Path | None) -> tuple[list[dict], float]:
        """Take up the run's own checkpoint, else that of the run that it starts from; return curve and seconds.

        The state is copied in place, because recorded graphs read and write the tensors that they were recorded with.
        """
        shared = self.experiment.shared_start()
        candidates = [(path, self.experiment), (self.start_path, shared)]
        for file, experiment in candidates:
            if file and experiment:
                state = checkpoint.load(file, experiment, self.kept.fingerprint, self.precision, self._layout())
                if state:
                    break
        else:
            return [], 0.0
        self.model.load_state_dict(state["model"])
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        for k, parameter in enumerate(parameters):
            held = state["optimiser"]["state"][k]["momentum_buffer"]
            self.optimiser.state[parameter]["momentum_buffer"].copy_(held)
        self.step, self.devices, self.commits = state["step"], state.get("devices", []), state.get("commits", [])
        self.position.fill_(self.step)
        self.compiled |= state.get("compiled", False)  # the record tells whether any part was
        synchronize(self.device)
        return state["curve"], state["seconds"]

    def _layout(self) -> dict:
        """What `resume` reads of a checkpoint, as it is now."""
        momentum = dict(state=self.optimiser.state_dict()["state"])
        return dict(model=self.model.state_dict(), optimiser=momentum, step=0, curve=[], seconds=0.0)

    def save(self, path: Path, curve: list[dict], seconds: float) -> None:
        with EAGER:
            state = dict(model=self.model.state_dict(), optimiser=self.optimiser.state_dict(), step=self.step)
            state |= dict(curve=curve, seconds=seconds, compiled=self.compiled) | history(self)
            checkpoint.save(path, self.experiment, self.kept.fingerprint, self.precision, state)

    def record(self, last: tuple[np.ndarray, np.ndarray] | None, shared: dict) -> RunRecord:
        return RunRecord(
            **(self._measured(*last) if last else dict(error_per_class=None)),
            class_names=list(self.kept.class_names),
            class_counts=self.kept.class_counts,
            dataset_fingerprint=self.source.fingerprint,
            subset_fingerprint=self.kept.fingerprint,
            compiled=self.compiled,
            parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            **shared,
        )

    def _measured(self, wrong: np.ndarray, logits: np.ndarray) -> dict:
        """Return what the last test logits give for the record, and write them."""
        train_counts, test_counts = np.array(self.kept.class_counts), np.array(self.test.class_counts)
        measured = errors(wrong, test_counts, train_counts)
        if self.experiment.loss in SOFTMAX:
            measured["calibration_error"] = calibration_error(logits, self.test.targets)
        if self.experiment.loss == "softmax":
            missed = adjusted_logits(logits, train_counts).argmax(1) != self.test.targets
            per_class = np.bincount(self.test.targets[missed], minlength=self.classes)
            measured["adjusted_error"] = float(100 * missed.mean())
            measured["adjusted_error_per_class"] = (100 * per_class / test_counts).tolist()
        if self.logits_path:
            measured["logits_fingerprint"] = write_logits(self.logits_path, logits)
        return measured


def compiled_forward(*shape_and_device) -> Callable[[ResNet, Tensor], Tensor] | None:
    """Return `_compile` of the same arguments, made by one thread while the others wait for it."""
    with EAGER:
        return _compile(*shape_and_device)


@functools.cache
def _compile(
    depth: int,
    shortcut: str,
    classes: int,
    shape: tuple[int, int, int],
    batch_size: int,
    device: torch.device,
    precision: str,
) -> Callable[[ResNet, Tensor], Tensor] | None:
    """Return what torch.compile makes of ResNet.forward, called as f(model, images); None if it does not work here.

    It is compiled once for all networks of a shape and serves each of them.

    Args:
        depth, shortcut, classes: of the network.
        shape: (H, W, channels) of an image.
        batch_size: images of a step.
        device, precision: what trains.
    """
    tqdm.write("compiling the network once for all runs of this shape (up to a minute)")
    try:
        network = torch.compile(ResNet.forward, dynamic=False, fullgraph=True)
        model = ResNet(depth, classes, shape[2], shortcut).to(device, memory_format=torch.channels_last)
        images = scale(torch.zeros(batch_size, *shape, dtype=torch.uint8, device=device))
        with autocast(device, precision):
            network(model, images).sum().backward()
    except Exception as error:  # no compiler, an unsupported one, ...: torch raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        tqdm.write(f"torch.compile does not work here ({reason}): running eagerly, slower and otherwise the same")
        return None
    return network
