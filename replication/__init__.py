"""Class-Balanced Loss Based on Effective Number of Samples (Cui et al., CVPR 2019), replicated.

The names below are the public ones. Each is imported on first use, so that the theory and the report start quickly and
work on a machine without torch.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers see
    from replication.data.long_tail import long_tailed_counts
    from replication.losses import (
        ClassBalancedLoss,
        balanced_softmax_loss,
        sigmoid_cross_entropy,
        sigmoid_focal_loss,
        softmax_cross_entropy,
        softmax_focal_loss,
    )
    from replication.theory.describe import describe_weights
    from replication.theory.effective_number import (
        beta_from_volume,
        class_balanced_weights,
        class_counts,
        effective_number,
        volume_from_beta,
    )

__version__ = "0.1.0"

_HOME = {
    "effective_number": "theory.effective_number",
    "class_balanced_weights": "theory.effective_number",
    "class_counts": "theory.effective_number",
    "describe_weights": "theory.describe",
    "beta_from_volume": "theory.effective_number",
    "volume_from_beta": "theory.effective_number",
    "long_tailed_counts": "data.long_tail",
    "softmax_cross_entropy": "losses",
    "sigmoid_cross_entropy": "losses",
    "sigmoid_focal_loss": "losses",
    "softmax_focal_loss": "losses",
    "balanced_softmax_loss": "losses",
    "ClassBalancedLoss": "losses",
}
__all__ = [  # noqa: RUF022 - in the order of a reader: the loss first
    "ClassBalancedLoss",
    "softmax_cross_entropy",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "softmax_focal_loss",
    "balanced_softmax_loss",
    "class_counts",
    "class_balanced_weights",
    "describe_weights",
    "effective_number",
    "beta_from_volume",
    "volume_from_beta",
    "long_tailed_counts",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _refuse_mixed_installation(folder: Path) -> None:
    """Raise ImportError if PyPI's unrelated package `replication` was installed into this package's folder."""
    if other := next(folder.glob("replication-*.dist-info"), None):
        raise ImportError(
            f"{other.stem.replace('-', ' ')}, an unrelated package, is installed in {folder} and shares the import "
            "name `replication` with class-balanced-replication: uninstall both and install the one that you need, or "
            "use one environment for each"
        )


_refuse_mixed_installation(Path(__file__).resolve().parents[1])
