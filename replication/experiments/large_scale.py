"""Large-scale experiments (Table 3, Figure 7), their records, and the paper's 27 runs.

This imports no torch, so that the report reads the records on any laptop.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from replication.experiments.base import BaseExperiment
from replication.experiments.experiment import LOSSES
from replication.experiments.records import RunRecord

DATASETS = ("inat2017", "inat2018", "ilsvrc2012", "folder")
DEPTHS = (18, 34, 50, 101, 152)
PROFILE = "large-scale"
STRIDE = 32  # of the network: a side of the image becomes side / 32
# Learning rate for 256 images, by data set, of the losses that add over classes; softmax has 0.1 everywhere.  The paper
# gives those of focal; we take them for sigmoid too, and ILSVRC's for other folders.
BASE_LEARNING_RATES = {"ilsvrc2012": 0.2, "inat2017": 0.4, "inat2018": 0.4, "folder": 0.2}


@dataclass(frozen=True)
class LargeScaleExperiment(BaseExperiment):
    """One large-scale run; the defaults are the paper's protocol (Section 5.4 and the authors' code).

    The number of processes is not part of the experiment; the record states it.

    Raises:
        ValueError: a field outside its range, named with its value and what is allowed.

    >>> LargeScaleExperiment("inat2018", loss="focal", gamma=0.5, beta=0.999).base_learning_rate
    0.4
    """

    dataset: str = "ilsvrc2012"
    depth: int = 50
    loss: str = "softmax"
    gamma: float | None = None  # focal only
    beta: float = 0.0  # 0: the plain loss
    size: int = 224  # side of the square image that the network sees, pixels
    seed: int = 0  # initial weights, batch order and augmentation
    epochs: int = 90
    batch_size: int = 1024  # of all processes together
    # for 256 images; None: the paper's for this data set and loss
    base_learning_rate: float = None  # type: ignore[assignment]  # __post_init__ replaces None
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        self.check_common(dict(dataset=DATASETS, depth=DEPTHS, loss=LOSSES))
        words = f"a multiple of {STRIDE} (the paper: 224, 320)"
        self.require("size", lambda v: v >= STRIDE and v % STRIDE == 0, words)
        if self.base_learning_rate is None:
            rate = 0.1 if self.loss == "softmax" else BASE_LEARNING_RATES[self.dataset]
            object.__setattr__(self, "base_learning_rate", rate)
        self.require("base_learning_rate", lambda v: v > 0, "a finite number > 0")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after the warm-up: base x batch / 256."""
        return self.base_learning_rate * self.batch_size / 256

    @property
    def name(self) -> str:
        """The file name of this run's record without the ending; it is readable and unique."""
        network = f"{self.dataset}_resnet{self.depth}_{self.size}"
        return f"{network}_{self.loss_name}_beta{self.beta:g}_seed{self.seed}_{self.digest}"

    @property
    def profile(self) -> str:
        """The folder of all large-scale runs; Table 3 takes those of the paper's budget."""
        return PROFILE

    def steps(self, images: int) -> int:
        """Return the steps of the whole run, rounded up as the authors do: 112603 on ILSVRC's 1281167 images."""
        return self.steps_until(self.epochs, images)

    def steps_until(self, epoch: int, images: int) -> int:
        """Return the steps that so many epochs of `images` images take; batches run on across epoch borders."""
        return -(-epoch * images // self.batch_size)


@dataclass(frozen=True)
class LargeScaleRecord(RunRecord):
    """A RunRecord with the fields of large runs; `curve` has top5_error beside error (top-1), both in percent."""

    error_per_class: list[float | None] | None  # type: ignore[assignment]  # None: a class without validation images
    top5_error: float | None = None  # of the last epoch; 0 if there are 5 classes or fewer
    processes: int = 1
    global_batch: int = 0  # images a step, all processes together
    micro_batch: int = 0  # images a forward pass, which batch norm sees
    test_images: int = 0  # each counted once
    skipped_images: int = 0  # unreadable ones, training and test, left out with --skip-unreadable
    experiment_class: ClassVar[type] = LargeScaleExperiment


def table3_rows() -> list[LargeScaleExperiment]:
    """Return the paper's 27 runs: 3 data sets, 3 networks, softmax at 224 and CB focal (0.999, 0.5) at 224 and 320."""
    balanced: dict[str, Any] = dict(loss="focal", gamma=0.5, beta=0.999)
    return [
        LargeScaleExperiment(dataset, depth, size=size, **loss)
        for dataset in ("inat2017", "inat2018", "ilsvrc2012")
        for size, loss in ((224, {}), (224, balanced), (320, balanced))
        for depth in (50, 101, 152)
    ]
