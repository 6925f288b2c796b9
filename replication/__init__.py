"""Class-Balanced Loss Based on Effective Number of Samples (Cui et al., CVPR 2019), replicated.

The names below are the public ones. Those that need torch are imported on first use, so that the
theory and the report stay usable, and quick to start, on a machine without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers, which do not follow __getattr__
    from replication.data.long_tail import long_tailed_counts as long_tailed_counts
    from replication.losses import ClassBalancedLoss as ClassBalancedLoss
    from replication.losses import balanced_softmax_loss as balanced_softmax_loss
    from replication.losses import sigmoid_cross_entropy as sigmoid_cross_entropy
    from replication.losses import sigmoid_focal_loss as sigmoid_focal_loss
    from replication.losses import softmax_cross_entropy as softmax_cross_entropy
    from replication.losses import softmax_focal_loss as softmax_focal_loss
    from replication.theory.effective_number import beta_from_volume as beta_from_volume
    from replication.theory.effective_number import class_balanced_weights as class_balanced_weights
    from replication.theory.effective_number import class_counts as class_counts
    from replication.theory.effective_number import effective_number as effective_number
    from replication.theory.effective_number import volume_from_beta as volume_from_beta

__version__ = "0.1.0"

_HOME = {
    "effective_number": "theory.effective_number",
    "class_balanced_weights": "theory.effective_number",
    "class_counts": "theory.effective_number",
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
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
