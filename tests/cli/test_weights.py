"""The verb `weights` prints what `describe_weights` returns; the order of the help."""

import re

import pytest

from replication import describe_weights
from replication.__main__ import main
from replication.cli.verbs import parser


def test_weights_prints_one_line_for_each_beta(capsys):
    assert main(["weights", "5000", "500", "50", "--beta", "0.9", "0.999", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(r" +[01]", line)]
    rows = describe_weights([5000, 500, 50], [0.9, 0.999, 1])
    for line, row in zip(lines, rows, strict=True):
        beta, smallest, largest, ratio, mean = map(float, re.findall(r"[\d.]+(?:e[+-]\d+)?", line)[:5])
        assert beta == row.beta and line.endswith(row.remark)
        for shown, value in ((smallest, row.smallest), (largest, row.largest), (ratio, row.weight_ratio)):
            assert shown == float(f"{value:.4g}")
        assert mean == float(f"{row.mean_weight:.4g}")


def test_weights_refuses_an_empty_class(capsys):
    assert main(["weights", "5000", "0"]) == 2
    assert "class_counts must be > 0" in capsys.readouterr().err


def help_of(capsys, *verb: str) -> str:
    with pytest.raises(SystemExit):
        main([*verb, "--help"])
    return capsys.readouterr().out


def test_help_shows_verbs_first_and_examples_last_and_every_example_is_accepted(capsys):
    text = help_of(capsys)
    assert text.index("\nverbs") < text.index("\noptions:") < text.index("\nexamples:")
    verbs = re.findall(r"^    ([\w-]+)", text, re.MULTILINE)
    assert {"weights", "train", "sweep", "report"} <= set(verbs)
    for page in [text, *(help_of(capsys, verb) for verb in verbs)]:
        examples = re.findall(r"^  .*-m replication (.*?)(?:  .*)?$", page.split("\nexamples:")[1], re.MULTILINE)
        assert examples
        for example in examples:
            assert parser().parse_args(example.split()).verb in verbs
