"""Section 3 and 4: E_n, its limits, beta <-> N, class-balanced weights. References: mpmath, exact fractions, limits."""

import subprocess
import sys
from collections import Counter
from fractions import Fraction

import mpmath
import numpy as np
import pandas as pd
import pytest
import torch

from replication import beta_from_volume, class_balanced_weights, class_counts, effective_number, volume_from_beta
from replication.theory.effective_number import check_counts

BETAS = [1e-300, 1e-9, 0.1, 0.49, 0.5, 0.51, 0.9, 0.9999, 1 - 1e-9, 1 - 1e-12, float(np.nextafter(1, 0))]


@pytest.mark.parametrize("beta", BETAS)
def test_closed_form_to_1e_12_relative(beta):
    """Proposition 1 at 60 digits: 1 - beta^n is where float64 would lose everything."""
    for n in (1, 2, 3, 17, 5000, 10**6, 10**12, 10**15):
        with mpmath.workdps(60):
            exact = (1 - mpmath.mpf(beta) ** n) / (1 - mpmath.mpf(beta))
            assert abs(mpmath.mpf(float(effective_number(n, beta))) / exact - 1) < 1e-12, n


def test_recursion_of_proposition_1_in_exact_fractions():
    """E_1 = 1, E_n = 1 + beta E_{n-1} (the induction of Proposition 1)."""
    beta, covered = Fraction(7, 8), Fraction(0)
    for n in range(1, 40):
        covered = 1 + beta * covered
        assert effective_number(n, 0.875) == pytest.approx(float(covered), rel=1e-15)


def test_any_tensor_will_do():
    beta = torch.tensor(0.5, requires_grad=True)
    assert effective_number(torch.tensor([1, 3], dtype=torch.bfloat16), beta).tolist() == [1, 1.75]
    assert volume_from_beta(beta) == 2 and class_balanced_weights([3, 3], beta).tolist() == [1, 1]


def test_limits_are_exact():
    """Implication 1: N = 1 gives 1, N -> infinity gives n; no samples cover nothing; all of them cover N."""
    n = np.array([0.0, 1, 2, 5000, 1e12])
    assert effective_number(n, 0.0).tolist() == [0, 1, 1, 1, 1]
    assert effective_number(n, 1.0).tolist() == n.tolist()
    assert effective_number(0, 0.5) == 0
    assert effective_number(np.inf, 0.75) == 4


def test_nth_sample_adds_beta_to_the_n_minus_1():
    """Equation 3: the j-th sample adds beta^(j-1)."""
    added = np.diff(effective_number(np.arange(60), 0.9))
    np.testing.assert_allclose(added, 0.9 ** np.arange(59), rtol=1e-12)


def test_scalar_in_scalar_out_and_broadcast():
    assert isinstance(effective_number(3, 0.5), np.float64)
    assert effective_number([[1], [2]], [0.0, 0.5, 1.0]).tolist() == [[1, 1, 1], [1, 1.5, 2]]


def test_volume_and_beta_are_inverse():
    """beta = (N - 1) / N and N = 1 / (1 - beta), exact for powers of two, infinity included."""
    volume = np.array([1, 2, 4, 2.0**40, np.inf])
    assert beta_from_volume(volume).tolist() == [0, 0.5, 0.75, 1 - 2.0**-40, 1]
    assert volume_from_beta(beta_from_volume(volume)).tolist() == volume.tolist()
    assert beta_from_volume(10_000) == pytest.approx(0.9999, rel=1e-15)


@pytest.mark.parametrize("beta", [0, 0.9, 0.9999, 1 - 1e-12, 1])
def test_weights_sum_to_the_number_of_classes_and_order_by_rarity(beta):
    counts = [5000, 2997, 50, 50, 1]
    weights = class_balanced_weights(counts, beta)
    assert weights.dtype == np.float64 and weights.sum() == pytest.approx(5, rel=1e-15)
    assert weights[2] == weights[3] and (np.diff(weights) >= 0).all()


def test_both_ends_of_beta():
    """Section 4: beta = 0 re-weights nothing, exactly 1; beta = 1 is inverse frequency; not normalised, 1 / E_n."""
    assert class_balanced_weights([7, 70, 700], 0).tolist() == [1, 1, 1]
    inverse = np.array([1 / 7, 1 / 70, 1 / 700])
    np.testing.assert_allclose(class_balanced_weights([7, 70, 700], 1), inverse * 3 / inverse.sum(), rtol=1e-15)
    np.testing.assert_allclose(class_balanced_weights([7, 70, 700], 1, normalize=False), inverse, rtol=1e-15)


@pytest.mark.parametrize("beta", [0.9, 0.9999, 1 - 1e-12])
@pytest.mark.parametrize("classes", [1, 7, 10, 100])
def test_balanced_counts_give_exactly_one(classes, beta):
    """Table 2: at imbalance 1 the loss is the plain one, so the weights are 1 to the bit."""
    assert (class_balanced_weights([500] * classes, beta) == 1).all()


def test_empty_class_weighs_nothing_and_stays_out_of_the_normalisation():
    weights = class_balanced_weights([100, 0, 10], 0.99, empty="zero")
    assert weights[1] == 0
    assert weights[[0, 2]].tolist() == class_balanced_weights([100, 10], 0.99).tolist()


def test_counts_beyond_64_bits():
    assert class_balanced_weights([1, 10**30], 1) == pytest.approx([2, 2e-30], rel=1e-15)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: effective_number(-1, 0.5), ValueError, r"n must be .*>= 0, got -1"),
        (lambda: effective_number([1, np.nan], 0.5), ValueError, r"n must be .*got nan"),
        (lambda: effective_number(1, 1.5), ValueError, r"beta must be in \[0, 1\], got 1.5"),
        (lambda: effective_number("three", 0.5), ValueError, r"n must be real numbers, got 'three'"),
        (lambda: beta_from_volume(0.5), ValueError, r"volume must be >= 1.*got 0.5"),
        (lambda: beta_from_volume(np.nan), ValueError, r"volume must be >= 1.*got nan"),
        (lambda: volume_from_beta(-0.1), ValueError, r"beta must be in \[0, 1\], got -0.1"),
        (lambda: class_balanced_weights([3, 0, 5, 0], 0.9), ValueError, r"class_counts .*0 for classes \[1, 3\]"),
        (lambda: class_balanced_weights([3, -2], 0.9), ValueError, r"class_counts must be finite and >= 0, got -2"),
        (lambda: class_balanced_weights([3, np.nan], 0.9), ValueError, r"class_counts .*got nan"),
        (lambda: class_balanced_weights([3, np.inf], 0.9), ValueError, r"class_counts .*got inf"),
        (lambda: class_balanced_weights([], 0.9), ValueError, r"class_counts .*shape \(0,\)"),
        (lambda: class_balanced_weights([[3, 4]], 0.9), ValueError, r"class_counts .*shape \(1, 2\)"),
        (lambda: class_balanced_weights([0, 0], 0.9, empty="zero"), ValueError, r"at least one class with samples"),
        (lambda: class_balanced_weights([3, 4], [0.9, 0.9]), ValueError, r"beta must be one number"),
        (lambda: class_balanced_weights([3, 4], None), ValueError, r"beta must be real numbers, got None"),
        (lambda: class_balanced_weights([3, 4], torch.ones((), device="meta")), ValueError, r"beta must be real"),
        (lambda: class_balanced_weights([3, 4], 0.9, empty="drop"), ValueError, r"empty must be one of .*'drop'"),
    ],
)
def test_guards_name_argument_value_and_range(call, error, says):
    with pytest.raises(error, match=says):
        call()


# --- class counts come in through one door ----------------------------------------------------------------------

COUNTS = [500, 50, 5]
FORMS = {
    "list": COUNTS,
    "tuple": tuple(COUNTS),
    "float array": np.array(COUNTS, dtype=float),
    "uint8 array": np.array([250, 50, 5], dtype=np.uint8),
    "list of NumPy numbers": list(np.array(COUNTS)),
    "fractions": [Fraction(n) for n in COUNTS],
    "generator": (n for n in COUNTS),
    "dict": {2: 5, 0: 500, 1: 50},
    "dict with NumPy keys": {np.int64(2): 5, np.int64(0): 500, np.int64(1): 50},
    "Counter": Counter([1] * 50 + [0] * 500 + [2] * 5),
    "dict.values()": {"a": 500, "b": 50, "c": 5}.values(),
    "value_counts": pd.Series([1] * 50 + [0] * 500 + [2] * 5).value_counts(),
    "Series in another order": pd.Series([5, 500, 50], index=[2, 0, 1]),
    "Series of nullable integers": pd.Series(COUNTS, dtype="Int64"),
    "Index": pd.Index(COUNTS),
    "tensor": torch.tensor(COUNTS),
    "bfloat16 tensor": torch.tensor([500, 50, 5], dtype=torch.bfloat16),
    "float16 tensor": torch.tensor([500, 50, 5], dtype=torch.float16),
    "tensor with a gradient": torch.tensor([500.0, 50, 5], requires_grad=True),
    "parameter": torch.nn.Parameter(torch.tensor([500.0, 50, 5])),
    "list of tensors": [
        torch.tensor(500),
        torch.tensor(50, dtype=torch.bfloat16),
        torch.tensor(5.0, requires_grad=True),
    ],
    "bincount": torch.bincount(torch.tensor([1] * 50 + [0] * 500 + [2] * 5)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_counts_in_any_form(form):
    counts = check_counts(form)
    assert counts.dtype == np.float64 and counts[1:].tolist() == [50, 5] and counts[0] in (500, 250)


def test_counts_by_name_come_in_the_order_of_the_names():
    names = ["dog", "cat", "emu"]
    counts = {"cat": 50, "emu": 5, "dog": 500}
    for form in (counts, pd.Series(counts), pd.Series(counts).sort_values()):
        assert check_counts(form, class_names=names).tolist() == COUNTS
        assert (
            class_balanced_weights(form, 0.9, class_names=names).tolist()
            == class_balanced_weights(COUNTS, 0.9).tolist()
        )


class DataLoadedOnlyIfRead:
    """A data set, as torch has them: a length and samples by index."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise AssertionError("a sample was read")


WRONG = {
    "missing class": {0: 5, 2: 3},
    "keys from 1": {1: 5, 2: 3},
    "names without class_names": {"cat": 5, "dog": 3},
    "keys as text": {"0": 5, "1": 3},
    "a class twice": pd.Series([5, 3, 2], index=[0, 1, 1]),
    "many keys": {f"class {i}": i for i in range(10_000)},
    "empty": {},
    "empty list": [],
    "None": None,
    "a number": 5,
    "text": "500",
    "bytes": b"500",
    "set": {500, 50},
    "complex": [1j, 2],
    "text inside": ["500", "50"],
    "None inside": [500, None],
    "ragged": [[1], [2, 3]],
    "table": pd.DataFrame({0: [5, 3], 1: [3, 2]}),
    "meta tensor": torch.zeros(3, device="meta"),
    "missing value": pd.Series([5, None], dtype="Int64"),
    "labels": [0, 2, 1, 1, 0, 2, 2, 1] * 9999,
    "labels as a tensor": torch.arange(50_000) % 10,
    "text in a Series": pd.Series(["500", "50"], dtype=object),
    "a data set": DataLoadedOnlyIfRead(),
    "labels as text": ["cat", "dog"] * 9999,
    "one empty class in many": [0] + [7] * 9999,
    "masked counts": np.ma.array([5, 3], mask=[False, True]),
    "many empty classes": [0, 99_999] * 9999,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_anything_else_is_one_short_error_that_names_class_counts(wrong):
    for call in (check_counts, lambda counts: class_balanced_weights(counts, 0.9)):
        with pytest.raises(ValueError, match="^class_counts must ") as caught:
            call(wrong)
        assert len(str(caught.value)) < 400 and str(caught.value).count("\n") < 3


def test_wrong_keys_are_listed():
    with pytest.raises(ValueError, match=r"keys 0 \.\.\. C-1, got \[0, 2\]"):
        check_counts({0: 5, 2: 3})
    with pytest.raises(ValueError, match=r"keys the class_names \['a', 'b'\], got \['a', 'c'\]"):
        check_counts({"a": 5, "c": 3}, class_names=["a", "b"])
    with pytest.raises(ValueError, match="one number per class name"):
        check_counts([5, 3], class_names=["a", "b", "c"])


LABELS_AS_COUNTS = {
    "from 0": [0, 1, 2] * 300,
    "from 1": [1, 2, 3] * 300,
    "from 1, as floats in a Series": pd.Series([1.0, 2, 3] * 300),
    "class names": ["cat", "dog"],
    "a tensor": torch.tensor([0, 1] * 60),
    "a column": np.array([[0], [1]] * 60),
    "long-tailed, a class missing": np.repeat([0, 1, 2, 4], [900, 90, 50, 9]),
    "200 classes from 1, 30 samples each, as in CUB": np.arange(6000) % 200 + 1,
    "with an ignored label": [0, 1, -100] * 60,
    "-1 and 1": [-1, 1] * 60,
}


@pytest.mark.parametrize("labels", LABELS_AS_COUNTS.values(), ids=LABELS_AS_COUNTS)
@pytest.mark.parametrize("empty", ["error", "zero"])
def test_labels_passed_as_counts_are_recognised(labels, empty):
    with pytest.raises(ValueError, match=r"did you pass labels\? .*from_labels"):
        class_balanced_weights(labels, 0.9, empty=empty)


COUNTS_LIKE_LABELS = {
    "empty classes": [9, 0, 5, 0],
    "an empty class first": [0, 3, 100],
    "few samples": [0, 0, 1, 0, 0, 2],
    "one sample in each of 500 classes": [1] * 500,
    "20 samples in each of 1623 classes, as in Omniglot": [20] * 1623,
    "2 to 12 samples in each of 22634 classes, as in Stanford Online Products": [2 + k % 11 for k in range(22634)],
    "a long tail of 8142 classes, 1000 to 1": [max(1, round(1000 * 0.9992**k)) for k in range(8142)],
    "a dict": dict(enumerate([1, 2, 3] * 300)),
}


@pytest.mark.parametrize("counts", COUNTS_LIKE_LABELS.values(), ids=COUNTS_LIKE_LABELS)
def test_counts_are_not_taken_for_labels(counts):
    assert check_counts(counts, "zero").tolist() == list(counts.values() if isinstance(counts, dict) else counts)


class Dataset:
    """As torchvision's data sets: the labels are `targets`."""

    def __init__(self, targets):
        self.targets = targets


LABELS = [0, 3, 3, 1, 0, 3]


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        tuple(LABELS),
        iter(LABELS),
        np.array(LABELS),
        np.array(LABELS, dtype=np.uint8),
        np.array(LABELS, dtype=float),
        torch.tensor(LABELS),
        [torch.tensor(y) for y in LABELS],
        pd.Series(LABELS, index=list("fedcba")),
        Dataset(LABELS),
        Dataset(torch.tensor(LABELS)),
    ],
)
def test_class_counts_of_labels_in_any_form(labels):
    counts = class_counts(labels)
    assert counts.dtype == np.int64 and counts.tolist() == [2, 1, 0, 3]


def test_class_counts_fill_up_to_num_classes():
    assert class_counts(LABELS, num_classes=6).tolist() == [2, 1, 0, 3, 0, 0]
    assert class_counts([], num_classes=2).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("labels", "num_classes"),
    [
        (["a", "b"], None),
        ([-1, 0], None),
        ([0.5], None),
        ([np.nan], None),
        ([1e12], None),
        ([], None),
        ([[0, 1]], None),
        (5, None),
    ],
)
def test_labels_that_are_not_class_indices(labels, num_classes):
    with pytest.raises(ValueError, match="^labels must "):
        class_counts(labels, num_classes)


@pytest.mark.parametrize("num_classes", [0, -1, 1.5, "3", [3]])
def test_num_classes_is_a_whole_number(num_classes):
    with pytest.raises(ValueError, match="^num_classes must "):
        class_counts(LABELS, num_classes)


def test_labels_beyond_num_classes():
    with pytest.raises(ValueError, match="labels must be class indices below num_classes = 3, got 3"):
        class_counts(LABELS, 3)


def test_counts_need_neither_pandas_nor_torch():
    code = "import sys; from replication import class_counts, class_balanced_weights as w; w({1: 2, 0: 3}, 0.9)"
    code += "; class_counts([0, 1]); assert not {'pandas', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
