"""Files that are either whole or not there."""

import os
from uuid import uuid4

from thesis_utils.errors import InputError


def beside(path):
    """A temporary name beside `path` that no other process uses; git ignores it."""
    return path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")


def replace(path, write):
    """Calls `write(partial)` with a temporary name beside `path`, then renames: a kill never leaves half a file."""
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    partial = beside(path)
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
