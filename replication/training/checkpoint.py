"""Checkpoints of a run: written aside and renamed, loaded without running code, set aside when they do not fit."""

import os
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from replication.training.experiment import Experiment


def save(path: Path, experiment: Experiment, subset_fingerprint: str, state: dict) -> None:
    """Write a checkpoint; the last good one stays until the new one is whole on disk.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    identity = dict(experiment=asdict(experiment), subset_fingerprint=subset_fingerprint)
    try:
        with open(part, "wb") as file:
            torch.save(identity | state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except RuntimeError as error:  # torch's writer hides the OSError of a full disk
        raise OSError(f"{path} cannot be written (disk full?): {error}") from error
    finally:
        part.unlink(missing_ok=True)


def load(path: Path, experiment: Experiment, subset_fingerprint: str) -> dict | None:
    """The state that `save` was given, or None: no checkpoint, or one that is broken or foreign (named, set aside)."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["experiment"] != asdict(experiment):
            raise ValueError("it belongs to another experiment")
        if state["subset_fingerprint"] != subset_fingerprint:
            raise ValueError("it was trained on other images")
        return state
    except Exception as error:  # torch raises many kinds for a truncated or foreign file
        set_aside(path, f"checkpoint cannot be used ({error or type(error).__name__})")
        return None


def set_aside(path: Path, reason: str) -> Path:
    """Move a file that cannot be used into quarantine/ beside its folder, with a warning; returns its new place."""
    folder = path.parent.parent / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{path.name}.{time.time_ns()}"
    os.replace(path, kept)
    first = str(reason).splitlines()[0]
    warnings.warn(f"{path}: {first}; moved to {kept}, the run is done anew", stacklevel=3)
    return kept
