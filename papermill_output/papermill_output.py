"""The `papermill` command, able to do without an output path.

At a terminal papermill refuses `papermill 03_layerwise.ipynb -p ood svhn`: "Missing argument 'OUTPUT_PATH'". Here
it writes `03_layerwise.out.ipynb` beside the notebook. Everything else is papermill's own.

papermill loads this module when it is imported, before its command is there: so it is the command's parsing that is
changed. (It counts this module among its engines, under a name that nobody asks for.)
"""

from pathlib import Path

import click

make_context = click.Command.make_context


def with_output(command, name, args, *rest, **extra):
    """click's parsing of a command line, where papermill's lacks an output path with one added to it."""
    if command.name == "papermill" and not extra.get("resilient_parsing"):
        from papermill.cli import INPUT_PIPED, OUTPUT_PIPED

        given = make_context(command, name, list(args), resilient_parsing=True).params
        missing = given.get("notebook_path") and not given.get("output_path") and not given.get("help_notebook")
        if missing and not (INPUT_PIPED or OUTPUT_PIPED):
            output = Path(given["notebook_path"]).with_suffix(".out.ipynb")
            print(f"No output path given: writing {output}")
            args = [*args, str(output)]
    return make_context(command, name, args, *rest, **extra)


click.Command.make_context = with_output
