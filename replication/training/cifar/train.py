"""Train one run of the paper's CIFAR protocol (Section 5.2), with evaluation, bit-exact resuming and a record."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replication.data.image_set import ImageSet
from replication.experiments.experiment import Experiment
from replication.experiments.records import RunRecord
from replication.training import checkpoint
from replication.training.captured import EAGER
from replication.training.cifar.evaluation import adjusted_logits, calibration_error, errors, write_logits
from replication.training.cifar.program import SOFTMAX, Program
from replication.training.device import cuda_switches, own_stream, pick_device, synchronize
from replication.training.loop import fit, history
from replication.training.schedule import CIFAR

EVALUATE_EVERY = 2  # epochs, as the authors' code


def train(
    experiment: Experiment,
    data: tuple[ImageSet, ImageSet],
    *,
    device: str = "auto",
    compiled: bool | None = None,
    deterministic: bool = False,
    precision: str | None = None,
    graphs: bool = True,
    start_path: Path | None = None,
    logits_path: Path | None = None,
    evaluate_every: int = EVALUATE_EVERY,
    **fitting: Any,
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
        start_path: for deferred re-weighting, the checkpoint of the plain run at the epoch at which the weights begin.
        logits_path: file for the last test logits (float16).
        evaluate_every: epochs between evaluations before the rate drops first; after that every second, as the paper.
        fitting: checkpoint_path and further arguments of `fit`.

    Raises:
        ValueError: fewer images than one batch over all epochs, or an unknown device or precision.
        OutOfTime: the time is up; the checkpoint is written.
    """
    chosen = pick_device(device)
    with cuda_switches(chosen, deterministic), own_stream(chosen):
        run = CifarRun(experiment, data, chosen, compiled=compiled, precision=precision, graphs=graphs)
        run.start_path, run.logits_path, run.evaluate_every = start_path, logits_path, evaluate_every
        return fit(run, **fitting)


class CifarRun(Program):
    """The state of one run: its own network and optimiser, the images on the device, and the next step."""

    start_path: Path | None = None
    logits_path: Path | None = None
    evaluate_every: int = EVALUATE_EVERY

    def evaluation_epochs(self) -> list[int]:
        """Return the epochs to evaluate: each `evaluate_every`-th before the first drop of the rate, each second later.

        The last epoch is always among them.  Of epochs without a step between them, only the last is taken.
        """
        last = self.experiment.epochs
        drop = round(last * CIFAR[1] / CIFAR[-1])
        late = range(drop, last, EVALUATE_EVERY) if self.evaluate_every > EVALUATE_EVERY else ()
        early = range(self.evaluate_every, drop if late else last, self.evaluate_every)
        wanted = sorted({*early, *late, last})
        by_steps = {self.steps_until(epoch): epoch for epoch in wanted}
        return [epoch for steps, epoch in by_steps.items() if steps > self.step]

    def advance(self, epoch: int, progress: Callable[[int], object] | None = None) -> float:
        """Train until the end of an epoch; return the mean training loss of these steps, after one synchronisation."""
        self.model.train()
        self.total.zero_()
        first, last, size = self.step, self.steps_until(epoch), self.experiment.batch_size
        for step in range(first, last):
            if step == max(first, self.reweighted):
                self.weight.copy_(self.balanced)
            self.train_once()
            if progress and self.device.type == "cpu":
                progress(size)
        self.step = last
        synchronize(self.device)
        mean = float(self.total) / (last - first)
        if progress and self.device.type != "cpu":
            progress((last - first) * size)
        return mean

    def evaluate(self) -> tuple[dict, tuple[np.ndarray, np.ndarray | None] | None]:
        """Return the test error in percent and the test loss, and (wrong images per class, logits at the end).

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

    def resume(self, path: Path | None) -> tuple[list[dict], float]:
        """Load the run's own checkpoint, or else the state of the run it starts from; return curve and seconds.

        The state is copied in place, because recorded graphs read and write the tensors that they were recorded with.
        """
        state = self._load(path, self.experiment) or self._start()
        if state is None:
            return [], 0.0
        self.model.load_state_dict(state["model"])
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        for k, parameter in enumerate(parameters):
            held = state["optimiser"]["state"][k]["momentum_buffer"]
            self.optimiser.state[parameter]["momentum_buffer"].copy_(held)
        self.step, self.devices, self.commits = state["step"], state.get("devices", []), state.get("commits", [])
        self.position.fill_(self.step)
        self.compiled |= state.get("compiled", False)  # the record says whether any part was compiled
        synchronize(self.device)
        return state["curve"], state["seconds"]

    def _load(self, path: Path | None, experiment: Experiment) -> dict | None:
        if path is None:
            return None
        return checkpoint.load(path, experiment, self.kept.fingerprint, self.precision, self._layout())

    def _start(self) -> dict | None:
        """Return the state of the plain run when the weights begin; None if there is none in this precision."""
        shared = self.experiment.shared_start()
        if shared is None:
            return None
        try:
            state = self._load(self.start_path, shared)
        except ValueError:  # in another precision: this run is trained from its first epoch
            return None
        return state if state and state["step"] <= self.reweighted else None

    def _layout(self) -> dict:
        """Return the present state in the layout that `resume` expects of a checkpoint."""
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
        """Write the last test logits, and return the fields of the record that they determine."""
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
