"""RunRecord, one JSON file per run, written completely or not at all; a folder of records as a DataFrame."""

import json
import sys
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, get_args, get_origin

from replication.data.image_set import NATURAL
from replication.experiments.experiment import Experiment
from replication.files import write_text
from replication.theory.arguments import shown

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
STATUSES = ("finished", "diverged")
PRECISIONS = dict(float32="float32", bfloat16="bfloat16 autocast")  # of training: as asked for, and as records name it
ROUNDING = 1e-9  # tolerance for a mean over hundreds of classes
MANY, FEW = 100, 20  # training images of a class: many-shot over 100, few-shot under 20 (Liu et al. 2019)
CURVE_FIELDS = dict(epoch=int, error=float)  # what the report needs of each evaluated epoch


@dataclass(frozen=True)
class RunRecord:
    """The result of one run.  Errors are percentages of the test set; `error`, the headline, is the last epoch's.

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
    curve: list[dict[str, Any]]
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
    concurrent_runs: int | None = None  # runs that shared the device while images_per_second was measured
    experiment_class: ClassVar[type] = Experiment  # a kind of run with another experiment has a record class of its own

    def write(self, folder: Path | str) -> Path:
        """Write FOLDER/<experiment name>.json atomically and return the path."""
        return write_text(record_path(self.experiment, folder), _json(asdict(self)))


def _json(record: dict[str, Any]) -> str:
    """Return JSON with a line for each field, each entry of a dict and each evaluated epoch, for readable diffs."""

    def value(v: Any) -> str:
        if isinstance(v, list) and v and isinstance(v[0], dict):
            return "[\n  " + ",\n  ".join(json.dumps(row, allow_nan=False) for row in v) + "\n ]"
        if isinstance(v, dict):
            return "{\n  " + ",\n  ".join(f"{json.dumps(k)}: {json.dumps(w)}" for k, w in v.items()) + "\n }"
        return json.dumps(v, allow_nan=False)

    return "{\n" + ",\n".join(f" {json.dumps(k)}: {value(v)}" for k, v in record.items()) + "\n}\n"


def record_path(experiment: Experiment, folder: Path | str) -> Path:
    """Return the path of an experiment's record, FOLDER/<experiment name>.json.

    >>> record_path(Experiment(), "runs").name
    'cifar10_imbalance100_softmax_beta0_seed0_f513edd3.json'
    """
    return Path(folder) / f"{experiment.name}.json"


def parse_record(text: str, record_class: type[RunRecord] = RunRecord) -> RunRecord:
    """Parse a record's JSON and check it; the schema of records is checked nowhere else.

    Fields that this version does not know are left out; fields that are newer than the record get their defaults.

    Raises:
        ValueError: not JSON, an unknown schema, or a field that is missing, of a wrong type or out of range.

    >>> parse_record('{"experiment": {"seed": -1}}')
    Traceback (most recent call last):
    ValueError: seed must be a whole number >= 0 and at most 9223372036854775807, got -1
    """
    try:
        data = json.loads(text)
        known = {f.name for f in fields(record_class)}
        experiment = record_class.experiment_class(**data["experiment"])
        record = record_class(**{k: v for k, v in data.items() if k in known} | {"experiment": experiment})
    except KeyError as error:
        raise ValueError(f"{error.args[0]} must be given") from error
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(str(error).replace("\n", " ")[:200] or type(error).__name__) from error
    check_record(record)
    return record


def check_record(record: RunRecord) -> None:
    """Check every field of a record by its annotation, and the values that the report relies on.

    Raises:
        ValueError: the first field that is wrong, with what is allowed.
    """
    if record.schema != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}, got {shown(record.schema)} (of a newer version of the package?)")
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name != "experiment" and not _fits(value, field.type):
            raise ValueError(f"{field.name} must be {_type_name(field.type)}, got {shown(value)}")
        numbers = [n for n in (value if isinstance(value, list) else [value]) if isinstance(n, (int, float))]
        if "error" in field.name and not all(map(_is_percent, numbers)):
            raise ValueError(f"{field.name} must be in percent, 0 to 100, got {shown(value)}")
        if any(number < -ROUNDING for number in numbers):
            raise ValueError(f"{field.name} must be >= 0, got {shown(value)}")
    if record.status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {shown(record.status)}")
    if (record.status == "finished") != (record.error is not None):
        raise ValueError(f"error must be given for a finished run and no other, got {record.error} ({record.status})")
    for point in record.curve:
        kinds = dict.fromkeys(point, float) | CURVE_FIELDS
        if not all(_fits(point.get(name), kind) for name, kind in kinds.items()):
            raise ValueError(f"curve must hold an epoch, an error and further numbers, got {shown(point)}")
        if not _is_percent(point["error"]):
            raise ValueError(f"curve must hold errors in percent, 0 to 100, got {shown(point)}")
    for name in ("class_names", "error_per_class", "adjusted_error_per_class"):
        held = getattr(record, name)
        if held is not None and len(held) != len(record.class_counts):
            raise ValueError(f"{name} must have one entry per class ({len(record.class_counts)}), got {len(held)}")
    if not record.class_counts or not all(record.class_counts):
        raise ValueError(f"class_counts must be >= 1 for each class, got {shown(record.class_counts)}")
    if record.status == "finished" and not record.curve:
        raise ValueError("curve must hold the last epoch of a finished run, got none")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; numbers must be finite and integers fit 64 bits, text must be UTF-8."""
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(item, get_args(kind)[0]) for item in value)
    if kind in (int, float):
        limit = 2**63 - 1 if isinstance(value, int) else sys.float_info.max  # NaN compares false
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and abs(value) <= limit
    if kind is str:
        return isinstance(value, str) and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    return isinstance(value, get_origin(kind) or kind)


def _is_percent(value: float) -> bool:
    return -ROUNDING <= value <= 100 + ROUNDING


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def read_record(path: Path | str, record_class: type[RunRecord] = RunRecord) -> RunRecord:
    """Read one record, of a CIFAR run or of another kind of run (`record_class`).

    Raises:
        ValueError: not a file, not a record of this package, truncated, or named after another experiment.
    """
    path = Path(path)
    if not path.is_file():  # a folder, a link to nothing or a FIFO, at which a reader would wait for ever
        raise ValueError(f"{path} is not a run record: it is not a regular file")
    try:
        record = parse_record(path.read_text(encoding="utf-8-sig"), record_class)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a run record: {error}") from error
    if path.stem != record.experiment.name:
        raise ValueError(f"{path} is not the record of its experiment, which is {record.experiment.name}")
    return record


def read_records(folder: Path | str, record_class: type[RunRecord] = RunRecord) -> "pd.DataFrame":
    """Read all records of a folder, one row per run by name; columns are the experiment's fields and the record's.

    A file that is not a record is skipped, and a warning names it.  A folder without records gives an empty frame
    with all columns.
    """
    import pandas as pd

    rows = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            record = read_record(path, record_class)
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        row = dict(vars(record))  # like `asdict`, but the lists are those of the record
        experiment = dict(vars(row.pop("experiment")))
        if experiment.get("imbalance_factor") == NATURAL:  # in tables the number that the data have
            experiment["imbalance_factor"] = max(record.class_counts) / min(record.class_counts)
        rows.append(experiment | {"name": record.experiment.name, "profile": record.experiment.profile} | row)
    names = [f.name for f in fields(record_class.experiment_class)]
    columns = [*names, "name", "profile", *(f.name for f in fields(record_class)[1:])]
    return pd.DataFrame(rows, columns=columns)
