"""What a run is: Experiment, the profiles that set its budget, and the paper's grids as plain tuples."""

from dataclasses import dataclass, field, replace
from typing import Any

from replication.data.image_set import NATURAL
from replication.experiments.base import LATER, BaseExperiment


def loss_label(loss: str, gamma: float | None = None) -> str:
    """Name a loss for tables and figures: "softmax", "sigmoid", "focal 0.5"; different losses have different names."""
    if loss != "focal" or gamma is None:
        return loss
    gamma = float(gamma)
    return f"focal {gamma:.1f}" if gamma == round(gamma, 1) else f"focal {gamma!r}"


LOSSES = ("softmax", "sigmoid", "focal")
METHODS = (*LOSSES, "balanced_softmax")  # the last is of Ren et al. 2020: cross-entropy of z + log n, without weights
DATASETS = ("cifar10", "cifar20", "cifar100", "fashion_mnist", "digits", "folder")
CHOICES = {
    "dataset": DATASETS,
    "loss": METHODS,
    "weights": ("class_balanced", "uniform_scaled"),
    "reduction": ("mean", "weighted_mean"),
    "shortcut": ("average_pool", "subsample"),
    "shuffle": ("iid", "buffered"),
    "last_bias": ("prior", "zero"),
}
# What other code and later methods change.
SWITCHES = ("weights", "reduction", "drop_factor", "shortcut", "shuffle", "last_bias", "reweight_from")
DEEPEST = 1202  # layers: the deepest ResNet tried on CIFAR (He et al., 2016, Section 4.2)


def paper_setting(name: str, imbalance_factor: float | str | None) -> Any:
    """Return the paper's value of a field of Experiment: its default, except for drop_factor.

    The drop factor is 0.01 in Section 5.2 and the authors' long-tailed scripts, 0.1 in their balanced one.
    """
    if name == "drop_factor":
        return 0.1 if imbalance_factor == 1 else 0.01
    return getattr(Experiment, name)


@dataclass(frozen=True)
class Experiment(BaseExperiment):
    """Everything that decides what is trained: equal Experiments give the same record, apart from times.

    The records are equal to the bit on CPUs of one kind with the same threads, precision and compilation, and on one
    kind of GPU with `deterministic`.  The defaults are the paper's protocol, Section 5.2 and the authors' code.

    A field that is added later needs `field(default=..., metadata=LATER)`, so that existing records keep their names.

    Raises:
        ValueError: a field outside its range, named with its value and what is allowed.
    """

    dataset: str = "cifar10"
    # largest class over smallest, >= 1; None: natural for folder, else 100
    imbalance_factor: float | str = None  # type: ignore[assignment]  # __post_init__ replaces None
    loss: str = "softmax"
    gamma: float | None = None  # focal only
    beta: float = 0.0  # 0: the plain loss
    seed: int = 0  # subset, initial weights, batch order and augmentation
    depth: int = 32  # 6 k + 2 layers
    epochs: int = 200
    batch_size: int = 128
    base_learning_rate: float = 0.1
    weight_decay: float = 2e-4
    weights: str = "class_balanced"  # "uniform_scaled": no re-balancing, the loss times the same average weight
    reduction: str = "mean"  # "weighted_mean": divided by the batch's sum of weights, as torch does
    drop_factor: float = None  # type: ignore[assignment]  # None: paper_setting; 0.1: the usual step decay
    shortcut: str = "average_pool"  # "subsample": every other pixel
    shuffle: str = "iid"  # "buffered": the authors' input pipeline, simulated
    last_bias: str = "prior"  # sigmoid and focal: -log(C - 1) at the start; "zero": 0
    reweight_from: float = field(default=0.0, metadata=LATER)  # fraction of the epochs after which the weights hold

    def __post_init__(self) -> None:
        self.check_common(CHOICES)
        if self.imbalance_factor is None:
            object.__setattr__(self, "imbalance_factor", NATURAL if self.dataset == "folder" else 100.0)
        if self.imbalance_factor == NATURAL and self.dataset != "folder":
            raise ValueError(f"imbalance_factor must be a finite number >= 1 for {self.dataset}, got {NATURAL!r}")
        if self.imbalance_factor != NATURAL:
            words = f"a finite number >= 1, or {NATURAL} for dataset folder"
            self.require("imbalance_factor", lambda v: v >= 1, words)
        if self.drop_factor is None:
            object.__setattr__(self, "drop_factor", paper_setting("drop_factor", self.imbalance_factor))
        self.require("depth", lambda v: v in range(8, DEEPEST + 1, 6), f"6 k + 2: 8, 14, 20, 26, 32, ..., {DEEPEST}")
        self.require("base_learning_rate", lambda v: v > 0, "a finite number > 0")
        self.require("drop_factor", lambda v: 0 < v <= 1, "in (0, 1]")
        self.require("reweight_from", lambda v: 0 <= v < 1, "in [0, 1)")
        if self.loss in ("softmax", "balanced_softmax") and self.last_bias != "prior":
            raise ValueError(
                f"last_bias must be left out for loss {self.loss!r}, where it is 0, got {self.last_bias!r}"
            )
        if self.loss == "balanced_softmax" and self.beta != 0:
            raise ValueError(
                f"beta must be 0 for loss 'balanced_softmax', which has no class weights, got {self.beta!r}"
            )
        if self.beta == 0 and self.reweight_from != 0:
            raise ValueError(f"reweight_from must be 0 for beta 0, where all weights are 1, got {self.reweight_from!r}")
        if self.beta == 0 and self.weights != "class_balanced":
            raise ValueError(f"weights must be left out for beta 0, where all are 1, got {self.weights!r}")

    @property
    def name(self) -> str:
        """The file name of this run's record without the ending; it is readable and unique."""
        settings = {n: getattr(self, n) for n in SWITCHES}
        changed = [f"{n}-{v}" for n, v in settings.items() if v != paper_setting(n, self.imbalance_factor)]
        factor = self.imbalance_factor if self.imbalance_factor == NATURAL else f"{self.imbalance_factor:g}"
        head = [self.dataset, f"imbalance{factor}", self.loss_name, f"beta{self.beta:g}", *changed]
        return "_".join([*head, f"seed{self.seed}", self.digest])

    @property
    def profile(self) -> str:
        """The name of the profile with this run's budget ("smoke", "cpu", "length", "paper"), else "custom"."""
        for name, budget in PROFILES.items():
            epochs = LENGTHS if name == "length" else (budget["epochs"],)
            fixed = ("dataset", "depth", "batch_size") if name == "smoke" else ("depth", "batch_size")
            if self.epochs in epochs and all(getattr(self, key) == budget[key] for key in fixed):
                return name
        return "custom"

    def steps(self, images: int) -> int:
        """Return the optimiser steps of the whole run; batches run on across epoch borders, and each is full.

        Args:
            images: training images.

        Raises:
            ValueError: the images of all epochs do not fill one batch.
        """
        if self.batch_size > self.epochs * images:
            raise ValueError(
                f"batch_size must be at most epochs x images = {self.epochs * images}, got {self.batch_size}"
            )
        return self.epochs * images // self.batch_size

    def shared_start(self) -> "Experiment | None":
        """The run with the same first epochs: for deferred re-weighting, the plain run of the same seed."""
        return replace(self, beta=0.0, reweight_from=0.0, weights="class_balanced") if self.reweight_from else None


LENGTHS = (100, 200)  # epochs of the profile "length"; its 30 epochs are the profile "cpu"
# A profile is a budget.  Results of different profiles never share a table.
PROFILES: dict[str, dict[str, Any]] = {
    "smoke": dict(dataset="digits", depth=8, epochs=10, batch_size=32),  # proves the pipeline and nothing else
    "cpu": dict(dataset="cifar10", depth=8, epochs=30, batch_size=128),  # short training
    "length": dict(dataset="cifar10", depth=8, epochs=200, batch_size=128),  # how gains depend on the epochs: LENGTHS
    "paper": dict(dataset="cifar10", depth=32, epochs=200, batch_size=128),
}
