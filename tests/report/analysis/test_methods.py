"""Methods beside each other: pairs by seed, shot groups, the literature's spread; gains by length of training."""

import math
from dataclasses import replace

import pytest
from report_records import record, write

from replication.report.analysis.comparison import forest, length_of_training
from replication.report.analysis.methods import METHODS, comparators, methods, published_errors
from replication.report.analysis.profile import read_profile

ERRORS = {
    "plain": (30, 31),
    "class-balanced 0.9999": (28, 28),
    "deferred class-balanced 0.9999": (26, 28),
    "balanced softmax": (24, 24),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    runs = []
    for method, errors in ERRORS.items():
        kind = METHODS[method]
        for seed, error in enumerate(errors):
            one = record(error, "paper", loss=kind.loss, beta=kind.beta, reweight_from=kind.reweight_from, seed=seed)
            adjusted = dict(adjusted_error=22.0, adjusted_error_per_class=[22.0] * 10) if method == "plain" else {}
            runs.append(replace(one, **adjusted))
    runs.append(record(10.0, "paper", drop_factor=0.1))  # a run with a switch changed is none of these
    return methods(read_profile(write(tmp_path_factory.mktemp("r"), "paper", runs), "paper")).set_index(
        ["dataset", "method"]
    )


def test_changes_are_paired_by_seed(table):
    ours = table.loc["cifar10"]
    assert ours.at["plain", "mean"] == 30.5 and math.isnan(ours.at["plain", "change"])
    assert list(ours.drop("plain")[["mean", "change"]].itertuples(name=None)) == [
        ("class-balanced 0.9999", 28, -2.5),
        ("deferred class-balanced 0.9999", 27, -3.5),
        ("balanced softmax", 24, -6.5),
        ("logit adjustment after training", 22, -8.5),
    ]


def test_shots_on_cifar10_at_imbalance_100(table):
    """Eight classes have over 100 images, two (83 and 50) fewer, none under 20; error rises by 1 a class."""
    plain = table.loc["cifar10", "plain"]
    assert plain[["many", "medium"]].tolist() == [30.5 - 4.5 + 3.5, 30.5 - 4.5 + 8.5] and plain[["few"]].isna().all()


def test_the_literature_s_spread(table):
    assert table.loc[("cifar10", "balanced softmax"), ["published_low", "published_high"]].tolist() == [22.46, 23.63]
    assert table.loc[("cifar100", "class-balanced 0.9999"), ["published_low", "published_high"]].tolist() == [
        61.03,
        66.01,
    ]
    assert published_errors("plain", "cifar10")["error"].tolist() == [29.64, 30.12, 28.7]
    assert comparators()["source"].str.len().gt(3).all() and comparators()["error"].between(10, 70).all()


def test_change_by_length_of_training(tmp_path):
    short = [
        record(e, "cpu", beta=b, seed=s) for b, es in ((0.0, (48, 47)), (0.9999, (42, 42))) for s, e in enumerate(es)
    ]
    long = [record(e, "length", beta=b, epochs=n) for b, n, e in ((0.0, 100, 40), (0.9999, 100, 37), (0.0, 200, 36))]
    write(write(tmp_path, "cpu", short), "length", long)
    rows = length_of_training({name: read_profile(tmp_path, name) for name in ("cpu", "length")})
    assert rows[["epochs", "mean", "n"]].values.tolist() == [[30, -5.5, 2], [100, -3, 1]]


def test_there_is_no_change_by_length_without_a_pair(tmp_path):
    write(tmp_path, "length", [record(40, "length", beta=0.0, epochs=100)])
    assert length_of_training({"length": read_profile(tmp_path, "length")}).empty
    assert length_of_training({}).empty


def test_forest_compares_the_same_losses(tmp_path):
    """CIFAR-10: softmax at 100 and 50, sigmoid at 100 alone, so the rows of both columns are softmax."""
    runs = [
        record(e, "paper", loss=loss, beta=b, imbalance_factor=f, seed=s)
        for s in (0, 1)
        for loss, f in (("softmax", 100), ("softmax", 50), ("sigmoid", 100))
        for b, e in ((0.0, 30 + s), (0.9999, 28))
    ]
    rows = forest(read_profile(write(tmp_path, "paper", runs), "paper"))
    assert rows["imbalance_factor"].tolist() == [100, 50] and rows["labels"].tolist() == [("softmax",)] * 2
    assert rows["mean"].tolist() == [-2.5, -2.5]
