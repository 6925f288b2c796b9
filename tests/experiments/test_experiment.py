"""Experiments: the paper's defaults, guards, names, profiles and grids."""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from replication.experiments.base import LATER
from replication.experiments.experiment import PROFILES, Experiment
from replication.experiments.grids import GRIDS, grid
from replication.experiments.large_scale import LargeScaleExperiment
from replication.report.analysis import published as paper


def test_defaults_are_the_paper_s():
    e = Experiment()
    assert (e.depth, e.epochs, e.batch_size, e.base_learning_rate, e.weight_decay) == (32, 200, 128, 0.1, 2e-4)
    assert (e.drop_factor, e.shortcut, e.reduction, e.last_bias) == (0.01, "average_pool", "mean", "prior")


def test_heat_map_grid_is_the_published_one():
    ours = {(e.loss, e.gamma, e.beta, e.imbalance_factor) for e in grid("heat-map")}
    cells = paper.heat_map("cifar10")
    gammas = [None if math.isnan(g) else g for g in cells["gamma"]]
    published = set(zip(cells["loss"], gammas, cells["beta"], cells["imbalance_factor"], strict=True))
    assert len(ours) == 125 and ours == published


@pytest.mark.parametrize("name", GRIDS)
def test_grids_hold_no_run_twice_and_names_are_unique(name):
    experiments = grid(name, "cpu", seeds=(0, 1))
    assert len(set(experiments)) == len(experiments) == len({e.name for e in experiments})


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_is_known_by_its_budget(profile):
    assert Experiment(**PROFILES[profile]).profile == profile
    assert replace(Experiment(**PROFILES[profile]), epochs=7).profile == "custom"
    assert replace(Experiment(**PROFILES[profile]), loss="sigmoid", beta=0.9, drop_factor=0.1).profile == profile


def test_equal_experiments_have_one_name_however_written():
    assert Experiment(beta=0, imbalance_factor=100).name == Experiment(beta=0.0, imbalance_factor=100.0).name
    assert Experiment(loss="focal", gamma=1).name == Experiment(loss="focal", gamma=1.0).name
    assert "drop_factor-0.1" in Experiment(drop_factor=0.1).name


def test_balanced_runs_drop_by_what_the_authors_balanced_script_drops():
    """PROTOCOL.md: x0.01 twice in the long-tailed scripts, x0.1 twice in the balanced one."""
    assert {e.drop_factor for e in grid("balanced")} == {0.1} and {e.drop_factor for e in grid("heat-map")} == {0.01}
    balanced = Experiment(imbalance_factor=1)
    assert balanced == Experiment(imbalance_factor=1, drop_factor=0.1) and "drop" not in balanced.name
    assert "drop_factor-0.01" in Experiment(imbalance_factor=1, drop_factor=0.01).name


def test_a_field_added_later_leaves_names_as_they_were():
    """As CONTRIBUTING.md says: records from before it are found and read; a run that sets it has another name."""

    @dataclass(frozen=True)
    class Longer(Experiment):
        mixup: float = field(default=0.0, metadata=LATER)

    for e in grid("controls", "cpu"):
        assert Longer(**asdict(e)).name == e.name
    assert Longer(mixup=0.2).digest != Experiment().digest


@pytest.mark.parametrize(
    "wrong",
    [
        dict(dataset="imagenet"),
        dict(loss="hinge"),
        dict(imbalance_factor=0.9),
        dict(imbalance_factor=math.inf),
        dict(imbalance_factor="natural"),
        dict(dataset="folder", imbalance_factor="many"),
        dict(beta=-0.1),
        dict(beta=1.1),
        dict(beta=math.nan),
        dict(beta="0.9"),
        dict(seed=-1),
        dict(seed=0.5),
        dict(depth=33),
        dict(epochs=0),
        dict(epochs=True),
        dict(batch_size=0),
        dict(base_learning_rate=0),
        dict(weight_decay=-1),
        dict(drop_factor=0),
        dict(gamma=1.0),
        dict(loss="focal", gamma=-1),
        dict(weights="none"),
        dict(reduction="sum"),
        dict(shortcut="conv"),
        dict(shuffle="none"),
        dict(last_bias="one"),
        dict(last_bias="zero"),
        dict(weights="uniform_scaled"),
    ],
)
def test_refuses(wrong):
    with pytest.raises(ValueError, match=f"^{list(wrong)[-1]} must be"):
        Experiment(**wrong)


def test_focal_needs_gamma():
    with pytest.raises(ValueError, match="^gamma must be given"):
        Experiment(loss="focal")


@pytest.mark.parametrize(("arguments", "name"), [(("figure11",), "grid"), (("heat-map", "gpu"), "profile")])
def test_grid_refuses(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        grid(*arguments)


def test_a_folder_is_taken_as_it_is_unless_told_otherwise():
    assert Experiment(dataset="folder") == Experiment(dataset="folder", imbalance_factor="natural")
    assert Experiment(dataset="folder").name.startswith("folder_imbalancenatural_softmax_beta0_seed0_")
    assert Experiment(dataset="folder", imbalance_factor=10).imbalance_factor == 10.0
    assert Experiment() == Experiment(imbalance_factor=100)


SAME = {
    "NumPy integers": dict(seed=np.int64(3), depth=np.int32(8), epochs=np.uint8(2), batch_size=np.int16(32)),
    "whole floats": dict(seed=3.0, depth=8.0, epochs=2.0, batch_size=32.0),
    "NumPy floats": dict(seed=np.float64(3), imbalance_factor=np.float32(10), beta=np.float64(0.9)),
    "integers for floats": dict(imbalance_factor=10),
    "arrays of no dimension": dict(seed=np.array(3), beta=np.array(0.9)),
    "tensors": dict(seed=torch.tensor(3), beta=torch.tensor(0.9, dtype=torch.float64, requires_grad=True)),
    "fractions": dict(seed=Fraction(3), beta=Decimal("0.9")),
    "NumPy text": dict(loss=np.str_("softmax"), dataset=np.str_("digits")),
}
PLAIN = dict(dataset="digits", seed=3, depth=8, epochs=2, batch_size=32, imbalance_factor=10.0, beta=0.9)


@pytest.mark.parametrize("fields", SAME.values(), ids=SAME)
def test_equal_experiments_have_one_name_and_one_record(fields):
    plain, other = Experiment(**PLAIN), Experiment(**PLAIN | fields)
    assert other == plain and hash(other) == hash(plain) and other.name == plain.name
    assert json.dumps(asdict(other)) == json.dumps(asdict(plain))
    assert {type(value) for value in asdict(other).values()} <= {int, float, str, type(None)}


def test_minus_zero_is_zero():
    assert Experiment(beta=-0.0, weight_decay=-0.0).name == Experiment(beta=0.0, weight_decay=0.0).name
    assert Experiment(loss="focal", gamma=-0.0).name == Experiment(loss="focal", gamma=0).name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1.5),
        ("seed", True),
        ("seed", np.True_),
        ("seed", "3"),
        ("seed", 2**63),
        ("seed", None),
        ("seed", np.array([1, 2])),
        ("seed", float("nan")),
        ("seed", 1j),
        ("epochs", 10**18),
        ("batch_size", 2.5),
        ("epochs", np.float64("inf")),
        ("depth", 6_000_002),
        ("depth", "8"),
        ("beta", "0.9"),
        ("beta", [0.9]),
        ("beta", torch.zeros(2)),
        ("weight_decay", torch.tensor(float("nan"))),
        ("loss", 7),
        ("seed", torch.zeros((), device="meta")),
        pytest.param("seed", 10**5000, id="seed-thousands of digits"),
        pytest.param("imbalance_factor", 10**400, id="imbalance_factor-beyond floats"),
        pytest.param("dataset", "x" * 1000, id="dataset-long"),
    ],
)
@pytest.mark.parametrize("kind", [Experiment, LargeScaleExperiment])
def test_what_no_record_could_hold_is_refused_by_name(kind, name, value):
    if name == "imbalance_factor" and kind is LargeScaleExperiment:
        pytest.skip("large-scale runs have no such field")
    with pytest.raises(ValueError, match=f"{name} must be") as caught:
        kind(**{name: value})
    assert len(str(caught.value)) < 300
