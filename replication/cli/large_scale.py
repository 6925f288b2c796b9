"""The verb `large-scale`: one run of Table 3's protocol, in this process or in those that torchrun started.

Torch is imported only when it runs, so that --help is quick.
"""

import functools
import os

from replication.cli.options import add_experiment, add_shared, check_least, check_threads, chosen
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
    add = parser.add_argument
    add_experiment(parser, LargeScaleExperiment, FIELD_HELP, CHOICES, required=("dataset",))
    add_shared(parser, "--data-root", required=True)
    add_shared(parser, "--results")
    own_gpu = "auto, cpu or cuda; under torchrun each process takes its own GPU (default: auto)"
    add_shared(parser, "--device", help=own_gpu)
    add("--micro-batch", type=int, metavar="N", help="images per forward pass; gradients add up (default: up to 128)")
    add("--workers", type=int, metavar="N", help="processes per GPU that decode images (default: up to 8)")
    add("--threads", type=int, metavar="N", help="CPU threads of each process (default: torch's choice)")
    epochs = "epochs between checkpoints (default: 1)"
    add("--checkpoint-every", type=int, default=1, metavar="EPOCHS", help=epochs)
    skip = "leave out images that cannot be read, and name and count them"
    add("--skip-unreadable", action="store_true", help=skip)


def main(args) -> int:
    """Run one experiment unless it has a record; return 0, 1 if the loss diverged, 3 if another process is running it.

    Raises:
        ValueError, OSError, or the error of an end of memory: in the main process; the others return 2 silently.
    """
    from tqdm import tqdm

    from replication.training.large_scale import processes
    from replication.training.one_run import RunOptions

    try:
        check_least(args, checkpoint_every=1, workers=0, micro_batch=1)
        check_threads(args.threads)
        experiment = LargeScaleExperiment(**chosen(args, LargeScaleExperiment))
        options = RunOptions(args.results, args.data_root, args.device)
        with processes.joined(args.device) as device:
            main_process = processes.is_main_process()
            with tqdm(unit="img", unit_scale=True, smoothing=0.1, disable=not main_process) as bar:
                train = functools.partial(_train, args, device, bar)
                return _lead(experiment, options, train) if main_process else _follow(experiment, options, train)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not end_of_memory(error):
            raise
        processes.tell_torchrun(error)
        if processes.is_main_process():
            raise
        return 2


def _lead(experiment, options, train) -> int:
    """Run as rank 0, with lock and record; tell the others whether there is anything to train."""
    from tqdm import tqdm

    from replication.data.image_lists import list_images
    from replication.training.large_scale import processes
    from replication.training.one_run import check_same_images, run_one

    started = []

    def begin(experiment, options, progress):  # holds the lock, has found no record
        started.append(processes.broadcast("train"))
        return train(experiment, options)

    try:
        check_writable(options.results)
        result, record = run_one(experiment, options, train=begin, record_class=LargeScaleRecord)
        if record and result == "kept" and experiment.dataset == "folder":
            check_same_images(record, list_images("folder", options.data_root)[0].fingerprint)
    except (ValueError, OSError) as error:
        if not started:
            processes.broadcast(error)
        raise
    if not started:
        processes.broadcast("done")
    tqdm.write(f"{result}: {experiment.name}")
    if record is None:
        return 3  # another process is running it
    tqdm.write(f"{_results(record)}; {record_path(experiment, options.runs(experiment))}")
    return 1 if record.status == "diverged" else 0


def _results(record) -> str:
    errors = "diverged" if record.error is None else f"top-1 {record.error:.2f} %, top-5 {record.top5_error:.2f} %"
    return (
        f"{errors}, {record.test_images} validation images, {record.processes} processes, batch {record.global_batch}, "
        f"{record.wall_seconds:.0f} s, {record.images_per_second} images/s, {record.skipped_images} skipped"
    )


def _follow(experiment, options, train) -> int:
    """Train with rank 0, if there is anything to train."""
    from replication.training.large_scale import processes

    word = processes.broadcast(None)  # "train", "done", or an error of rank 0
    if isinstance(word, Exception):
        raise word
    return 1 if word == "train" and train(experiment, options).status == "diverged" else 0


def _train(args, device, bar, experiment, options) -> LargeScaleRecord:
    """List the images and train, in every process."""
    import torch
    from joblib import cpu_count

    from replication.data.image_lists import list_images
    from replication.training.large_scale import processes
    from replication.training.large_scale.train import train
    from replication.training.one_run import checkpoint_path

    if args.threads:
        torch.set_num_threads(args.threads)
    bar.set_description("listing the images")
    files = processes.by_main_process(functools.partial(list_images, experiment.dataset, options.data_root))
    bar.set_description(experiment.name)
    bar.reset(total=experiment.steps(len(files[0])) * experiment.batch_size)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = max(0, min(8, cpu_count() // here - 1)) if args.workers is None else args.workers
    return train(
        experiment,
        files,
        device,
        checkpoint_path=checkpoint_path(experiment, options),
        checkpoint_every=args.checkpoint_every,
        micro_batch=args.micro_batch,
        workers=workers,
        skip_unreadable=args.skip_unreadable,
        progress=bar.update,
    )
