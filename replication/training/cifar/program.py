"""One run on its device: network, optimiser, images, and a step and a test that do not synchronise with the host.

The number of the step, the learning rates, the order of the images and their crops are tensors.  On CUDA the step and
the test are recorded as graphs, so that each is one launch; elsewhere the same code runs as it is.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from replication.data.augment import batch_order, crop_and_flip, crop_draws, pad, scale
from replication.data.image_set import ImageSet
from replication.data.seeds import stream
from replication.experiments.experiment import Experiment
from replication.losses.terms import prior_bias
from replication.training.captured import EAGER, captured
from replication.training.cifar.losses import class_weights, plain_loss, training_loss
from replication.training.cifar.resnet import ResNet, decay_groups, initialise
from replication.training.device import autocast, pick_precision
from replication.training.loop import Run
from replication.training.schedule import learning_rate

TEST_BATCH = 500  # images per forward pass of the last evaluation, and of every evaluation on the CPU
TEST_BATCH_CAPTURED = 2000
TRAINING_FILES = {"cifar10": 5}  # in the archive; CIFAR-100 has one.  Only the buffered shuffle reads this
WORTH_COMPILING = 1_000_000  # images in training from which compilation pays on CUDA; on CPUs it gains little
SOFTMAX = ("softmax", "balanced_softmax")  # losses whose logits give probabilities by softmax


class Program(Run):
    """The part of `CifarRun` that is on the device.

    The arguments are those of `train`, but the device is torch's.  Without a compiler a run that is to be compiled
    trains eagerly and says so.
    """

    experiment: Experiment

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
        e = experiment
        self.source, self.test = data
        self.kept = self.source.long_tailed(e.imbalance_factor, e.seed)
        self.n, self.classes = len(self.kept), len(self.kept.class_names)
        self.steps = e.steps(self.n)
        if 0 in self.test.class_counts:
            raise ValueError(f"data must hold test images of every class, got {self.test.class_counts} of each")
        self.reweighted = self.steps_until(e.reweight_from * e.epochs)  # first balanced step
        self.graphs = graphs and device.type == "cuda"
        shape = self.kept.images.shape[1:]
        if compiled is None:
            compiled = device.type == "cuda" and e.epochs * self.n >= WORTH_COMPILING
        network = None
        if compiled:
            with EAGER:  # one thread compiles while the others wait for the result, which all of them share
                network = _compile(e.depth, e.shortcut, self.classes, shape, e.batch_size, device, self.precision)
        self.compiled, self.network = network is not None, network or ResNet.forward
        model = ResNet(e.depth, self.classes, shape[2], e.shortcut)
        order = self._order()
        with EAGER:
            self.model = model.to(device).to(memory_format=torch.channels_last)
            self._put_on_device(*order)
            self._record_graphs()
            self._initialise()

    def _order(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw the order and crops of the images of all steps on the CPU: index, top, left and flip."""
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
        self.rates = rates.to(device, torch.float64 if device.type == "cpu" else torch.float32)  # for the fused SGD
        self.rate = torch.zeros_like(self.rates[:1])
        self.lanes = torch.arange(e.batch_size, device=device)
        self.position = torch.zeros(1, dtype=torch.int64, device=device)  # the next step
        self.total = torch.zeros((), device=device)  # sum of the losses since the last evaluation
        self.test_total = torch.zeros((), device=device)
        self.wrong = torch.zeros(self.classes, dtype=torch.int64, device=device)
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.balanced = class_weights(e, self.kept.class_counts, device)  # (C,)
        self.weight = torch.ones_like(self.balanced) if e.reweight_from else self.balanced.clone()  # 1 until then
        self.loss = training_loss(e, self.weight, self.kept.class_counts)
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

    def steps_until(self, epoch: float) -> int:
        """Return the number of steps of the first epochs; batches run on across epoch borders."""
        return math.floor(epoch * self.n / self.experiment.batch_size)

    def learning_rate(self, step: int) -> float:
        e = self.experiment
        epoch = step * e.batch_size / self.n
        return learning_rate(epoch, epochs=e.epochs, base=e.base_learning_rate, drop_factor=e.drop_factor)

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
        """Count the wrong test images of each class and add up the plain loss, without synchronising with the host."""
        for total in (self.wrong, self.test_total):
            total.zero_()
        self.finite.fill_(True)
        batches = zip(*(t.split(TEST_BATCH_CAPTURED) for t in (self.test_images, self.test_targets)), strict=True)
        for images, targets in batches:
            logits = self.model(scale(images))
            self.finite.logical_and_(logits.isfinite().all())
            self.test_total += self.test_loss(logits, targets)
            self.wrong.index_add_(0, targets, (logits.argmax(1) != targets).long())

    @torch.inference_mode()
    def test_logits(self) -> Tensor:
        """Return the (n, C) test logits in float32: rounded logits would tie, and argmax breaks ties for the head."""
        self.model.eval()
        return torch.cat([self.model(scale(images)) for images in self.test_images.split(TEST_BATCH)])


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

    It is compiled once for all networks of a shape, (H, W, channels) of an image, and serves each of them.
    """
    tqdm.write("compiling the network once for all runs of this shape (up to a minute)")
    try:
        network = torch.compile(ResNet.forward, dynamic=False, fullgraph=True)
        model = ResNet(depth, classes, shape[2], shortcut).to(device).to(memory_format=torch.channels_last)
        images = scale(torch.zeros(batch_size, *shape, dtype=torch.uint8, device=device))
        with autocast(device, precision):
            network(model, images).sum().backward()
    except Exception as error:  # no compiler, an unsupported one, ...: torch raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        tqdm.write(f"torch.compile does not work here ({reason}): running eagerly, slower and otherwise the same")
        return None
    return network
