"""Options that several verbs share."""

import argparse
import os
from dataclasses import fields
from pathlib import Path

from replication.data.image_set import NATURAL

OPTION = {"imbalance_factor": "--imbalance"}


def add_experiment(parser, cls, words: dict, choices: dict, profile=(), required=()) -> None:
    """An option for each field of a dataclass that `words` describe; where it is left out, `args` lacks it.

    choices: the values allowed, by field.  profile: fields whose default is the profile's.  required: no default.
    """
    for field in (f for f in fields(cls) if f.name in words):
        kind = {float | None: float, float | str | None: number_or_natural}.get(field.type, field.type)
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
    """The value of --imbalance.

    >>> number_or_natural("50"), number_or_natural("natural")
    (50.0, 'natural')
    """
    return text if text == NATURAL else float(text)


def chosen(args, cls) -> dict:
    """The fields of a dataclass that the command line gave."""
    return {f.name: getattr(args, f.name) for f in fields(cls) if hasattr(args, f.name)}


class _Parser(argparse.ArgumentParser):
    """argparse, with errors on one line, of one process where torchrun started many."""

    def error(self, message: str) -> None:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n" if os.environ.get("RANK", "0") == "0" else None)


def _add_places(parser, data: bool = True, device: bool = True) -> None:
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="where results go (default: results)"
    )
    if data:
        parser.add_argument("--data-root", type=Path, metavar="DIR", help="the folder that holds the data set")
    if device:
        parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
