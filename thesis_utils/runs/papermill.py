"""The `papermill` command, able to do without an output path.

At a terminal papermill refuses `papermill 03_layerwise.ipynb -p ood svhn`: "Missing argument 'OUTPUT_PATH'". Here
it writes `03_layerwise.out.ipynb` beside the notebook. Everything else is papermill's own.
"""

import sys
from pathlib import Path

from papermill.cli import INPUT_PIPED, OUTPUT_PIPED, papermill


def main():
    if not (INPUT_PIPED or OUTPUT_PIPED):
        given = papermill.make_context("papermill", sys.argv[1:], resilient_parsing=True).params
        if given.get("notebook_path") and not given.get("output_path") and not given.get("help_notebook"):
            output = Path(given["notebook_path"]).with_suffix(".out.ipynb")
            print(f"No output path given: writing {output}")
            sys.argv.append(str(output))
    papermill()
