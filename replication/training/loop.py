"""The loop of every kind of run: resume, train, evaluate, write checkpoints, make the record with its environment."""

import functools
import math
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

import replication
from replication.experiments.experiment import Experiment
from replication.experiments.large_scale import LargeScaleExperiment
from replication.experiments.records import RunRecord
from replication.training.device import device_name

HISTORY_SEPARATOR = ", then "  # separates the devices, or commits, that a run had one after the other
CHECKPOINT_SECONDS = 60.0  # between checkpoints on CUDA
CHECKPOINT_EPOCHS = 2  # between checkpoints on the CPU


class OutOfTime(Exception):
    """Raised if the time limit is reached before the run is done; the same command continues from its checkpoint."""


class Run(ABC):
    """The state of one run, as `fit` needs it.

    Attributes:
        experiment: the experiment.
        device: the device that trains.
        precision: "float32" or "bfloat16 autocast".
        devices, commits: on which devices, and with which commits of this package, the run was trained before.
        step: optimiser steps done.
    """

    def __init__(self, experiment: Experiment | LargeScaleExperiment, device: torch.device, precision: str):
        self.experiment, self.device, self.precision = experiment, device, precision
        self.devices: list[str] = []
        self.commits: list[str] = []
        self.step = 0

    @abstractmethod
    def resume(self, path: Path | None) -> tuple[list[dict], float]:
        """Load the checkpoint if there is a good one; return its curve and the seconds spent so far."""

    @abstractmethod
    def evaluation_epochs(self) -> list[int]:
        """Return the remaining epochs after which the test error is evaluated."""

    @abstractmethod
    def advance(self, epoch: int, progress: Callable[[int], object] | None) -> float:
        """Train until the end of an epoch; return the mean training loss of these steps."""

    @abstractmethod
    def evaluate(self) -> tuple[dict, object]:
        """Return numbers for the curve, among them "error" in percent, and what `record` needs (None if diverged)."""

    @abstractmethod
    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""

    @abstractmethod
    def save(self, path: Path, curve: list[dict], seconds: float) -> None:
        """Write a checkpoint."""

    @abstractmethod
    def record(self, last, shared: dict) -> RunRecord:
        """Return the record; `last` is what the last `evaluate` returned for it, `shared` the fields of all records."""


def fit(
    run: Run,
    checkpoint_path: Path | None = None,
    *,
    checkpoint_every: int | None = None,
    progress: Callable[[int], object] | None = None,
    evaluated: Callable[[dict], object] | None = None,
    over: Callable[[], bool] = lambda: False,
    keep_at: Mapping[int, Path] | None = None,
) -> RunRecord:
    """Train a run to the end, from its checkpoint if there is one, with evaluations; return the record.

    A run ends early, as "diverged", if the mean training loss, a test error or a test loss is not finite.

    Args:
        run: the run to train.
        checkpoint_path: the file of its checkpoints, from which it resumes if there is one; the caller deletes it.
        checkpoint_every: epochs between checkpoints, which are written at evaluations only; None: every second epoch on
            the CPU, one a minute on CUDA.
        progress: called with the number of images trained on since the last call.
        evaluated: called with each new point of the curve.
        over: called after each evaluation; true ends the run, as its time is up.
        keep_at: epoch -> file of a further checkpoint, for other runs that start there.

    Raises:
        OutOfTime: the time is up and the run is not done.
    """
    if checkpoint_every is None and run.device.type == "cpu":
        checkpoint_every = CHECKPOINT_EPOCHS
    git_state()  # before training, because a later commit is not the code that runs
    experiment = run.experiment
    curve, seconds = run.resume(checkpoint_path)
    done = run.step
    started = saved_at = time.monotonic()
    saved_epoch = curve[-1]["epoch"] if curve else 0
    status, last = "finished", None
    if progress and done:
        progress(done * experiment.batch_size)
    for epoch in run.evaluation_epochs():
        loss = run.advance(epoch, progress)
        errors, last = run.evaluate() if math.isfinite(loss) else (dict(error=math.nan), None)
        if not all(math.isfinite(number) for number in errors.values()):
            status, last = "diverged", None
            break
        rate = run.learning_rate(max(run.step - 1, 0))
        curve.append(dict(epoch=epoch, learning_rate=rate, training_loss=loss, **errors))
        if evaluated:
            evaluated(curve[-1])
        now, ends = time.monotonic(), over()
        if keep_at and epoch in keep_at:
            run.save(keep_at[epoch], curve, seconds + now - started)
        if epoch == experiment.epochs:
            break
        due = epoch - saved_epoch >= checkpoint_every if checkpoint_every else now - saved_at >= CHECKPOINT_SECONDS
        if checkpoint_path and (due or ends):
            run.save(checkpoint_path, curve, seconds + now - started)
            saved_epoch, saved_at = epoch, now
        if ends:
            raise OutOfTime(f"{experiment.name} stopped at epoch {epoch} of {experiment.epochs}")
    here = time.monotonic() - started
    images = (run.step - done) * experiment.batch_size
    speed = round(images / here, 1) if images else None
    shared = dict(experiment=experiment, images_per_second=speed, wall_seconds=round(seconds + here, 2))
    return run.record(last, shared | _outcome(status, curve) | _environment(run))


def _outcome(status: str, curve: list[dict]) -> dict:
    """Return the fields of a record that the curve determines: status, error (last epoch), best error and its epoch."""
    best = min(curve, key=lambda point: point["error"]) if curve else None
    error = curve[-1]["error"] if status == "finished" else None
    return dict(
        status=status, error=error, best_error=best and best["error"], best_epoch=best and best["epoch"], curve=curve
    )


def _environment(run: Run) -> dict:
    """Return the fields of a record that describe the machine and the code."""
    been = history(run)
    return dict(
        device=HISTORY_SEPARATOR.join(been["devices"]),
        threads=torch.get_num_threads(),
        precision=run.precision,
        torch_version=torch.__version__,
        package_version=replication.__version__,
        git_commit=HISTORY_SEPARATOR.join(been["commits"]) or None,
        git_clean=git_state()[1],
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def history(run: Run) -> dict[str, list]:
    """Return the devices and commits that a run was trained with, those of its checkpoint first, the present last."""
    here, commit = device_name(run.device), git_state()[0]
    commits = [*run.commits, commit] if commit else run.commits
    return dict(devices=list(dict.fromkeys([*run.devices, here])), commits=list(dict.fromkeys(commits)))


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """Return the commit of this package and whether its code was unmodified; (None, None) if git does not track it.

    Git is asked once per process; untracked files do not count as changes.  A copy without git gets its commit from the
    environment variable REPLICATION_COMMIT, and is then taken to be unmodified.
    """
    if os.environ.get("REPLICATION_COMMIT"):
        return os.environ["REPLICATION_COMMIT"], True
    package = Path(__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", package, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # a copy may lie in another repository
        return git("rev-parse", "HEAD"), not git("status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return None, None
