"""The plan, fixed before the runs: which experiments answer which question, and with which seeds.

The letters and their order were fixed on 2026-11-27.  Every part follows the paper's full protocol except C, which
trains a small network to show how a gain depends on the length of training.
"""

from collections.abc import Iterable
from typing import Any

from replication.experiments.experiment import LENGTHS, PROFILES, Experiment
from replication.experiments.grids import BETAS, GRIDS, Fields

ORDER = "ABDECGFHI"  # the most important answers first
DEFERRED_FROM = 0.8  # fraction of the epochs before deferred re-weighting, as in Cao et al. 2019
_SOFTMAX, _SIGMOID = dict(loss="softmax"), dict(loss="sigmoid")
_HALF, _ONE, _TWO = (dict(loss="focal", gamma=gamma) for gamma in (0.5, 1.0, 2.0))
_DEFERRED = dict(beta=0.9999, reweight_from=DEFERRED_FROM)
_BALANCED_SOFTMAX = dict(loss="balanced_softmax")


def _runs(seeds: Iterable[int], *rows: Fields, profile: str = "paper") -> list[Experiment]:
    """Return every row at every seed; the first seed of all rows comes before the second of any."""
    return [Experiment(**PROFILES[profile] | row | dict(seed=seed)) for seed in seeds for row in rows]


def _betas(betas: Iterable[float], **fields: Any) -> list[Fields]:
    return [fields | dict(beta=beta) for beta in betas]


def _which_method() -> list[Experiment]:
    at_100: Fields = dict(imbalance_factor=100.0)
    methods: list[Fields] = [{}, dict(beta=0.9999), _DEFERRED, _BALANCED_SOFTMAX]
    cifar10 = [dict(dataset="cifar10", **at_100) | row for row in methods]
    methods.insert(1, dict(beta=0.99))
    cifar100 = [dict(dataset="cifar100", **at_100) | row for row in methods]
    return _runs(range(3), *cifar10, *cifar100)


def _own_picks() -> list[Experiment]:
    picks: dict[float, list[Fields]] = {
        200.0: [_SOFTMAX | dict(beta=0.9999), _SOFTMAX],
        100.0: [_ONE | dict(beta=0.9999), _ONE, _SIGMOID],
        50.0: [_TWO | dict(beta=0.9999), _TWO, _HALF],
    }
    return _runs(range(3), *(row | dict(imbalance_factor=factor) for factor, rows in picks.items() for row in rows))


def _length_of_training() -> list[Experiment]:
    rows = [
        dict(dataset=dataset, imbalance_factor=100.0, beta=beta)
        for dataset in ("cifar10", "cifar100")
        for beta in (0.0, 0.9999)
    ]
    longer = [row | dict(epochs=epochs) for epochs in LENGTHS for row in rows]
    return _runs(range(5), *rows, profile="cpu") + _runs(range(5), *longer, profile="length")


def _smaller_beta() -> list[Experiment]:
    betas = {"cifar10": (0.0, 0.9999), "cifar20": (0.99, 0.9999), "cifar100": (0.99, 0.9999)}
    return _runs(
        range(3),
        *(
            dict(dataset=dataset, imbalance_factor=factor, beta=beta)
            for factor in (200.0, 50.0, 10.0)
            for dataset, chosen in betas.items()
            for beta in chosen
        ),
    )


def _figure5(dataset: str, betas: Iterable[float]) -> list[Experiment]:
    rows = [loss | row for loss in (_SOFTMAX, _SIGMOID, _HALF) for row in _betas(betas)]
    return _runs(range(5), *(row | dict(dataset=dataset, imbalance_factor=50.0) for row in rows))


PLAN: dict[str, list[Experiment]] = {
    "A": _runs(range(3), *_betas((0.0, 0.9999), imbalance_factor=50.0)),
    "B": _which_method(),
    "C": _length_of_training(),
    "D": _runs(range(5), *(dict(imbalance_factor=200.0, drop_factor=factor) for factor in (0.1, 0.01))),
    "E": _own_picks(),
    "F": _figure5("cifar10", (0.0, 0.99, 0.999, 0.9999)),
    "G": _smaller_beta(),
    "H": _figure5("cifar100", BETAS),
    "I": _runs([0], *(dict(dataset=dataset) | row for dataset in ("cifar10", "cifar100") for row in GRIDS["heat-map"])),
}


def plan(upto: str = ORDER[-1]) -> list[Experiment]:
    """Return the runs of the plan down to a letter, in the plan's order, each once.

    Raises:
        ValueError: a letter that is not in the plan.

    >>> len(plan("A")), len(plan("B"))
    (6, 33)
    """
    if len(upto) != 1 or upto not in ORDER:
        raise ValueError(f"upto must be one of {', '.join(ORDER)}, got {upto!r}")
    letters = ORDER[: ORDER.index(upto) + 1]
    return list(dict.fromkeys(experiment for letter in letters for experiment in PLAN[letter]))
