"""One experiment as a task of a sweep: load its images, train it, and say how it ended."""

import functools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from replication.data.image_set import ImageSet
from replication.data.sources import load
from replication.experiments.experiment import DATASETS, Experiment
from replication.experiments.records import RunRecord, record_path
from replication.training.memory import end_of_memory
from replication.training.one_run import RunOptions, checkpoint_path, run_one, start_epoch, start_path

ATTEMPTS = 3  # of a run whose worker process dies
RUN_ERRORS = (RuntimeError, ValueError, ArithmeticError, MemoryError)  # of one run; any other error ends the sweep
_LOADING = threading.Lock()
_load = functools.lru_cache(maxsize=len(DATASETS))(load)  # all stay loaded: a plan alternates between them


def load_once(dataset: str, data_root: Path | str | None = None) -> tuple[ImageSet, ImageSet]:
    """Load the training and the test set once per process; threads that ask at the same time wait for the first."""
    with _LOADING:
        return _load(dataset, data_root)


class DeviceLost(OSError):
    """Raised if this process has lost its GPU; another process may be able to use it."""


def device_is_lost(error: Exception) -> bool:
    """Whether a GPU of this process no longer works, as after an illegal access, so that later runs would fail too."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)  # out of memory has another message


def train_one(
    experiment: Experiment, options: RunOptions, progress=None, data=None, over=None, evaluated=None
) -> RunRecord:
    """Train an experiment, from its checkpoint if there is one, even if it has a record; return its record.

    Args:
        experiment, options: what to train, and how.
        progress, evaluated: callbacks, as for `replication.training.cifar.train.train`.
        data: the training and the test set; None: they are loaded.
        over: called after each evaluation; true ends the run.  None: the time limit of the options.
    """
    import torch

    from replication.training.cifar.train import train

    if options.threads:
        torch.set_num_threads(options.threads)
    record = train(
        experiment,
        data or load_once(experiment.dataset, options.data_root),
        device=options.device,
        checkpoint_path=checkpoint_path(experiment, options),
        checkpoint_every=options.checkpoint_every,
        start_path=start_path(experiment, options),
        logits_path=record_path(experiment, options.runs(experiment)).with_suffix(".npz"),
        keep_at=starts_to_keep(experiment, options),
        evaluate_every=options.evaluate_every,
        compiled=options.compiled,
        deterministic=options.deterministic,
        precision=options.precision,
        graphs=options.graphs,
        progress=progress,
        evaluated=evaluated,
        over=over or options.over,
    )
    return replace(record, concurrent_runs=options.concurrent_runs)


def starts_to_keep(experiment: Experiment, options: RunOptions) -> dict[int, Path]:
    """Return epoch -> file for each deferred run of the sweep that starts from this run."""
    deferred = [e for e in options.keep_starts if e.shared_start() == experiment]
    return {start_epoch(e): path for e in deferred if (path := start_path(e, options))}


def attempt(
    experiment: Experiment, options: RunOptions, progress, over=None, evaluated=None
) -> tuple[str, RunRecord | None, str | None]:
    """Run one experiment; return how it ended, its record and an error, as `Progress.report` takes them."""
    train = functools.partial(train_one, progress=progress, over=over, evaluated=evaluated)
    return outcome_of(lambda: (*run_one(experiment, options, train), None))


def outcome_of(run: Callable[[], Any]) -> Any:
    """Return what `run` returns, or ("stopped" | "failed", None, reason) if it ends by an error of this run alone.

    Raises:
        DeviceLost: this process has lost its GPU.
        Exception: another error that later runs would meet too, such as OSError for a full disk.
    """
    from replication.training.loop import OutOfTime

    try:
        return run()
    except OutOfTime as end:
        return "stopped", None, str(end)
    except RUN_ERRORS as error:
        if device_is_lost(error):
            raise DeviceLost(f"the GPU is lost to this process; the same command goes on ({error})") from error
        return "failed", None, end_of_memory(error) or f"{type(error).__name__}: {error}"
