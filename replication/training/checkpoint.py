"""Checkpoints of a run: written atomically, loaded without running code, moved to quarantine if they do not fit."""

import hashlib
import io
import os
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import replication
from replication.experiments.experiment import Experiment
from replication.files import whole_file

DIGEST = 32  # bytes of SHA-256 before the content: torch's own reader does not notice altered bytes


def save(path: Path, experiment: Any, subset_fingerprint: str, precision: str, state: dict) -> None:
    """Write a checkpoint; the last good one is kept until the new one is completely on disk.

    Args:
        path: the file; its folder is created.
        experiment, subset_fingerprint, precision: the run whose state it is; `load` requires the same.
        state: tensors, numbers, strings, and lists and dicts of them.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    content = io.BytesIO()
    torch.save(_identity(experiment, subset_fingerprint, precision) | dict(state=state), content)
    payload = content.getvalue()
    try:
        with whole_file(path) as file:
            file.write(hashlib.sha256(payload).digest() + payload)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: the checkpoint cannot be written", str(path)) from error


def load(path: Path, experiment: Any, subset_fingerprint: str, precision: str, like: dict | None = None) -> dict | None:
    """Return the state that `save` wrote; None if there is none, or if it is damaged or another run's (then set aside).

    Args:
        path, experiment, subset_fingerprint, precision: as in `save`.
        like: a state with the layout that the run expects, such as its initial state: the same keys, lengths of lists,
            shapes and types.  A checkpoint may hold further keys, but no further tensors of a network.

    Raises:
        ValueError: the checkpoint is in another precision.  It is kept: a forgotten option must not cost hours of work.
    """
    if not os.path.lexists(path):
        return None
    try:
        if not path.is_file():
            raise ValueError("it is not a regular file")
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            raise ValueError("it is truncated or altered")
        held = torch.load(io.BytesIO(content[DIGEST:]), map_location="cpu", weights_only=True)
        for name, value in _identity(experiment, subset_fingerprint, precision).items():
            if held[name] != value and name != "precision":
                raise ValueError(f"its {name} is {held[name]!r}, not {value!r}")
        state, started = held["state"], held["precision"]
        if like is not None:
            _check_layout(state, like)
    except Exception as error:  # torch raises many kinds of errors for a file that is not its own
        set_aside(path, f"checkpoint cannot be used ({str(error) or type(error).__name__})")
        return None
    if started != precision:
        raise ValueError(
            f"precision must be {started.split()[0]}, in which this run was started, got {precision.split()[0]}; "
            f"to begin anew delete {path}"
        )
    return state


def _check_layout(state, like, place: str = "state") -> None:
    """Raise ValueError, naming the place, unless a state has every key of `like` and values of the same layout."""
    if isinstance(like, torch.Tensor):
        same = isinstance(state, torch.Tensor) and (state.shape, state.dtype) == (like.shape, like.dtype)
    elif isinstance(like, dict):
        tensors = bool(like) and all(isinstance(value, torch.Tensor) for value in like.values())  # and no further key
        same = isinstance(state, dict) and (set(like) == set(state) if tensors else set(like) <= set(state))
        for key in like if same else ():
            _check_layout(state[key], like[key], f"{place}.{key}")
    elif isinstance(like, list):
        same = isinstance(state, list) and len(like) in (0, len(state))  # an empty one grows during the run
        for number, one in enumerate(like if same else ()):
            _check_layout(state[number], one, f"{place}[{number}]")
    elif isinstance(like, int | float) and not isinstance(like, bool):
        same = isinstance(state, int | float) and not isinstance(state, bool)
    else:
        same = isinstance(state, type(like))
    if not same:
        raise ValueError(f"it has another layout at {place}")


def _identity(experiment: Experiment, subset_fingerprint: str, precision: str) -> dict:
    """Return what a checkpoint and the run that resumes it must share; other software could compute other numbers."""
    software = dict(torch_version=str(torch.__version__), package_version=replication.__version__)
    run = dict(experiment=asdict(experiment), subset_fingerprint=subset_fingerprint, precision=precision)
    return run | software


def set_aside(path: Path, reason: str) -> Path:
    """Move a file that cannot be used into quarantine/ beside its folder, with a warning; return its new path."""
    folder = path.parent.parent / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{path.name}.{time.time_ns()}"
    try:
        os.replace(path, kept)
    except FileNotFoundError:  # another process was quicker
        return kept
    first = str(reason).splitlines()[0]
    warnings.warn(f"{path}: {first}; moved to {kept}, the run is done anew", stacklevel=3)
    return kept
