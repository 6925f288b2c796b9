"""Options that several verbs share."""

import argparse
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from replication.data.image_set import NATURAL

OPTION = {"imbalance_factor": "--imbalance"}
LONGEST_ERROR = 400  # characters: a value of thousands of digits is not repeated in full


def folder(text: str) -> Path:
    """Convert a path from the command line; ~ is expanded even where the shell leaves it, as in --results=~/x.

    Raises:
        argparse.ArgumentTypeError: an empty path, or the home folder of an unknown user.

    >>> folder("results").as_posix()
    'results'
    """
    if not text:  # as from an unset variable: it would mean the current folder
        raise argparse.ArgumentTypeError("it must be a path, got ''")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be a path: {error}") from error


def one_line(message: object) -> str:
    """Return an error as one line of at most LONGEST_ERROR characters.

    >>> one_line("a\\n b")
    'a b'
    """
    text = " ".join(str(message).split())
    half = LONGEST_ERROR // 2
    return text if len(text) <= LONGEST_ERROR else f"{text[:half]} ... {text[-half:]}"


def check_threads(threads: int | None) -> None:
    """Check the number of CPU threads; more than this machine has CPUs can crash torch.

    >>> check_threads(1)
    """
    most = os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= most:
        raise ValueError(f"threads must be a whole number >= 1 and at most the {most} CPUs here, got {threads}")


def check_least(args, **least: int) -> None:
    """Raise ValueError if one of these options was given and is below its lower limit.

    >>> check_least(argparse.Namespace(workers=2, epochs=None), workers=0, epochs=1)
    """
    for name, number in least.items():
        value = getattr(args, name)
        if value is not None and value < number:
            raise ValueError(f"{name} must be a whole number >= {number}, got {value}")


def add_experiment(parser, cls, words: dict, choices: dict, profile=(), required=()) -> None:
    """Add an option for each field of a dataclass that has a help text; one that is not given is absent from `args`.

    Args:
        cls: the dataclass.
        words: the help text of each field.
        choices: the values allowed, by field.
        profile: fields whose default is the profile's.
        required: fields without a default.
    """
    kinds: dict[Any, Any] = {float | None: float, float | str: number_or_natural}
    for field in (f for f in fields(cls) if f.name in words):
        kind = kinds.get(field.type, field.type)
        metavar = "FACTOR" if kind is number_or_natural else kind.__name__.upper()
        shape = dict(choices=choices[field.name]) if field.name in choices else dict(metavar=metavar)
        default = "the profile's" if field.name in profile else field.default
        shown = "" if default is None or field.name in required else f" (default: {default})"
        parser.add_argument(
            OPTION.get(field.name, "--" + field.name.replace("_", "-")),
            dest=field.name,
            type=kind,
            default=argparse.SUPPRESS,
            required=field.name in required,
            help=words[field.name] + shown,
            **shape,
        )


def number_or_natural(text: str) -> float | str:
    """Convert the value of --imbalance.

    >>> number_or_natural("50"), number_or_natural("natural")
    (50.0, 'natural')
    """
    return text if text == NATURAL else float(text)


def chosen(args, cls) -> dict:
    """Return the fields of a dataclass that were given on the command line."""
    return {f.name: getattr(args, f.name) for f in fields(cls) if hasattr(args, f.name)}


class Parser(argparse.ArgumentParser):
    """argparse, but errors take one line, and only one of torchrun's processes prints them."""

    def error(self, message: str) -> NoReturn:
        self.exit(
            2, f"error: {one_line(message)} (see {self.prog} --help)\n" if os.environ.get("RANK", "0") == "0" else None
        )


def add_shared(parser, *names: str, **changes) -> None:
    """Add options of `SHARED` to a verb; `changes` are keywords of argparse that differ for this verb."""
    for name in names:
        parser.add_argument(name, **SHARED[name] | changes)


SHARED: dict[str, dict[str, Any]] = {  # options of several verbs, with their keywords for argparse
    "--results": dict(
        type=folder, default=Path("results"), metavar="DIR", help="folder of the results (default: results)"
    ),
    "--data-root": dict(type=folder, metavar="DIR", help="the folder that holds the data set"),
    "--device": dict(default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)"),
}
