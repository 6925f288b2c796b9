"""The grids of experiments as plain tuples: the paper's figures and tables, and ours."""

from collections.abc import Iterable
from typing import Any

from replication.experiments.experiment import PROFILES, Experiment

Fields = dict[str, Any]  # of Experiment, by name
LossRow = tuple[str, float | None]  # a loss and its gamma
BETAS = (0.0, 0.9, 0.99, 0.999, 0.9999)
IMBALANCE_FACTORS = (200.0, 100.0, 50.0, 20.0, 10.0)
LOSS_ROWS: tuple[LossRow, ...] = (("softmax", None), ("sigmoid", None), ("focal", 0.5), ("focal", 1.0), ("focal", 2.0))


def rows(
    imbalance_factors: Iterable[float], loss_rows: Iterable[LossRow] = LOSS_ROWS, betas: Iterable[float] = BETAS
) -> tuple[Fields, ...]:
    """Return the fields of a run for each imbalance factor, loss with its gamma, and beta, in this order.

    >>> rows((50.0,), [("softmax", None)], [0.9])
    ({'imbalance_factor': 50.0, 'loss': 'softmax', 'gamma': None, 'beta': 0.9},)
    """
    return tuple(
        dict(imbalance_factor=factor, loss=loss, gamma=gamma, beta=beta)
        for factor in imbalance_factors
        for loss, gamma in loss_rows
        for beta in betas
    )


_THREE = (("softmax", None), ("sigmoid", None), ("focal", 1.0))
_CONTROL: Fields = dict(imbalance_factor=100.0, loss="softmax", gamma=None, beta=0.9999)
_PLAIN = _CONTROL | dict(beta=0.0)
_FOCAL, _SIGMOID = _CONTROL | dict(loss="focal", gamma=1.0), _CONTROL | dict(loss="sigmoid")
# Each grid: a tuple of the fields that differ between its runs.  Data set, depth and epochs come from the profile.
GRIDS: dict[str, tuple[Fields, ...]] = {
    "heat-map": rows(IMBALANCE_FACTORS),  # Figures 8, 9, 10: 125 runs a data set
    "balanced": rows((1.0,), betas=(0.0,)) + rows((1.0,), (("softmax", None),), (0.9999,)),  # Table 2; claim L4
    "rerun": rows((50.0,), (("softmax", None),), (0.0, 0.9999)),  # the pair that the authors re-ran themselves
    "pairs": rows(IMBALANCE_FACTORS, _THREE, (0.0, 0.9999)),  # plain against one beta fixed beforehand
    "controls": (
        _CONTROL | dict(reduction="weighted_mean"),
        _CONTROL | dict(weights="uniform_scaled"),
        _CONTROL | dict(drop_factor=0.1),
        _PLAIN | dict(drop_factor=0.1),
        _CONTROL | dict(shortcut="subsample"),
        _CONTROL | dict(shuffle="buffered"),
        _FOCAL | dict(last_bias="zero"),
        _FOCAL | dict(beta=0.0, last_bias="zero"),
        _SIGMOID | dict(last_bias="zero"),
        _SIGMOID | dict(beta=0.0, last_bias="zero"),
    ),
    "smoke": rows((50.0,), _THREE, (0.0, 0.99)),
}


def grid(name: str, profile: str = "paper", seeds: Iterable[int] = (0,), **overrides: Any) -> list[Experiment]:
    """Return the experiments of a grid under a profile's budget, seed by seed; `overrides` set further fields.

    Raises:
        ValueError: unknown grid or profile, or a field out of range.

    >>> len(grid("heat-map", "cpu", seeds=(0, 1, 2)))
    375
    """
    if name not in GRIDS:
        raise ValueError(f"grid must be one of {', '.join(GRIDS)}, got {name!r}")
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    return [
        Experiment(**PROFILES[profile] | overrides | row | dict(seed=seed)) for seed in seeds for row in GRIDS[name]
    ]
