"""The large-scale protocol, in one process here and in two (gloo) under torchrun: large_scale_processes.py."""

import contextlib
import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from filelock import FileLock
from large_scale_processes import SMALL, command, frozen_gradients, options, small_networks, torchrun
from PIL import Image
from sweep_processes import exit_code, start
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from replication import ClassBalancedLoss, class_balanced_weights
from replication.data.image_lists import list_images
from replication.experiments.large_scale import LargeScaleExperiment, LargeScaleRecord
from replication.experiments.records import read_record
from replication.training.large_scale import processes
from replication.training.large_scale import train as large_scale
from replication.training.large_scale.train import part_of_batch

TRAIN, VAL = (12, 6, 3), (3, 2, 2)  # images a class: 21 and 7


def _make_tree(root):
    rng = np.random.default_rng(0)
    for split, counts in (("train", TRAIN), ("val", VAL)):
        for k, count in enumerate(counts):
            (root / split / f"c{k}").mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 60, (*rng.integers(30, 70, 2), 3), dtype=np.uint8)
                pixels[..., k] += 190
                Image.fromarray(pixels).save(root / split / f"c{k}" / f"{i}.jpg")
    return root


@pytest.fixture(scope="module", autouse=True)
def small():
    with small_networks():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large_scale")
    _make_tree(folder / "tree")
    return folder


@pytest.fixture(scope="module")
def two(folder):
    """What two processes found, and what they printed; one start for all tests, since it takes longest."""
    process = start(torchrun, folder)
    code, printed = exit_code(process, 600), (folder / "printed").read_text()
    assert code == 0, printed[-9000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)], printed


def _record(results) -> LargeScaleRecord:
    (path,) = (results / "large-scale" / "runs").glob("*.json")
    return read_record(path, LargeScaleRecord)


@pytest.fixture(scope="module")
def alone(folder):
    """The same run in this process alone."""
    assert command(options(folder / "tree", folder / "alone")) == 0
    return _record(folder / "alone")


def test_gradients_are_those_of_the_public_loss_on_the_whole_batch(folder):
    """One batch of 8: mean loss by ClassBalancedLoss, one backward pass, no accumulation, no engine."""
    loss, gradients, run = frozen_gradients(folder / "tree", micro_batch=4)
    keys = next(large_scale.batch_keys(run.n, 8, range(1), 0))
    images = large_scale.KeyedImages(run.files, large_scale.train_transform(32), 32)
    pixels, targets = torch.stack([images[key][0] for key in keys]), torch.tensor([images[key][1] for key in keys])
    run.model.zero_grad()
    expected = ClassBalancedLoss(TRAIN, 0.9, "focal", 0.5).float()(run.model(run.normalise(pixels)), targets)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in run.model.named_parameters():
        assert torch.allclose(
            gradients[name], parameter.grad, rtol=1e-3, atol=1e-6 * max(1, parameter.grad.abs().max())
        ), name


def test_two_processes_give_the_loss_and_gradients_of_one(folder, two):
    loss, gradients, _ = frozen_gradients(folder / "tree", micro_batch=8)
    assert [found["loss"] for found in two[0]] == pytest.approx([loss, loss], rel=1e-5)
    theirs = torch.load(folder / "gradients.pt")
    assert max(g.abs().max() for g in gradients.values()) > 0.01
    for name, gradient in gradients.items():
        assert torch.allclose(theirs[name], gradient, rtol=1e-3, atol=1e-5 * max(1, gradient.abs().max())), name


def test_class_weights_and_counts_are_those_of_a_hand_count(folder):
    run = frozen_gradients(folder / "tree")[2]
    hand = [len(list((folder / "tree" / "train" / name).iterdir())) for name in ("c0", "c1", "c2")]
    assert run.files.class_counts == hand == list(TRAIN)
    raw = np.array([(1 - 0.9) / (1 - 0.9**n) for n in hand])
    assert run.loss.weight.tolist() == pytest.approx(3 * raw / raw.sum(), rel=1e-6)
    assert run.loss.weight.tolist() == pytest.approx(class_balanced_weights(hand, 0.9), rel=1e-6)


def test_two_processes_count_seven_images_once_each(two):
    for found in two[0]:
        wrong1, wrong5, images = found["counts"]
        assert images == list(VAL)  # 4 images in one process and 3 in the other
        assert wrong5 == [0, 0, 0]  # three classes
        assert found["errors"]["error"] == pytest.approx(100 * sum(wrong1) / 7)


def test_record_of_two_processes(folder, two):
    assert [found["whole"] for found in two[0]] == [0, 0]
    record = _record(folder / "whole")
    assert (record.processes, record.global_batch, record.micro_batch, record.test_images) == (2, 8, 4, 7)
    assert record.class_counts == list(TRAIN) and record.skipped_images == 0
    assert [point["epoch"] for point in record.curve] == [1, 2] and record.error == record.curve[-1]["error"]
    assert record.curve[-1]["learning_rate"] == pytest.approx(
        0.2 * 8 / 256 * 0.001
    )  # the last step lies after 80 of 90
    assert not list((folder / "whole").rglob("*.pt"))  # the checkpoint went when the record was there


@pytest.mark.slow
def test_torchrun_trains_the_whole_network_by_the_guides_command(folder):
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "replication"]
    words += ["large-scale", *options(folder / "tree", folder / "guide")]
    answer = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert answer.returncode == 0, answer.stderr[-9000:]
    assert _record(folder / "guide").processes == 2


def test_what_has_a_record_is_not_trained_again(two):
    assert [found["again"] for found in two[0]] == [0, 0]
    assert two[1].count("kept: folder_resnet18") == 1


def test_wrong_input_is_one_error_and_exit_code_2_in_all_processes(two):
    wrong_data = ("unreadable", "classes", "more", "nowhere", "unwritable", "full_disk")
    for case in (*wrong_data, "odd_batch", "large_batch", "micro", "size"):
        assert [found[case] for found in two[0]] == [2, 2], case
    said = [line for line in two[1].splitlines() if line.startswith("error: ")]
    for words in (
        "3.jpg cannot be read as an image",
        "they differ in c1, other",
        "data_root must hold the training images that folder_resnet18",
        "batch_size must be a multiple of the 2 processes, got 9",
        "batch_size must be at most the 21 training images, got 64",
        "micro_batch must divide a process's 4 images of a batch, got 3",
        "size must be a multiple of 32",
        "data_root must be a folder that exists",
        "no space left on device",
    ):
        assert sum(words in line for line in said) == 1, words
    assert len(said) == 10


def test_torchruns_closing_report_ends_with_the_error(folder, tmp_path, monkeypatch):
    """Read and shown by torch itself: instead of "To enable traceback see ..." the user finds what is wrong."""
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    assert command(options(folder / "tree", tmp_path / "r", "--batch-size=64")) == 2
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=2, error_file=str(tmp_path / "error.json"))
    report = str(ChildFailedError("replication", {0: failure}))
    assert "error: batch_size must be at most the 21 training images, got 64" in report
    assert "To enable traceback" not in report


def test_a_wrong_option_is_one_error_of_the_leading_process(monkeypatch, capsys):
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit, match="2"):
            command(["--depth=17"])
    assert capsys.readouterr().err.count("error: argument --depth: invalid choice: 17") == 1


def test_unreadable_images_are_skipped_on_demand_and_counted(folder, two):
    assert [found["skipped"] for found in two[0]] == [0, 0]
    record = _record(folder / "skipped")
    assert (record.skipped_images, record.test_images) == (2, 6)
    assert two[1].count("skipped: ") == 2 and "c0/3.jpg" in two[1] and "c1/0.jpg" in two[1]


def test_killed_process_group_resumes_with_torchruns_restart(folder, two):
    """SIGKILL to process 1 in the second epoch; the record equals the uninterrupted run's, bit for bit."""
    assert [(found["killed"], found["restarts"]) for found in two[0]] == [(0, "1")] * 2
    killed, whole = _record(folder / "killed"), _record(folder / "whole")
    assert killed.curve == whole.curve and killed.error_per_class == whole.error_per_class


def test_interrupted_alone_resumes_to_the_same_record(folder, alone, monkeypatch):
    gradients = large_scale._LargeRun.gradients

    def interrupted(self, batches):
        if self.step == 4:
            raise KeyboardInterrupt
        return gradients(self, batches)

    monkeypatch.setattr(large_scale._LargeRun, "gradients", interrupted)
    assert command(options(folder / "tree", folder / "interrupted")) == 130
    assert len(list((folder / "interrupted" / "large-scale" / "checkpoints").glob("*.pt"))) == 1
    monkeypatch.setattr(large_scale._LargeRun, "gradients", gradients)
    assert command(options(folder / "tree", folder / "interrupted")) == 0
    assert _record(folder / "interrupted").curve == alone.curve


def test_locked_run_is_left_to_the_other(folder, capsys):
    name = LargeScaleExperiment(**SMALL).name
    runs = folder / "locked" / "large-scale" / "runs"
    runs.mkdir(parents=True)
    with FileLock(runs / f".{name}.lock"):
        assert command(options(folder / "tree", folder / "locked")) == 3
    assert not list(runs.glob("*.json"))
    assert f"elsewhere: {name}" in "".join(capsys.readouterr())


def test_loss_that_is_not_finite_ends_as_diverged(folder, monkeypatch):
    """Exit code 1, and again where the record is there already: torchrun's restart does not make it a success."""
    results, trained = folder / "diverged", []

    def switches(device):
        trained.append(device.type)
        return contextlib.nullcontext()

    monkeypatch.setattr(large_scale, "cuda_switches", switches)
    for _ in range(2):
        assert command(options(folder / "tree", results, "--base-learning-rate=1e30", "--epochs=3")) == 1
        record = _record(results)
        assert record.status == "diverged" and record.error is None and record.top5_error is None
    assert trained == ["cpu"]  # once, and under the switches that a run on CUDA wants


def test_micro_batches():
    """The authors' 1024 images lay on 8 cores: 128 see one batch norm, whatever the number of processes allows."""
    assert [part_of_batch(1024, p) for p in (1, 2, 8, 16)] == [(1024, 128), (512, 128), (128, 128), (64, 64)]
    assert part_of_batch(1024, 8, 32) == (128, 32)
    for wrong in (0, 3, 129):
        with pytest.raises(ValueError, match=f"micro_batch must divide a process's 128 images of a batch, got {wrong}"):
            part_of_batch(1024, 8, wrong)
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 7 processes, got 1024"):
        part_of_batch(1024, 7)


@pytest.mark.parametrize(
    "option, value", [("checkpoint-every", 0), ("threads", 0), ("workers", -1), ("micro-batch", 0)]
)
def test_options_out_of_range(folder, capsys, option, value):
    assert command(options(folder / "tree", folder / "r", f"--{option}={value}")) == 2
    assert f"{option.replace('-', '_')} must be a whole number >= " in capsys.readouterr().err


def test_running_statistics_are_of_each_process_s_own_images(two):
    """They are averaged for the evaluation; copied from the leader at each step, they would know its images alone."""
    assert [found["statistics"] < 1e-5 for found in two[0]] == [True, True]


def test_logits_that_are_not_finite_are_no_error_of_90_percent(folder):
    files = list_images("folder", folder / "tree")
    run = large_scale._LargeRun(LargeScaleExperiment(**SMALL), files, torch.device("cpu"), None, 0, False)
    assert math.isfinite(run.evaluate()[0]["error"])
    with torch.no_grad():
        next(run.model.parameters()).fill_(math.nan)
    errors, counts = run.evaluate()
    assert math.isnan(errors["error"]) and math.isnan(errors["top5_error"]) and counts is None


def test_training_is_in_bfloat16_where_asked_evaluation_never(folder, monkeypatch):
    monkeypatch.setattr(large_scale, "pick_precision", lambda *_: "bfloat16 autocast")
    files = list_images("folder", folder / "tree")
    run = large_scale._LargeRun(LargeScaleExperiment(**SMALL), files, torch.device("cpu"), None, 0, False)
    seen = []
    run.model.fc.register_forward_hook(lambda _, __, logits: seen.append(logits.dtype))
    run.advance(1, None)
    trained = set(seen)
    seen.clear()
    run.evaluate()
    assert (trained, set(seen)) == ({torch.bfloat16}, {torch.float32})


def test_validation_images_must_be_readable(folder, tmp_path):
    _make_tree(tmp_path / "tree")
    for path in (tmp_path / "tree" / "val").rglob("*.jpg"):
        path.write_bytes(b"")
    files = list_images("folder", tmp_path / "tree")
    run = large_scale._LargeRun(LargeScaleExperiment(**SMALL), files, torch.device("cpu"), None, 0, True)
    with pytest.raises(ValueError, match="must hold validation images that can be read"):
        run.evaluate()


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setattr(processes, "pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with (
        pytest.raises(ValueError, match="nproc-per-node must be at most the 4 GPUs of this node, got 8"),
        processes.joined("auto"),
    ):
        pass


def test_torchvision_worker_processes_give_the_same_images(folder):
    """Decoding in two worker processes or in this one: the same batches."""
    batches = []
    for workers in (0, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = large_scale._LargeRun(
                LargeScaleExperiment(**SMALL),
                list_images("folder", folder / "tree"),
                torch.device("cpu"),
                None,
                workers,
                False,
            )
        keys = large_scale.batch_keys(run.n, 8, range(2), 0)
        batches.append([images for images, _, _ in run.loader(run.files, large_scale.train_transform(32), keys)])
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))
