"""The training loss of an experiment, its class weights, and the plain loss that measures the test set."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from replication.experiments.experiment import Experiment
from replication.losses import sigmoid_cross_entropy, sigmoid_focal_loss, softmax_cross_entropy
from replication.theory.effective_number import class_balanced_weights


def class_weights(experiment: Experiment, class_counts: Sequence[int], device: torch.device) -> Tensor:
    """Return the class weights of an experiment, (C,) float32; deferred runs use them from `reweight_from` on."""
    weights = class_balanced_weights(class_counts, experiment.beta)
    if experiment.weights == "uniform_scaled":  # the average weight over the training images, for every class
        weights = np.full_like(weights, np.average(weights, weights=class_counts))
    return torch.from_numpy(weights).to(device, torch.float32)


def training_loss(
    experiment: Experiment, weight: Tensor, class_counts: Sequence[int]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss that is trained, (logits (B, C), target (B,)) -> scalar."""
    function = _function(experiment)
    if experiment.loss == "balanced_softmax":
        prior = torch.tensor(class_counts, dtype=torch.float64).log().to(weight.device, torch.float32)  # (C,)
        return lambda logits, target: function(logits + prior, target, reduction=experiment.reduction)
    return functools.partial(function, weight=weight, reduction=experiment.reduction)


def plain_loss(experiment: Experiment) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss without weights, summed over images, which measures the test set."""
    return functools.partial(_function(experiment), reduction="sum")


def _function(experiment: Experiment) -> Callable[..., Tensor]:
    if experiment.loss == "focal":
        return functools.partial(sigmoid_focal_loss, gamma=experiment.gamma or 0.0)
    return sigmoid_cross_entropy if experiment.loss == "sigmoid" else softmax_cross_entropy
