"""The generated parts of README.md, taken from results/README.md: first answers, first figure, table on beta."""

import re
from pathlib import Path

from replication.files import write_text

ANSWERS = 5  # rows on the first screen of README.md; results/README.md has them all
COLUMNS = {"answers": "answer", "betas": "worst rise"}  # marker: a column that only this table of the page has


def write_readme(results: Path) -> list[Path]:
    """Fill the marked parts of the README.md beside the results; return its path if there is one with such parts."""
    path = results.parent / "README.md"
    page = results / "README.md"
    if not path.is_file() or not page.is_file() or "<!-- answers" not in (text := path.read_text(encoding="utf-8")):
        return []
    return [write_text(path, filled(text, page.read_text(encoding="utf-8"), f"{results.name}/"))]


def filled(text: str, page: str, prefix: str) -> str:
    """Return `text` with each marked part taken from `page`, and its links made relative to the folder above.

    Raises:
        ValueError: the page has no such table.

    >>> page = "| question | answer |\\n| --- | --- |\\n| [a](x.md) | yes |\\n\\n![c](d.png)\\n"
    >>> print(filled("<!-- answers -->\\n<!-- /answers -->", page, "results/"))
    <!-- answers -->
    | question | answer |
    | --- | --- |
    | [a](results/x.md) | yes |
    <BLANKLINE>
    ![c](results/d.png)
    <!-- /answers -->
    """
    for name, column in COLUMNS.items():
        before, marker, rest = text.partition(f"<!-- {name} -->\n")
        if not marker:
            continue
        table = re.search(rf"^\|.*\| {column} \|.*\n(\|.*\n)*", page, re.MULTILINE)
        if table is None:
            raise ValueError(f"page must hold a table with the column {column!r}")
        part = table[0]
        if name == "answers":
            image = re.search(r"^!\[.*\]\(.*\)\n", page, re.MULTILINE)
            part = "".join(part.splitlines(keepends=True)[: 2 + ANSWERS]) + (f"\n{image[0]}" if image else "")
        part = re.sub(r"\]\((?!\w+:)", f"]({prefix}", part)
        text = f"{before}{marker}{part}{rest[rest.index(f'<!-- /{name} -->') :]}"
    return text
