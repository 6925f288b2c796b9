"""RunRecord: one JSON file per run, written beside its final name and renamed; all of a folder as a DataFrame."""

import json
import math
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

import pandas as pd

from replication.experiments.experiment import Experiment
from replication.files import write_text

SCHEMA = 1
PRECISIONS = dict(float32="float32", bfloat16="bfloat16 autocast")  # of training: as asked for, and as records name it


@dataclass(frozen=True)
class RunRecord:
    """What one run gave.  Errors are percent of the test set; `error` (the headline) is that of the last epoch.

    `curve` holds one dict per evaluated epoch: epoch, learning_rate, training_loss (mean since the last evaluation),
    error.  `status` is "finished" or "diverged" (a loss that is not finite; `error` is then None).
    """

    experiment: Experiment
    status: str
    error: float | None
    best_error: float | None  # best evaluated epoch on the test set: never the headline
    best_epoch: int | None
    error_per_class: list[float] | None  # class 0 is the largest
    class_names: list[str]
    class_counts: list[int]
    curve: list[dict]
    images_per_second: float | None
    wall_seconds: float
    dataset_fingerprint: str
    subset_fingerprint: str
    device: str
    threads: int
    precision: str  # one of the values of PRECISIONS
    compiled: bool  # whether any part of it was
    torch_version: str
    package_version: str
    git_commit: str | None
    git_clean: bool | None
    finished_at: str  # ISO 8601, UTC
    parameters: int = 0  # trainable
    schema: int = SCHEMA
    # Fields since package version 0.2.  Records from before it have None.
    balanced_error: float | None = None  # mean of the classes' errors
    many_error: float | None = None  # of the test images whose class has over 100 training images
    medium_error: float | None = None  # 20 to 100 training images
    few_error: float | None = None  # under 20 training images
    adjusted_error: float | None = None  # loss "softmax": with the class priors' logarithms subtracted from the logits
    adjusted_error_per_class: list[float] | None = None
    calibration_error: float | None = None  # softmax losses: expected calibration error, 15 bins, percent
    logits_fingerprint: str | None = None  # of the file of test logits beside the record
    concurrent_runs: int | None = None  # runs that shared the device, which images_per_second does not tell
    experiment_class: ClassVar[type] = Experiment  # a kind of run with another experiment has a record class of its own

    def write(self, folder: Path | str) -> Path:
        """Write FOLDER/<experiment name>.json atomically; returns the path."""
        return write_text(record_path(self.experiment, folder), _json(asdict(self)))


def _json(record: dict) -> str:
    """JSON with a line for each field, each entry of a dict and each evaluated epoch: reads well, differs little."""

    def value(v):
        if isinstance(v, list) and v and isinstance(v[0], dict):
            return "[\n  " + ",\n  ".join(json.dumps(row, allow_nan=False) for row in v) + "\n ]"
        if isinstance(v, dict):
            return "{\n  " + ",\n  ".join(f"{json.dumps(k)}: {json.dumps(w)}" for k, w in v.items()) + "\n }"
        return json.dumps(v, allow_nan=False)

    return "{\n" + ",\n".join(f" {json.dumps(k)}: {value(v)}" for k, v in record.items()) + "\n}\n"


def record_path(experiment: Experiment, folder: Path | str) -> Path:
    return Path(folder) / f"{experiment.name}.json"


def read_record(path: Path | str, record_class: type[RunRecord] = RunRecord) -> RunRecord:
    """Read one record, of CIFAR runs or of another kind of run (`record_class`).

    Raises:
        ValueError: not a record of this package, truncated, or one whose name is not that of its experiment.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text())
        known = {f.name for f in fields(record_class)}
        experiment = record_class.experiment_class(**data["experiment"])
        record = record_class(**{k: v for k, v in data.items() if k in known} | {"experiment": experiment})
        complete = record.status != "finished" or (record.error is not None and math.isfinite(record.error))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a run record: {error}") from error
    if path.stem != record.experiment.name:
        raise ValueError(f"{path} is not the record of its experiment, which is {record.experiment.name}")
    if not complete:
        raise ValueError(f"{path} says it finished but holds no error")
    return record


def read_records(folder: Path | str, record_class: type[RunRecord] = RunRecord) -> pd.DataFrame:
    """All records of a folder: one row per run, the experiment's fields and the record's as columns, by name.

    A file that is not a record is left where it is, out of the frame, and named in a warning.  A folder without
    records gives an empty frame with all columns.
    """
    rows = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            record = read_record(path, record_class)
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        row = asdict(record)
        experiment = row.pop("experiment")
        rows.append(experiment | {"name": record.experiment.name, "profile": record.experiment.profile} | row)
    names = [f.name for f in fields(record_class.experiment_class)]
    columns = [*names, "name", "profile", *(f.name for f in fields(record_class)[1:])]
    return pd.DataFrame(rows, columns=columns)
