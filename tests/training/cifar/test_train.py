"""One run: exact repetition, the paired design, and what each switch changes and leaves (Section 5.2)."""

import contextlib
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from replication.data.augment import batch_order
from replication.data.image_set import ImageSet
from replication.data.long_tail import long_tailed_counts
from replication.data.seeds import stream
from replication.data.sources import load
from replication.experiments.experiment import Experiment
from replication.theory.effective_number import class_balanced_weights
from replication.training import loop, one_run
from replication.training.cifar import program
from replication.training.cifar import train as module
from replication.training.cifar.train import train
from replication.training.device import cuda_switches, pick_device, pick_precision

DIGITS = load("digits")
SHORT = Experiment(dataset="digits", imbalance_factor=100, depth=8, epochs=2, batch_size=64)
TIMES = {"images_per_second", "wall_seconds", "finished_at", "concurrent_runs"}


def run_of(**fields):
    return train(replace(SHORT, **fields), DIGITS, device="cpu")


def start_of(**fields):
    """A run before its first step."""
    return module.CifarRun(replace(SHORT, **fields), DIGITS, torch.device("cpu"))


def losses_of(run, steps):
    """The training loss of each of the first steps."""
    losses = []
    run.model.train()
    for step in range(steps):
        run.position.fill_(step)
        run.total.zero_()
        run.train_once()
        losses.append(float(run.total))
    return losses


def without_times(record):
    return {k: v for k, v in asdict(record).items() if k not in TIMES}


@pytest.fixture(scope="module")
def plain():
    return run_of()


def test_the_same_run_twice_gives_the_same_record(plain):
    assert without_times(run_of()) == without_times(plain)


def test_another_seed_gives_another_run(plain):
    other = run_of(seed=1)
    assert other.curve != plain.curve and other.subset_fingerprint != plain.subset_fingerprint
    assert other.class_counts == plain.class_counts


@pytest.mark.parametrize("fields", [dict(beta=0.999), dict(loss="sigmoid"), dict(loss="focal", gamma=0.5, beta=0.9)])
def test_one_seed_gives_every_loss_the_same_images_weights_order_and_crops(fields):
    """The paired design: two losses of one seed differ in the loss, and in the last bias that it starts at."""
    one, other = start_of(), start_of(**fields)
    assert one.kept.fingerprint == other.kept.fingerprint
    assert np.array_equal(one.kept.images, other.kept.images)
    assert torch.equal(one.order, other.order)
    assert all(torch.equal(a, b) for a, b in zip(one.draws, other.draws, strict=True))
    one, other = ({k: v.clone() for k, v in start_of(**f).model.state_dict().items()} for f in ({}, fields))
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert differing == ([] if fields.get("loss") is None else ["classifier.bias"])


def test_two_seeds_differ_in_images_weights_order_and_crops():
    one, other = start_of(), start_of(seed=1)
    assert one.kept.fingerprint != other.kept.fingerprint
    assert not torch.equal(one.order, other.order) and not torch.equal(one.draws[0], other.draws[0])
    weights = [start_of(seed=seed).model.classifier.weight.clone() for seed in (0, 1)]
    assert not torch.equal(*weights)


@pytest.mark.parametrize("loss", ["sigmoid", "focal"])
def test_sigmoid_losses_start_at_probability_one_in_C(loss):
    """Section 5.2: the last bias is -log(C - 1), and the authors' code does not decay it."""
    started = start_of(loss=loss, gamma=1.0 if loss == "focal" else None)
    assert_allclose(torch.sigmoid(started.model.classifier.bias).detach(), 0.1, rtol=1e-6)
    assert started.optimiser.param_groups[1]["weight_decay"] == 0
    zero = start_of(loss=loss, gamma=1.0 if loss == "focal" else None, last_bias="zero")
    assert not zero.model.classifier.bias.any()


def test_softmax_decays_every_parameter_and_starts_at_bias_zero():
    started = start_of()
    assert [g["weight_decay"] for g in started.optimiser.param_groups] == [2e-4, 2e-4]
    assert not started.model.classifier.bias.any()
    count = sum(len(g["params"]) for g in started.optimiser.param_groups)
    assert count == len(list(started.model.parameters()))


def test_beta_without_imbalance_changes_nothing():
    """Equal counts give weights of 1, for whatever beta: the curves are equal to the bit."""
    curves = [run_of(imbalance_factor=1, beta=beta, epochs=1).curve for beta in (0.0, 0.9, 0.9999, 1.0)]
    assert curves.count(curves[0]) == 4


def test_beta_zero_is_the_plain_loss():
    """Weights of exactly 1 multiply the loss: the curve is that of torch's own cross-entropy."""
    experiment = replace(SHORT, epochs=1)
    run = module.CifarRun(experiment, DIGITS, torch.device("cpu"))
    run.loss = torch.nn.functional.cross_entropy
    reference = run.advance(1, None)
    assert_allclose(train(experiment, DIGITS, device="cpu").curve[0]["training_loss"], reference, rtol=1e-5)


def test_class_balanced_weights_reach_the_loss():
    """One sample of class c costs w_c log C at equal logits, w from the counts of the training set (Section 4)."""
    run = start_of(beta=0.999)
    weights = class_balanced_weights(run.kept.class_counts, 0.999)
    losses = [float(run.loss(torch.zeros(1, 10), torch.tensor([c]))) for c in range(10)]
    assert_allclose(losses, weights * math.log(10), rtol=1e-6)


def test_weighted_mean_divides_by_the_sum_of_weights():
    run = start_of(beta=0.999, reduction="weighted_mean")
    losses = [float(run.loss(torch.zeros(1, 10), torch.tensor([c]))) for c in range(10)]
    assert_allclose(losses, math.log(10), rtol=1e-6)  # of one sample the weight cancels


def test_uniform_scaled_multiplies_by_the_average_weight():
    """The control: the average class-balanced loss over the training set at equal logits, without re-balancing."""
    balanced, uniform = start_of(beta=0.999), start_of(beta=0.999, weights="uniform_scaled")
    logits = torch.zeros(balanced.n, 10)
    average = float(balanced.loss(logits, balanced.targets))
    assert_allclose(float(uniform.loss(logits, uniform.targets)), average, rtol=1e-5)
    losses = {float(uniform.loss(torch.zeros(1, 10), torch.tensor([c]))) for c in range(10)}
    assert len(losses) == 1
    counts = np.array(balanced.kept.class_counts)
    weight = (counts * class_balanced_weights(counts, 0.999)).sum() / counts.sum()
    assert_allclose(losses.pop(), weight * math.log(10), rtol=1e-6)


@pytest.mark.parametrize(
    "switch",
    [
        dict(reduction="weighted_mean", beta=0.999),
        dict(weights="uniform_scaled", beta=0.999),
        dict(shortcut="subsample"),
        dict(shuffle="buffered"),
        dict(loss="sigmoid", last_bias="zero"),
    ],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_each_switch_changes_the_run(switch, plain):
    defaults = {k: v for k, v in switch.items() if k in ("beta", "loss")}
    paper = run_of(**defaults, epochs=1) if defaults else run_of(epochs=1)
    assert run_of(**switch, epochs=1).curve != paper.curve


@pytest.mark.parametrize("dataset, files", [("cifar10", 5), ("cifar100", 1), ("cifar20", 1)])
def test_buffered_shuffle_knows_the_training_files_of_the_archive(dataset, files):
    run = start_of(dataset=dataset, shuffle="buffered")
    e, n = run.experiment, run.n
    order = dict(epochs=e.epochs, seed=stream(e.seed, "order"), shuffle="buffered", batch_size=e.batch_size)
    assert torch.equal(run.order, batch_order(n, **order, files=files))
    assert not torch.equal(run.order, batch_order(n, **order, files=6 - files))


def test_drop_factor_changes_the_rate_after_the_drops_only():
    paper, usual = (run_of(epochs=5, drop_factor=f).curve for f in (0.01, 0.1))  # drops after 4 and 4.5 epochs
    assert paper[:2] == usual[:2]
    assert_allclose(paper[2]["learning_rate"], 1e-5)
    assert_allclose(usual[2]["learning_rate"], 1e-3)


@pytest.mark.slow
def test_compiled_and_eager_agree_but_for_rounding():
    """torch.compile reorders sums, no more: the same loss over three steps to float32 accuracy."""
    losses = []
    for compiled in (False, True):
        run = module.CifarRun(replace(SHORT, epochs=1), DIGITS, torch.device("cpu"), compiled=compiled)
        if compiled and not run.compiled:
            pytest.skip("no compiler that torch.compile can use")
        losses.append(losses_of(run, 3))
    assert_allclose(*losses, rtol=1e-4)


def test_a_missing_compiler_means_eager_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("no g++ here")))
    program._compile.cache_clear()
    record = train(replace(SHORT, epochs=1), DIGITS, device="cpu", compiled=True)
    program._compile.cache_clear()
    assert record.status == "finished" and record.compiled is False
    assert "no g++ here" in capsys.readouterr().out


def test_every_run_has_a_network_of_its_own():
    """Runs in threads of one process must not train each other's weights."""
    assert start_of().model is not start_of().model


def test_learns_digits_in_seconds():
    """1297 digits, 8 epochs: far below the 90 % error of chance."""
    record = train(replace(SHORT, imbalance_factor=1, epochs=8, batch_size=32), DIGITS, device="cpu")
    assert record.error < 10
    assert record.error == record.curve[-1]["error"]  # the last epoch's is the headline
    assert_allclose(np.mean(record.error_per_class), record.error)  # 50 test images of each class
    assert record.best_error == min(p["error"] for p in record.curve)


def test_record_says_what_ran(plain):
    assert plain.status == "finished" and [p["epoch"] for p in plain.curve] == [2]
    assert plain.class_counts == long_tailed_counts(min(DIGITS[0].class_counts), 10, 100)
    assert plain.dataset_fingerprint == DIGITS[0].fingerprint != plain.subset_fingerprint
    assert plain.parameters == sum(p.numel() for p in start_of().model.parameters())
    assert plain.threads == torch.get_num_threads() and plain.device.startswith("CPU (")


def test_a_record_names_each_kind_of_machine_that_it_ran_on(tmp_path, monkeypatch):
    """Begun on one, stopped at the first checkpoint, ended on another."""
    path, experiment = tmp_path / "c.pt", replace(SHORT, epochs=4)

    def stopped(self, path, curve, seconds):
        save(self, path, curve, seconds)
        raise KeyboardInterrupt

    save = module.CifarRun.save
    monkeypatch.setattr(module.CifarRun, "save", stopped)
    monkeypatch.setattr(loop, "device_name", lambda device: "CPU (one)")
    with pytest.raises(KeyboardInterrupt):
        train(experiment, DIGITS, device="cpu", checkpoint_path=path, checkpoint_every=2)
    monkeypatch.setattr(loop, "device_name", lambda device: "CPU (two)")
    assert train(experiment, DIGITS, device="cpu", checkpoint_path=path).device == "CPU (one), then CPU (two)"


def test_evaluates_every_second_epoch_and_the_last():
    assert start_of(epochs=7).evaluation_epochs() == [2, 4, 6, 7]
    assert start_of(epochs=1).evaluation_epochs() == [1]


def test_epochs_without_a_step_are_not_evaluated():
    """30 images in batches of 128: a step every 4.3 epochs, and none of the epochs between counts as diverged."""
    few = ImageSet(DIGITS[0].images[:30], np.arange(30) % 10, tuple("0123456789"), padding=1, flip=False)
    record = train(replace(SHORT, imbalance_factor=1, epochs=13, batch_size=128), (few, DIGITS[1]), device="cpu")
    assert record.status == "finished"
    assert [p["epoch"] for p in record.curve] == [8, 12, 13]  # 1, 2 and 3 steps


def test_a_run_without_one_whole_batch_is_refused():
    with pytest.raises(ValueError, match="batch_size must be at most epochs x images"):
        run_of(batch_size=100_000)


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged():
    record = run_of(base_learning_rate=1e30)
    assert record.status == "diverged" and record.error is None and record.error_per_class is None


def test_logits_that_overflow_after_the_last_step_count_as_diverged(monkeypatch):
    """The loss of the last step is computed from the weights before that step."""
    run = start_of(epochs=1)
    run.advance(1, None)
    with torch.no_grad():
        run.model.classifier.weight.fill_(math.nan)
    errors, wrong = run.evaluate()
    assert math.isnan(errors["error"]) and wrong is None
    monkeypatch.setattr(module.CifarRun, "evaluate", lambda self: (dict(error=math.nan), None))
    assert run_of(epochs=1).status == "diverged"


def test_progress_adds_up_to_the_images_trained_on():
    told = []
    train(replace(SHORT, epochs=2), DIGITS, device="cpu", progress=told.append)
    assert sum(told) == start_of().steps * 64


def test_bfloat16_trains_the_same_run_in_coarser_numbers_and_evaluates_in_float32():
    """Autocast on the CPU too: the record says so, losses agree to bfloat16's eight bits, a repetition to the bit."""
    coarse, again = (train(SHORT, DIGITS, device="cpu", precision="bfloat16") for _ in range(2))
    fine = train(SHORT, DIGITS, device="cpu", precision="float32")
    assert (coarse.precision, fine.precision) == ("bfloat16 autocast", "float32")
    assert without_times(coarse) == without_times(again)
    losses = [record.curve[0]["training_loss"] for record in (coarse, fine)]
    assert losses[0] != losses[1]
    assert_allclose(*losses, rtol=0.02)
    run = module.CifarRun(SHORT, DIGITS, torch.device("cpu"), precision="bfloat16")
    seen = []
    with run.model.classifier.register_forward_hook(lambda layer, inputs, logits: seen.append(logits.dtype)):
        losses_of(run, 1)
        run.test_logits()
    assert seen[0] == torch.bfloat16 and set(seen[1:]) == {torch.float32}


def test_precision_is_bfloat16_on_gpus_that_have_it_unless_asked_otherwise(monkeypatch):
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert pick_precision(None, cuda) == "float32"  # emulated: slower
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert pick_precision(None, cuda) == pick_precision("bfloat16", cpu) == "bfloat16 autocast"
    assert pick_precision(None, cpu) == pick_precision("float32", cuda) == "float32"
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, got 'half'"):
        pick_precision("half", cpu)


def test_a_run_that_was_compiled_in_part_says_so(tmp_path):
    """A run that starts compiled and ends eager rounds like neither kind alone."""
    started, resumed = (module.CifarRun(SHORT, DIGITS, torch.device("cpu")) for _ in range(2))
    started.compiled = True
    started.save(tmp_path / "c.pt", [], 1.0)
    resumed.resume(tmp_path / "c.pt")
    assert resumed.compiled


def test_a_record_names_each_commit_that_its_run_had(tmp_path, monkeypatch):
    started, resumed = (module.CifarRun(SHORT, DIGITS, torch.device("cpu")) for _ in range(2))
    for commit, one in (("a1", started), ("b2", resumed)):
        monkeypatch.setattr(loop, "git_state", lambda commit=commit: (commit, True))
        one.resume(tmp_path / "c.pt")
        one.save(tmp_path / "c.pt", [], 1.0)
    assert loop.history(resumed)["commits"] == ["a1", "b2"]
    assert loop._environment(resumed)["git_commit"] == "a1, then b2"


def test_a_run_leaves_torch_s_global_switches_as_they_were():
    """On the CPU it does not touch them; on CUDA its convolutions are in float32 proper, and it puts all back."""
    cudnn = torch.backends.cudnn

    def switches():
        return torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.allow_tf32

    before = switches()
    with cuda_switches(torch.device("cpu"), True):
        assert switches() == before
    for deterministic in (False, True):
        with pytest.raises(KeyError), cuda_switches(torch.device("cuda"), deterministic):
            assert switches() == (deterministic, not deterministic, False)
            raise KeyError
        assert switches() == before


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta:x"])
def test_unknown_device_is_named(device):
    with pytest.raises(ValueError, match=f"device must be auto, cpu or a CUDA device.*{device}"):
        pick_device(device)


def test_evaluations_may_be_rarer_before_the_rate_drops():
    run = start_of(epochs=20)
    run.evaluate_every = 5
    assert run.evaluation_epochs() == [5, 10, 15, 16, 18, 20]
    whole = train(replace(SHORT, epochs=10), DIGITS, device="cpu")
    rarer = train(replace(SHORT, epochs=10), DIGITS, device="cpu", evaluate_every=4)
    assert rarer.error == whole.error and [p["epoch"] for p in rarer.curve] == [4, 8, 10]


def test_a_deferred_run_is_the_plain_one_until_the_weights_begin(tmp_path):
    """Whole, or from the plain run's state at that epoch: the same record to the bit (Cao et al. 2019)."""
    plain, path = replace(SHORT, epochs=5), tmp_path / "plain.epoch4.start"
    deferred = replace(plain, beta=0.999, reweight_from=0.8)
    assert deferred.shared_start() == plain
    before = train(plain, DIGITS, device="cpu", keep_at={4: path})
    whole = train(deferred, DIGITS, device="cpu")
    joined = train(deferred, DIGITS, device="cpu", start_path=path)
    assert without_times(joined) == without_times(whole)
    assert whole.curve[:2] == before.curve[:2] and whole.curve[2] != before.curve[2]
    from_first = train(replace(plain, beta=0.999), DIGITS, device="cpu")
    assert from_first.curve[0] != whole.curve[0]


def test_a_deferred_run_starts_from_no_state_after_its_weights_begin(tmp_path):
    """Weights that begin after 1.65 epochs: the plain run's state after 2 epochs has trained without them."""
    plain, path = replace(SHORT, epochs=5), tmp_path / "plain.start"
    deferred = replace(plain, beta=0.999, reweight_from=0.33)
    train(plain, DIGITS, device="cpu", keep_at={2: path})
    whole, joined = (train(deferred, DIGITS, device="cpu", start_path=start) for start in (None, path))
    assert without_times(joined) == without_times(whole)
    assert one_run.start_epoch(deferred) == 1
    assert one_run.start_epoch(replace(deferred, epochs=100, reweight_from=0.57)) == 57


def test_a_deferred_run_leaves_a_state_of_another_precision(tmp_path):
    plain, path = replace(SHORT, epochs=5), tmp_path / "plain.start"
    deferred = replace(plain, beta=0.999, reweight_from=0.8)
    train(plain, DIGITS, device="cpu", keep_at={4: path})
    coarse = dict(device="cpu", precision="bfloat16")
    whole, joined = (train(deferred, DIGITS, start_path=start, **coarse) for start in (None, path))
    assert without_times(joined) == without_times(whole) and path.exists()


def test_a_class_without_test_images_is_refused_before_training():
    few = DIGITS[1].subset(DIGITS[1].targets != 3)
    with pytest.raises(ValueError, match="test images of every class"):
        train(SHORT, (DIGITS[0], few), device="cpu")


def test_a_test_loss_that_is_not_finite_ends_the_run_as_diverged(monkeypatch):
    """A record holds finite numbers only."""
    evaluate = module.CifarRun.evaluate
    monkeypatch.setattr(module.CifarRun, "evaluate", lambda r: (evaluate(r)[0] | dict(test_loss=math.inf), None))
    assert run_of().status == "diverged"


def test_switches_of_runs_at_once_stay_as_the_first_set_them(monkeypatch):
    """One thread begins a run while another records its test in TF32: evaluations stay in float32 afterwards."""
    cudnn, cuda = torch.backends.cudnn, torch.device("cuda")
    before = cudnn.allow_tf32
    with cuda_switches(cuda):
        cudnn.allow_tf32 = True  # `captured` records a test in another thread
        with cuda_switches(cuda):
            cudnn.allow_tf32 = False  # and has recorded it
        assert not cudnn.allow_tf32
    assert cudnn.allow_tf32 == before


def test_balanced_softmax_adds_the_logarithm_of_the_counts():
    """Ren et al. 2020: the loss of equal logits is minus the logarithm of the class's share of the training set."""
    run = start_of(loss="balanced_softmax")
    shares = np.array(run.kept.class_counts) / sum(run.kept.class_counts)
    losses = [float(run.loss(torch.zeros(1, 10), torch.tensor([c]))) for c in range(10)]
    assert_allclose(losses, -np.log(shares), rtol=1e-5)
