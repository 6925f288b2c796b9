"""The verb `large-scale`: one run of Table 3's protocol, in this process or in those that torchrun started.

Torch is imported only when it runs, so that --help is quick.
"""

import functools
import os
from collections import Counter
from pathlib import Path

from replication.cli.options import add_experiment, check_threads, chosen, folder
from replication.experiments.experiment import LOSSES
from replication.experiments.large_scale import DATASETS, DEPTHS, LargeScaleExperiment, LargeScaleRecord
from replication.experiments.records import record_path
from replication.files import check_writable
from replication.training.memory import end_of_memory

FIELD_HELP = {
    "dataset": "data set",
    "depth": "layers of the network",
    "loss": "loss function",
    "gamma": "focal loss only: focusing parameter, >= 0 (the paper: 0.5)",
    "beta": "class-balanced term in [0, 1], 0 for the plain loss (the paper: 0.999)",
    "size": "side of the images in pixels, a multiple of 32 (the paper also: 320)",
    "seed": "decides initial weights, batch order and augmentation",
    "epochs": "length of the run; the schedule scales with it",
    "batch_size": "images per step, over all processes",
    "base_learning_rate": "learning rate per 256 images (default: the paper's for this data set and loss)",
    "weight_decay": "weight decay on convolutions and dense weights",
}
CHOICES = {"dataset": DATASETS, "depth": DEPTHS, "loss": LOSSES}


def add_arguments(parser) -> None:
    """Add the options of the verb to an argparse parser."""
    add_experiment(parser, LargeScaleExperiment, FIELD_HELP, CHOICES, required=("dataset",))
    parser.add_argument(
        "--data-root", type=folder, required=True, metavar="DIR", help="the folder that holds the data set"
    )
    parser.add_argument(
        "--results", type=folder, default=Path("results"), metavar="DIR", help="where results go (default: results)"
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu or cuda; under torchrun each process takes its own GPU (default: auto)",
    )
    parser.add_argument(
        "--micro-batch", type=int, metavar="N", help="images per forward pass; gradients add up (default: up to 128)"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes per GPU that decode images (default: up to 8)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of each process (default: torch's choice)"
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=1, metavar="EPOCHS", help="epochs between checkpoints (default: 1)"
    )
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out images that cannot be read, and name and count them"
    )


def main(args) -> int:
    """Run one experiment unless it has a record; return 0, 1 if the loss diverged, 3 if another process is running it.

    Raises:
        ValueError, OSError, or the error of an end of memory: in the main process; the others return 2 silently.
    """
    from replication.training.large_scale import processes

    try:
        experiment = _experiment(args)
        with processes.joined(args.device) as device:
            return _lead(experiment, args, device) if processes.is_main_process() else _follow(experiment, args, device)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not end_of_memory(error):
            raise
        processes.tell_torchrun(error)
        if processes.is_main_process():
            raise
        return 2


def _experiment(args) -> LargeScaleExperiment:
    for name, least in (("checkpoint_every", 1), ("workers", 0), ("micro_batch", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"{name} must be a whole number >= {least}, got {value}")
    check_threads(args.threads, os.cpu_count())
    return LargeScaleExperiment(**chosen(args, LargeScaleExperiment))


def _lead(experiment, args, device) -> int:
    """Run as rank 0: lock, progress bar, record; tell the others whether there is anything to train."""
    from tqdm import tqdm

    from replication.data.image_lists import list_images
    from replication.training.large_scale import processes
    from replication.training.one_run import RunOptions, check_same_images, run_one
    from replication.training.sweep.progress import report_run

    options, started = RunOptions(args.results, args.data_root, args.device), []
    outcomes: Counter[str] = Counter()

    def begin(experiment, options, progress):  # holds the lock, has found no record
        started.append(processes.broadcast("train"))
        return _work(experiment, args, device, bar)

    with tqdm(unit="img", unit_scale=True, smoothing=0.1) as bar:
        try:
            check_writable(args.results)
            result, record = run_one(experiment, options, train=begin, record_class=LargeScaleRecord)
            if record and result == "kept" and experiment.dataset == "folder":
                check_same_images(record, list_images("folder", args.data_root)[0].fingerprint)
        except (ValueError, OSError) as error:
            if not started:
                processes.broadcast(error)
            raise
        if not started:
            processes.broadcast("done")
        report_run(bar, outcomes, 1, experiment, result, record)
    if record is None:
        return 3  # another process is running it
    _say(record, record_path(experiment, options.runs(experiment)))
    return 1 if record.status == "diverged" else 0


def _say(record, path: Path) -> None:
    words = f"top-1 {record.error:.2f} %, top-5 {record.top5_error:.2f} %, " if record.error is not None else ""
    print(
        f"{record.status}: {words}{record.test_images} validation images, {record.processes} processes, "
        f"batch {record.global_batch}, {record.images_per_second} images/s, {record.skipped_images} skipped; {path}"
    )


def _follow(experiment, args, device) -> int:
    from replication.training.large_scale import processes

    word = processes.broadcast(None)  # "train", "done", or an error of rank 0
    if isinstance(word, Exception):
        raise word
    if word == "done":
        return 0
    record = _work(experiment, args, device, None)
    return 1 if record.status == "diverged" else 0


def _work(experiment, args, device, bar) -> LargeScaleRecord:
    """List the images and train, in every process."""
    import torch
    from joblib import cpu_count

    from replication.data.image_lists import list_images
    from replication.training.large_scale import processes
    from replication.training.large_scale.train import train
    from replication.training.one_run import RunOptions, checkpoint_path

    if args.threads:
        torch.set_num_threads(args.threads)
    if bar is not None:
        bar.set_description("listing the images")
    files = processes.by_main_process(functools.partial(list_images, experiment.dataset, args.data_root))
    if bar is not None:
        bar.set_description(experiment.name)
        bar.reset(total=experiment.steps(len(files[0])) * experiment.batch_size)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = min(8, cpu_count() // here - 1) if args.workers is None else args.workers
    return train(
        experiment,
        files,
        device,
        checkpoint_path=checkpoint_path(experiment, RunOptions(args.results)),
        checkpoint_every=args.checkpoint_every,
        micro_batch=args.micro_batch,
        workers=max(workers, 0),
        skip_unreadable=args.skip_unreadable,
        progress=None if bar is None else bar.update,
    )
