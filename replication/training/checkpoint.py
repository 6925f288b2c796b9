"""Checkpoints of a run: written aside and renamed, loaded without running code, set aside when they do not fit."""

import hashlib
import io
import os
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

import replication
from replication.experiments.experiment import Experiment
from replication.files import whole_file

DIGEST = 32  # bytes of SHA-256 before the content: torch's own reader does not notice altered bytes


def save(path: Path, experiment: Experiment, subset_fingerprint: str, precision: str, state: dict) -> None:
    """Write a checkpoint; the last good one stays until the new one is whole on disk.

    Args:
        path: where; its folder is made.
        experiment, subset_fingerprint, precision: whose state it is; `load` asks for the same.
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


def load(path: Path, experiment: Experiment, subset_fingerprint: str, precision: str) -> dict | None:
    """The state that `save` was given, or None: no checkpoint, or one that is broken or foreign (named, set aside).

    Raises:
        ValueError: a checkpoint of this run in another precision; hours of work, which a forgotten option must not end.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            raise ValueError("it is truncated or altered")
        held = torch.load(io.BytesIO(content[DIGEST:]), map_location="cpu", weights_only=True)
        for name, value in _identity(experiment, subset_fingerprint, precision).items():
            if held[name] != value and name != "precision":
                raise ValueError(f"its {name} is {held[name]!r}, not {value!r}")
        state, begun = held["state"], held["precision"]
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        set_aside(path, f"checkpoint cannot be used ({error or type(error).__name__})")
        return None
    if begun != precision:
        raise ValueError(
            f"precision must be {begun.split()[0]}, in which this run was begun, got {precision.split()[0]}; "
            f"to begin anew delete {path}"
        )
    return state


def _identity(experiment: Experiment, subset_fingerprint: str, precision: str) -> dict:
    """What a checkpoint and the run that takes it up must share; other software could go on with other numbers."""
    software = dict(torch_version=str(torch.__version__), package_version=replication.__version__)
    run = dict(experiment=asdict(experiment), subset_fingerprint=subset_fingerprint, precision=precision)
    return run | software


def set_aside(path: Path, reason: str) -> Path:
    """Move a file that cannot be used into quarantine/ beside its folder, with a warning; returns its new place."""
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
