"""The verb `check-gpu`: check that a GPU computes correctly, and measure its speed."""

import json
import os

from replication.cli.options import add_shared, folder
from replication.files import check_writable, write_text


def add_arguments(parser) -> None:
    """Add the options of the verb to an argparse parser."""
    add = parser.add_argument
    add_shared(parser, "--device", help="auto, cuda, cuda:1, ..., or cpu to rehearse (default: auto)")
    add(
        "--seconds",
        type=float,
        default=120.0,
        metavar="S",
        help="do not start a measurement that would end much later (default: 120)",
    )
    add("--no-compile", dest="compile", action="store_false", help="do not try torch.compile")
    add("--compare", action="store_true", help="also time the straightforward loop and the limits of the device")
    add("--out", type=folder, metavar="FILE", help="also write the results to this JSON file")


def check(args) -> int:
    """Print the checks, the measurements and the options to use with `sweep`; return 1 if a check failed, else 0."""
    if args.out:
        if args.out.is_dir():
            raise ValueError(f"out must name a file, got the folder {str(args.out)!r}")
        check_writable(args.out.parent)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before torch makes a handle: deterministic cuBLAS
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # as many hardware queues as streams
    from replication.training.gpu_check import check_gpu

    found = check_gpu(args.device, args.seconds, args.compile, args.compare, say=lambda line: print(line, flush=True))
    if args.out:
        write_text(args.out, json.dumps(found, indent=1))
    failed = [name for name, passed in found["checks"].items() if not passed]
    if failed:
        print(f"failed: {', '.join(failed)}")
    else:
        print(f"{len(found['checks'])} checks passed in {found['seconds']:.0f} s on {found['device']}")
    if found["sweep_options"] is None:
        print("train nothing here: what this device computes is not what the CPU does, or is not repeated")
    else:
        print(f"train with: sweep ... {' '.join(found['sweep_options'])}")
    return 1 if failed else 0
