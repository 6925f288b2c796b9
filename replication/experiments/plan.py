"""The plan, fixed before the runs: which experiments answer which question, and with which seeds.

The letters and their order were fixed on 2026-11-27.  Every part follows the paper's full protocol except C, which
trains a small network to show how a gain depends on the length of training.
"""

from collections.abc import Iterable

from replication.experiments.experiment import LENGTHS, PROFILES, Experiment
from replication.experiments.grids import BETAS, GRIDS, Fields, rows

ORDER = "ABDECGFHI"  # the most important answers first
DEFERRED_FROM = 0.8  # fraction of the epochs before deferred re-weighting, as in Cao et al. 2019


def _runs(seeds: Iterable[int], *fields: Fields, profile: str = "paper") -> list[Experiment]:
    """Return every row at every seed; the first seed of all rows comes before the second of any."""
    return [Experiment(**PROFILES[profile] | row | dict(seed=seed)) for seed in seeds for row in fields]


def _which_method() -> list[Experiment]:
    methods: list[Fields] = [dict(beta=0.9999), dict(beta=0.9999, reweight_from=DEFERRED_FROM)]
    methods.append(dict(loss="balanced_softmax"))
    chosen: dict[str, list[Fields]] = {"cifar10": [{}, *methods], "cifar100": [{}, dict(beta=0.99), *methods]}
    cells = [row | dict(dataset=dataset) for dataset, picks in chosen.items() for row in picks]
    return _runs(range(3), *(cell | dict(imbalance_factor=100.0) for cell in cells))


def _own_picks() -> list[Experiment]:
    both, plain = (0.9999, 0.0), (0.0,)
    return _runs(
        range(3),
        *rows((200.0,), [("softmax", None)], both),
        *rows((100.0,), [("focal", 1.0)], both),
        *rows((100.0,), [("sigmoid", None)], plain),
        *rows((50.0,), [("focal", 2.0)], both),
        *rows((50.0,), [("focal", 0.5)], plain),
    )


def _length_of_training() -> list[Experiment]:
    pair = rows((100.0,), (("softmax", None),), (0.0, 0.9999))
    short = [row | dict(dataset=dataset) for dataset in ("cifar10", "cifar100") for row in pair]
    longer = [row | dict(epochs=epochs) for epochs in LENGTHS for row in short]
    return _runs(range(5), *short, profile="cpu") + _runs(range(5), *longer, profile="length")


def _smaller_beta() -> list[Experiment]:
    betas = {"cifar10": (0.0, 0.9999), "cifar20": (0.99, 0.9999), "cifar100": (0.99, 0.9999)}
    cells = [dict(dataset=dataset, beta=beta) for dataset, chosen in betas.items() for beta in chosen]
    return _runs(range(3), *(cell | dict(imbalance_factor=factor) for factor in (200.0, 50.0, 10.0) for cell in cells))


def _figure5(dataset: str, betas: Iterable[float]) -> list[Experiment]:
    losses = (("softmax", None), ("sigmoid", None), ("focal", 0.5))
    return _runs(range(5), *(row | dict(dataset=dataset) for row in rows((50.0,), losses, betas)))


PLAN: dict[str, list[Experiment]] = {
    "A": _runs(range(3), *GRIDS["rerun"]),
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
