"""The README's figure and table, those of the book's first page: `make picture`."""

import base64
import re

from thesis_utils.book import spectra, verdict
from thesis_utils.files import replace
from thesis_utils.runs.run import ROOT

MARKS = re.compile("(<!-- front page: .*? -->\n).*(<!-- end of the front page -->)", re.DOTALL)


def front_page():
    """What stands between the README's marks: the table of the key differences, and the figure's link."""
    table = verdict.front_table(verdict.front()).reset_index()
    rows = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    lines = ["| " + " | ".join(str(one).replace("\n", " ") for one in row) + " |" for row in rows]
    figure = (
        "![AUROC of the first layer, of the final layer and of a sum of squares without a network](results/front.svg)"
    )
    return "\n".join([*lines, "", verdict.CAPTION, "", figure, ""])


def write():
    shown = spectra.no_network_figure().data
    svg = base64.b64decode(re.search(r"svg\+xml;base64,([^\"]+)", shown)[1])
    replace(ROOT / "results" / "front.svg", lambda partial: partial.write_bytes(svg))
    readme = ROOT / "README.md"
    text = MARKS.sub(lambda found: found[1] + front_page() + found[2], readme.read_text())
    replace(readme, lambda partial: partial.write_text(text))


if __name__ == "__main__":
    write()
    print("README.md and results/front.svg are those of the recorded runs.")
