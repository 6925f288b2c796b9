"""What every kind of run shares: the loop of resume, train, evaluate, checkpoint, record; the machine it ran on."""

import functools
import math
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import torch

import replication
from replication.experiments.records import RunRecord
from replication.training.device import _device_name

HISTORY_SEPARATOR = ", then "  # between the names of what a run had one after the other


class Run(Protocol):
    """The state of one run, as `fit` needs it."""

    experiment: object  # with epochs and batch_size
    device: torch.device
    precision: str  # "float32" or "bfloat16 autocast"
    devices: list[str]  # what it ran on before it was taken up here
    commits: list[str]  # and with which commits of this package
    step: int  # optimiser steps done

    def resume(self, path: Path | None) -> tuple[list[dict], float]: ...  # curve and seconds so far
    def evaluation_epochs(self) -> list[int]: ...  # still to come
    def advance(self, epoch: int, progress) -> float: ...  # trains; mean loss
    def evaluate(self) -> tuple[dict, object]: ...  # errors (percent) for the curve, and what `record` needs of them
    def learning_rate(self, step: int) -> float: ...
    def save(self, path: Path, curve: list[dict], seconds: float) -> None: ...
    def record(self, last, shared: dict) -> RunRecord: ...  # last: None if it diverged; shared: fields of all records


def fit(
    run: Run, checkpoint_path: Path | None, checkpoint_every: int, progress: Callable[[int], object] | None
) -> RunRecord:
    """Take up the checkpoint if there is one, train to the end with an evaluation now and then, return the record.

    Ends early, as "diverged", where the mean training loss or a test error is not finite.
    """
    git_state()  # before training: a later commit is not the code that runs
    experiment = run.experiment
    curve, seconds = run.resume(checkpoint_path)
    done = run.step
    started = time.monotonic()
    saved_epoch = curve[-1]["epoch"] if curve else 0
    status, last = "finished", None
    if progress and done:
        progress(done * experiment.batch_size)
    for epoch in run.evaluation_epochs():
        loss = run.advance(epoch, progress)
        errors, last = run.evaluate() if math.isfinite(loss) else (dict(error=math.nan), None)
        if not math.isfinite(errors["error"]):
            status, last = "diverged", None
            break
        rate = run.learning_rate(max(run.step - 1, 0))
        curve.append(dict(epoch=epoch, learning_rate=rate, training_loss=loss, **errors))
        if checkpoint_path and epoch < experiment.epochs and epoch - saved_epoch >= checkpoint_every:
            run.save(checkpoint_path, curve, seconds + time.monotonic() - started)
            saved_epoch = epoch
    here = time.monotonic() - started
    images = (run.step - done) * experiment.batch_size
    rate = round(images / here, 1) if images else None
    shared = dict(experiment=experiment, images_per_second=rate, wall_seconds=round(seconds + here, 2))
    return run.record(last, shared | _outcome(status, curve) | _environment(run))


def _outcome(status: str, curve: list[dict]) -> dict:
    """The fields of a record that follow from the curve: status, error (last epoch), best error and its epoch."""
    best = min(curve, key=lambda point: point["error"]) if curve else None
    error = curve[-1]["error"] if status == "finished" else None
    return dict(
        status=status, error=error, best_error=best and best["error"], best_epoch=best and best["epoch"], curve=curve
    )


def _environment(run: Run) -> dict:
    """The fields of a record that say on what and with which code it ran."""
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
    """What a run has run on and with which commits of this package, the present last: a checkpoint may be another's."""
    here, commit = _device_name(run.device), git_state()[0]
    commits = [*run.commits, commit] if commit else run.commits
    return dict(devices=list(dict.fromkeys([*run.devices, here])), commits=list(dict.fromkeys(commits)))


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """The commit that this package runs from, and whether its code was clean; (None, None) if git does not track it.

    Asked once a process; files that git does not track do not count as changes.
    """
    package = Path(__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", package, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not a copy that happens to lie in another repository
        return git("rev-parse", "HEAD"), not git("status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return None, None
