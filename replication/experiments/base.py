"""The base of both kinds of experiment: plain numbers, checks of the common fields, a digest for the name."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, cast, get_args

from replication.theory.arguments import shown

LONGEST = 100_000  # epochs
LARGEST_GAMMA = 1e9  # its square times a logit is a finite float32
LATER = {"later": True}  # metadata of a field that was added after the first records were written


class BaseExperiment:
    """The base of the frozen dataclasses that say what is trained; equal experiments have one name and one record.

    >>> from replication.experiments.experiment import Experiment
    >>> Experiment(seed=3.0, beta=-0.0) == Experiment(seed=3) and Experiment(seed=3.0).seed
    3
    """

    dataset: str
    loss: str
    gamma: float | None
    beta: float
    seed: int
    epochs: int
    batch_size: int
    base_learning_rate: float
    weight_decay: float

    def check_common(self, choices: Mapping[str, tuple[Any, ...]]) -> None:
        """Make the numbers plain int and float, and check the fields that every experiment has.

        Scalars of NumPy and torch, whole floats for integers and -0.0 are converted; the checks name anything else.

        Args:
            choices: field -> its allowed values.

        Raises:
            ValueError: a field outside its range, named with its value and what is allowed.
        """
        for one in fields(cast(Any, self)):
            value = _plain(getattr(self, one.name), get_args(one.type) or (one.type,))
            object.__setattr__(self, one.name, value)
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                values = ", ".join(map(str, allowed))
                raise ValueError(f"{name} must be one of {values}, got {shown(getattr(self, name))}")
        self.require("beta", lambda v: 0 <= v <= 1, "in [0, 1]")
        self.require_whole("seed", 0)
        self.require_whole("epochs", 1, LONGEST)
        self.require_whole("batch_size", 1)
        self.require("weight_decay", lambda v: v >= 0, "a finite number >= 0")
        if self.loss != "focal" and self.gamma is not None:
            raise ValueError(f"gamma must be left out for loss {self.loss!r}, got {self.gamma!r}")
        if self.loss == "focal":
            if self.gamma is None:
                raise ValueError("gamma must be given for loss 'focal': a finite number >= 0 (the paper: 0.5, 1, 2)")
            words = f"a number >= 0 and at most {LARGEST_GAMMA:g}"
            self.require("gamma", lambda v: 0 <= v <= LARGEST_GAMMA, words)

    def require(self, name: str, allowed: Callable[[float], bool], words: str) -> None:
        """Raise ValueError unless a field is a finite number for which `allowed` holds, which `words` describe."""
        value = getattr(self, name)
        try:
            good = not isinstance(value, bool) and math.isfinite(value) and allowed(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):  # text, an array, a huge integer, a meta tensor
            good = False
        if not good:
            raise ValueError(f"{name} must be {words}, got {shown(value)}")

    def require_whole(self, name: str, least: int, most: int = 2**63 - 1) -> None:
        """Raise ValueError unless a field is a whole number from `least` to `most`, which fits 64 bits."""
        words = f"a whole number >= {least} and at most {most}"
        self.require(name, lambda v: isinstance(v, int) and least <= v <= most, words)

    @property
    def loss_name(self) -> str:
        """The loss in file names: "softmax", "focal0.5"."""
        return self.loss if self.gamma is None else f"{self.loss}{self.gamma:g}"

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of SHA-256 over the fields, without the LATER ones that have their default."""
        values = asdict(cast(Any, self))
        for one in fields(cast(Any, self)):
            if one.metadata == LATER and values[one.name] == one.default:
                del values[one.name]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def _plain(value: Any, kinds: tuple[type, ...]) -> Any:
    try:
        value = value.item() if hasattr(value, "item") else value  # a scalar of NumPy or torch, on any device
        if isinstance(value, str):
            return str(value) if str in kinds else value
        if value is None or isinstance(value, bool):
            return value
        if float in kinds:
            return float(value) + 0.0  # -0.0 becomes 0.0
        return int(value) if int in kinds and int(value) == value else value
    except (TypeError, ValueError, ArithmeticError, RuntimeError):  # an array, an integer beyond floats
        return value
