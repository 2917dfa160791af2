"""Files that are either whole or not there."""

import os


def replace(path, write):
    """Calls `write(partial)` with a temporary name beside `path`, then renames: a kill never leaves half a file."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)
