"""The verb `large-scale`: one run of Table 3's protocol, in this process or in those that torchrun started.

Torch is imported only when it runs, so that --help is quick.
"""

import contextlib
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
    add_shared(
        parser, "--device", help="auto, cpu or cuda; under torchrun each process takes its own GPU (default: auto)"
    )
    add("--micro-batch", type=int, metavar="N", help="images per forward pass; gradients add up (default: up to 128)")
    add("--workers", type=int, metavar="N", help="processes per GPU that decode images (default: up to 8)")
    add("--threads", type=int, metavar="N", help="CPU threads of each process (default: torch's choice)")
    add("--checkpoint-every", type=int, default=1, metavar="EPOCHS", help="epochs between checkpoints (default: 1)")
    add("--skip-unreadable", action="store_true", help="leave out images that cannot be read, and name and count them")


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
            with tqdm(unit="img", unit_scale=True, smoothing=0.1, disable=not processes.is_main_process()) as bar:
                outcome, record = _run(experiment, options, functools.partial(_train, args, device, bar))
            if processes.is_main_process():
                print(f"{outcome}: {experiment.name}")
                if record:
                    print(_results(record, options))
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not end_of_memory(error):
            raise
        processes.tell_torchrun(error)
        if processes.is_main_process():
            raise
        return 2
    return 3 if record is None else int(record.status == "diverged")


def _run(experiment, options, train) -> tuple[str, LargeScaleRecord | None]:
    """Run an experiment in all processes, of which the main one holds the lock and reads and writes the record.

    Returns:
        ("kept" | "finished" | "diverged" | "elsewhere", record), the same in all processes.
    """
    from filelock import Timeout

    from replication.data.image_lists import list_images
    from replication.training.large_scale import processes
    from replication.training.one_run import check_same_images, existing_record, lock, write_record

    with contextlib.ExitStack() as held:

        def begin():
            check_writable(options.results)
            held.enter_context(lock(experiment, options))
            record = existing_record(experiment, options, LargeScaleRecord)
            if record and experiment.dataset == "folder":
                check_same_images(record, list_images("folder", options.data_root)[0].fingerprint)
            return record

        try:
            record = processes.by_main_process(begin)
        except Timeout:
            return "elsewhere", None
        if record:
            return "kept", record
        record = train(experiment, options)
        return processes.by_main_process(lambda: write_record(record, options))


def _results(record, options) -> str:
    errors = "diverged" if record.error is None else f"top-1 {record.error:.2f} %, top-5 {record.top5_error:.2f} %"
    return (
        f"{errors}, {record.test_images} validation images, {record.processes} processes, batch {record.global_batch}, "
        f"{record.wall_seconds:.0f} s, {record.images_per_second} images/s, {record.skipped_images} skipped; "
        f"{record_path(record.experiment, options.runs(record.experiment))}"
    )


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
