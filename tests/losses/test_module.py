"""`ClassBalancedLoss`: its weights follow from counts and beta whatever is done to the module, and its warnings."""

import copy
import io
import linecache
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from replication import ClassBalancedLoss, class_balanced_weights, long_tailed_counts

COUNTS = [900, 80, 7]
EXPECTED = torch.tensor(class_balanced_weights(COUNTS, 0.999), dtype=torch.float32)


class Net(nn.Module):
    def __init__(self, counts=COUNTS, beta=0.999, with_loss=True):
        super().__init__()
        self.head = nn.Linear(4, 3)
        if with_loss:
            self.criterion = ClassBalancedLoss(counts, beta, "focal", 0.5)


def saved_and_loaded(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


CHANGES = {
    "half": lambda m: m.half(),
    "bfloat16": lambda m: m.bfloat16(),
    "double": lambda m: m.double(),
    "half and back": lambda m: m.half().float(),
    "to dtype": lambda m: m.to(torch.float16),
    "to_empty": lambda m: m.to_empty(device="cpu"),
    "through meta": lambda m: m.to("meta").to_empty(device="cpu"),
    "deepcopy": copy.deepcopy,
    "deepcopy of half": lambda m: copy.deepcopy(m.half()),
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "torch.save": saved_and_loaded,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_weights_are_float32_and_those_of_the_counts_after(change):
    """Within a network, whose conversions reach the loss without calling its own methods."""
    net = change(Net())
    weight = net.criterion.weight
    assert weight.dtype == torch.float32 and torch.equal(weight, EXPECTED)
    assert "beta=0.999" in repr(net.criterion)


def test_weights_move_with_the_module():
    assert Net().to("meta").criterion.weight.is_meta


def test_weights_are_a_buffer_and_no_state():
    net = Net()
    assert [name for name, _ in net.named_buffers()] == ["criterion.weight"]
    assert set(net.state_dict()) == {"head.weight", "head.bias"} and not list(net.criterion.parameters())


@pytest.mark.parametrize("assign", [False, True])
def test_checkpoints_never_change_the_weights_and_always_load(assign):
    """State with and without the loss, and of version 0.1.0, which kept float64 weights of any number of classes."""
    net = Net()
    old = net.state_dict() | {"criterion.weight": torch.ones(5, dtype=torch.float64)}
    for state in (old, Net(with_loss=False).state_dict(), Net([9, 90, 900], 0.9).state_dict()):
        net.load_state_dict(state, strict=True, assign=assign)
        assert torch.equal(net.criterion.weight, EXPECTED)
    Net(with_loss=False).load_state_dict(net.state_dict(), strict=True)
    copy.deepcopy(net).load_state_dict(old, strict=True)
    pickle.loads(pickle.dumps(net)).load_state_dict(old, strict=True)
    assert "criterion.weight" in old  # the caller's dictionary is left alone


def test_assigning_beta_re_weights():
    module = ClassBalancedLoss(COUNTS, 0.0)
    assert module.weight.tolist() == [1, 1, 1]
    module.beta = 0.999
    assert torch.equal(module.weight, EXPECTED) and module.beta == 0.999 and "beta=0.999" in repr(module)
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    assert module(logits, target) == ClassBalancedLoss(COUNTS, 0.999)(logits, target)
    with pytest.raises(ValueError, match="beta must be in"):
        module.beta = 1.5
    assert module.beta == 0.999 and torch.equal(module.weight, EXPECTED)


def test_weights_are_rounded_once_from_float64():
    counts = long_tailed_counts(5000, 100, 200)
    exact = class_balanced_weights(counts, 0.9999)
    assert ClassBalancedLoss(counts, 0.9999).weight.tolist() == exact.astype(np.float32).tolist()


def test_options_may_be_assigned_and_are_checked():
    module = ClassBalancedLoss(COUNTS, 0.999, "focal", 2)
    module.reduction, module.gamma = "none", 0.5
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    assert torch.equal(module(logits, target), ClassBalancedLoss(COUNTS, 0.999, "focal", 0.5, "none")(logits, target))
    with pytest.raises(ValueError, match="reduction must be one of"):
        module.reduction = "average"


def test_from_labels_counts_them():
    labels = [0] * 900 + [1] * 80 + [2] * 7
    module = ClassBalancedLoss.from_labels(labels, 0.999, 3, "focal", gamma=0.5)
    assert torch.equal(module.weight, EXPECTED) and module.loss == "focal" and module.gamma == 0.5
    spare = ClassBalancedLoss.from_labels(torch.tensor(labels), 0.999, num_classes=4, empty="zero")
    assert spare.weight[3] == 0 and torch.equal(spare.weight[:3], EXPECTED)


def test_empty_class_of_weight_0_adds_nothing_but_counts_in_the_mean():
    module = ClassBalancedLoss([900, 0, 70], 0.999, empty="zero", reduction="none")
    loss = module(torch.zeros(3, 3), torch.tensor([0, 1, 2]))
    assert loss[1] == 0 and (loss[[0, 2]] > 0).all() and loss.isfinite().all()


def test_a_small_batch_is_computed_before_it_is_checked(monkeypatch):
    """The value and the gradient, without a call of the checks."""
    monkeypatch.setattr("replication.losses.functional.check_tensors", None)
    logits, target = torch.randn(5, 3, requires_grad=True), torch.tensor([0, 1, 2, 1, 0])
    expected = (nn.functional.cross_entropy(logits, target, reduction="none") * EXPECTED[target]).mean()
    value = ClassBalancedLoss(COUNTS, 0.999)(logits, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (value, expected)))


def test_weights_of_half_precision_give_a_loss_in_float32():
    criterion = ClassBalancedLoss(COUNTS, 0.999)
    criterion.weight = criterion.weight.half()
    assert criterion(torch.randn(5, 3).half(), torch.tensor([0, 1, 2, 1, 0])).dtype == torch.float32


@pytest.mark.parametrize("ignored", [-100, -1, 0, 2, 3])
def test_ignored_targets_are_as_if_they_were_not_there(ignored):
    target = torch.tensor([0, 1, 2, 1, 0])
    logits, kept = torch.randn(5, 3), target != ignored
    marked = torch.where(kept, target, ignored)
    marked[4], kept[4] = ignored, False
    criterion = ClassBalancedLoss(COUNTS, 0.999, ignore_index=ignored)
    torch.testing.assert_close(criterion(logits, marked), criterion(logits[kept], target[kept]))


def test_repr_says_what_it_is():
    assert "2 classes, beta=0.9, loss='focal', gamma=2" in repr(ClassBalancedLoss([40, 21], 0.9, "focal", 2))


def warned(*arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = ClassBalancedLoss(*arguments)
        module(torch.zeros(1, len(arguments[0])), torch.tensor([0]))
        module(torch.zeros(1, len(arguments[0])), torch.tensor([0]))
    assert all("module = ClassBalancedLoss" in linecache.getline(w.filename, w.lineno) for w in caught)  # the caller
    return [str(w.message) for w in caught]


def test_warns_once_of_a_beta_that_re_balances_nothing():
    [message] = warned([5000, 500, 100], 0.9)
    assert "beta = 0.9" in message and "100 to 5000" in message


def test_warns_once_of_counts_of_a_batch():
    """Fewer than four samples per class on average."""
    [message] = warned([2, 1, 1], 0.9)
    assert "4 samples" in message


@pytest.mark.parametrize(
    "arguments",
    [([5000, 500, 50], 0.9999), ([5000, 500], 0.0), ([500, 500], 0.9), ([400, 100, 12], 0.999), ([1000, 24], 0.999)],
)
def test_warns_of_nothing_else(arguments):
    """Not of beta = 0, which asks for no weights, nor of balanced classes, nor of totals of 512 and 1024."""
    assert warned(*arguments) == []


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (([9, 5], 0.9, "hinge"), {}, r"loss must be one of .*'hinge'"),
        (([9, 5], 0.9, "focal"), {}, r"gamma must be given for the focal losses"),
        (([9, 5], 0.9, "softmax_focal"), {}, r"gamma must be given for the focal losses"),
        (([9, 5], 0.9, "sigmoid", 1.0), {}, r"gamma must be given for the focal losses and no other, got 1.0"),
        (([9, 5], 0.9, "focal", -1.0), {}, r"gamma must be a finite number >= 0, got -1.0"),
        (([9, 5], 0.9), {"reduction": "median"}, r"reduction must be one of"),
        (([9, 5], 0.9), {"label_smoothing": -0.1}, r"label_smoothing must be"),
        (([9, 5], 1.1), {}, r"beta must be in \[0, 1\], got 1.1"),
        (([9, -5], 0.9), {}, r"class_counts must be finite and >= 0, got -5"),
        (([9, float("nan")], 0.9), {}, r"class_counts .*got nan"),
        (([9, 0, 5, 0], 0.9), {}, r"class_counts .*classes \[1, 3\]"),
    ],
)
def test_the_module_refuses_at_construction(arguments, options, says):
    with pytest.raises(ValueError, match=says):
        ClassBalancedLoss(*arguments, **options)


def test_the_module_names_the_number_of_classes_it_was_made_for():
    with pytest.raises(ValueError, match=r"weight must be one number for each of the 3 classes of logits.*\(2,\)"):
        ClassBalancedLoss([40, 21], 0.9)(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))


def test_labels_that_pass_for_counts_are_recognised_at_the_logits():
    """12 labels of three classes: too few to be told from counts when the loss is made."""
    with pytest.warns(UserWarning, match="did you pass labels"):
        criterion = ClassBalancedLoss([1, 2, 3, 1] * 3, 0.9)
    with pytest.raises(ValueError, match=r"3 classes of logits.*\(12,\); did you pass labels.*from_labels"):
        criterion(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))


def test_a_shallow_copy_has_weights_of_its_own():
    criterion = ClassBalancedLoss([5000, 50], 0.999)
    copied = copy.copy(criterion)
    copied.beta = 0.0
    assert copied.weight.tolist() == [1, 1]
    assert criterion.weight.tolist() == pytest.approx(class_balanced_weights([5000, 50], 0.999).tolist())
