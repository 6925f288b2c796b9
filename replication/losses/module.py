"""`ClassBalancedLoss`, a loss with the weights that belong to its class counts and beta."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from replication.losses.arguments import LossOptions, warn_of_counts
from replication.losses.functional import evaluate, sigmoid_loss, softmax_loss
from replication.theory.effective_number import check_counts, class_balanced_weights, class_counts


def _option(name: str) -> property:
    """Make an option an attribute of the module, which is checked when it is assigned."""

    def get(module: "ClassBalancedLoss") -> Any:
        return getattr(module.options, name)

    def put(module: "ClassBalancedLoss", value: Any) -> None:
        module.options = replace(module.options, **{name: value})

    return property(get, put)


LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss, "focal": sigmoid_loss, "softmax_focal": softmax_loss}


class ClassBalancedLoss(nn.Module):
    """A loss of Section 4 with the weights (1 - beta) / (1 - beta^n_y), scaled so that they sum to C.

    Args:
        class_counts: (C,) samples of each class in the whole training set: a sequence or array, a tensor on any
            device, an iterable, or a mapping or pandas Series with the keys 0 ... C-1 or `class_names`.
        beta: in [0, 1]. 0 gives equal weights; 1 gives inverse class frequency. The paper uses 0.9 to 0.9999.
        loss: "softmax", "sigmoid", "focal" or "softmax_focal".
        gamma: focusing parameter, >= 0; required for the focal losses and refused for the others.
        reduction, ignore_index, label_smoothing: see `replication.losses`.
        empty: "error" refuses a count of 0; "zero" gives that class the weight 0.
        class_names: (C,) the keys of a mapping, in the order of the logits.

    The weights are the float32 buffer `weight`. It is not part of the state dict, because counts and beta determine
    it: assign to `beta` to re-weight (deferred re-weighting takes one line), and a checkpoint never changes it.

    Raises:
        ValueError, TypeError: an argument is wrong; this is checked here, before the first call of `forward`.

    Warns:
        UserWarning: a beta > 0 leaves different counts with weights equal within 1 %, or the counts look like those of
            a batch, with fewer than four samples per class on average.

    >>> criterion = ClassBalancedLoss([5000, 50], beta=0.999)
    >>> criterion(torch.zeros(1, 2), torch.tensor([1]))  # 1.906 log 2
    tensor(1.3214)
    """

    weight: Tensor
    gamma, reduction = _option("gamma"), _option("reduction")
    ignore_index, label_smoothing = _option("ignore_index"), _option("label_smoothing")

    def __init__(
        self,
        class_counts: Any,
        beta: float,
        loss: str = "softmax",
        gamma: float | None = None,
        reduction: str = "mean",
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        empty: str = "error",
        *,
        class_names: Sequence[Any] | None = None,
    ):
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {tuple(LOSSES)}, got {loss!r}")
        if ("focal" in loss) != (gamma is not None):
            raise ValueError(f"gamma must be given for the focal losses and no other, got {gamma!r} for {loss!r}")
        self.loss, self.empty = loss, empty
        self.options = LossOptions(0.0 if gamma is None else gamma, reduction, ignore_index, label_smoothing)
        self._class_counts = check_counts(class_counts, empty, class_names=class_names)
        self._beta = beta
        weight = class_balanced_weights(self._class_counts, beta, empty=empty)
        warn_of_counts(self._class_counts, beta, weight)
        self.register_buffer("weight", torch.as_tensor(weight, dtype=torch.float32), persistent=False)
        self.register_load_state_dict_pre_hook(_drop_weight)  # type: ignore[no-untyped-call]

    @classmethod
    def from_labels(
        cls, labels: Any, beta: float, num_classes: int | None = None, *arguments: Any, **options: Any
    ) -> "ClassBalancedLoss":
        """Count the training labels and make the loss.

        Args:
            labels: (n,) class indices, as an array, tensor, Series or list, or a data set that has `targets`.
            num_classes: C; one more than the largest label by default.
            arguments, options: what follows beta in `ClassBalancedLoss`.

        >>> ClassBalancedLoss.from_labels([0] * 90 + [1] * 10, beta=0.99).class_counts.tolist()
        [90.0, 10.0]
        """
        return cls(class_counts(labels, num_classes), beta, *arguments, **options)

    @property
    def class_counts(self) -> NDArray[np.float64]:
        """The class counts, (C,), read-only: other counts need another loss."""
        return self._class_counts.copy()

    @property
    def beta(self) -> float:
        """The beta of the weights; assigning another one computes them anew."""
        return float(self._beta)

    @beta.setter
    def beta(self, beta: float) -> None:
        self.weight = self._weights(beta)
        self._beta = beta

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return evaluate(LOSSES[self.loss], logits, target, self.weight, self.options, self.empty != "zero")

    def extra_repr(self) -> str:
        focal = f", gamma={self.gamma}" if "focal" in self.loss else ""
        return f"{len(self.weight)} classes, beta={self.beta}, loss={self.loss!r}{focal}, reduction={self.reduction!r}"

    def __copy__(self) -> "ClassBalancedLoss":
        """Copy the buffer too: a shallow copy would share it, and assigning to beta would re-weight both."""
        return deepcopy(self)

    def _weights(self, beta: float) -> Tensor:
        weight = class_balanced_weights(self._class_counts, beta, empty=self.empty)
        return torch.as_tensor(weight, dtype=torch.float32, device=self.weight.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ClassBalancedLoss":
        """Follow every move (`to`, `half`, `to_empty`, ...) to its device, and compute the weights there anew."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.weight = self._weights(self._beta)
        return self


def _drop_weight(module: nn.Module, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
    """Leave out the weights that checkpoints of version 0.1.0 hold."""
    state_dict.pop(f"{prefix}weight", None)
