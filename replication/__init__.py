"""Class-Balanced Loss Based on Effective Number of Samples (Cui et al., CVPR 2019), replicated.

The names below are the public ones. Those that need torch are imported on first use, so that the
theory and the report stay usable, and quick to start, on a machine without it.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "effective_number": "theory.effective_number",
    "class_balanced_weights": "theory.effective_number",
    "beta_from_volume": "theory.effective_number",
    "volume_from_beta": "theory.effective_number",
    "long_tailed_counts": "data.long_tail",
    "softmax_cross_entropy": "losses",
    "sigmoid_cross_entropy": "losses",
    "sigmoid_focal_loss": "losses",
    "ClassBalancedLoss": "losses",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
