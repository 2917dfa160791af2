"""A run's folder, in `runs/` (your own) or `results/` (recorded): what is in it, and how it gets there whole.

    config.json       the configuration         provenance.json      where every number came from
    history.csv       one line per epoch        metrics.csv          every score x data set x reading
    checkpoint.pt     weights, normalisation    scores/NAME.parquet  per-image scores
    scorer.pt         Gaussians, ensemble       baselines.csv        ODIN and ensemble under three protocols

Every file is written to a temporary name and renamed. What is read, changed and written back is changed under a lock,
so that two processes on one run lose nothing. Per-image scores carry the checksum of their images.
"""

import dataclasses
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import filelock
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from thesis_utils import __version__
from thesis_utils.errors import InputError
from thesis_utils.files import replace
from thesis_utils.runs.config import ADDED, Config

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = ROOT / (os.environ.get("THESIS_RUNS") or "runs")  # a relative path counts from the repository
RECORDED = ROOT / "results"
CHECKSUM = b"images_sha256"  # its key in a Parquet file
METRICS, BASELINES = "metrics.csv", "baselines.csv"
DIGITS = {METRICS: "%.6f", BASELINES: "%.6g"}


def code_version():
    """The package's version and, in a git checkout, the commit, with a + where files differ from it."""
    words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        described = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    except OSError:  # no git on this machine
        return f"{__version__} unknown"
    return f"{__version__} {described.stdout.strip() or 'unknown'}"


CODE = code_version()  # now: a commit while a sweep runs does not change the code that it has loaded


@contextmanager
def locked(folder):
    """One process at a time: the others wait, and say so."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"waiting for another process that is at {folder.name}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_json(path, values):
    replace(path, lambda partial: partial.write_text(json.dumps(values, indent=1)))


def read_config(folder):
    """The configuration of a folder; an InputError where it is not one of this version's."""
    try:
        values = json.loads((folder / "config.json").read_text())
        known = {field.name for field in dataclasses.fields(Config)}
        if known - {*ADDED} <= set(values) <= known:
            return Config(**ADDED | values)
    except (OSError, ValueError, TypeError):
        pass
    raise InputError(
        f"{folder} has no config.json that this version of the code can read; it was left as it is: move it away, or "
        "use the version that wrote it"
    )


class Folder:
    """The folder of a finished run."""

    def __init__(self, path):
        self.path = Path(path)
        self.config = read_config(self.path)
        self.history = pd.read_csv(self.path / "history.csv")

    @property
    def recorded(self):
        return self.path.parent == RECORDED

    @property
    def provenance(self):
        return json.loads((self.path / "provenance.json").read_text())

    @property
    def has_weights(self):
        return (self.path / "checkpoint.pt").exists()

    # --- per-image scores -------------------------------------------------------------------------------

    def score_path(self, name):
        return self.path / "scores" / f"{name}.parquet"

    def scored(self):
        """Names of the data sets whose per-image scores are here."""
        return sorted(path.stem for path in (self.path / "scores").glob("*.parquet"))

    def scores(self, name):
        return pd.read_parquet(self.score_path(name))

    def write_scores(self, name, tables, checksum):
        """Streams DataFrames into one Parquet file with the checksum of their images."""
        path = self.score_path(name)
        path.parent.mkdir(exist_ok=True)
        replace(path, lambda partial: write_parquet(tables, partial, checksum))

    def checksum(self, name):
        """Of the images behind the scores of a set; None where it is not known."""
        return (pq.read_schema(self.score_path(name)).metadata or {}).get(CHECKSUM, b"").decode() or None

    # --- tables with rows of several out-distributions ----------------------------------------------------

    @cached_property
    def metrics(self):
        """{data set: its rows of metrics.csv}"""
        return self.rows(METRICS)

    @cached_property
    def baselines(self):
        """{data set: its rows of baselines.csv}"""
        return self.rows(BASELINES)

    def rows(self, file):
        path = self.path / file
        return dict(list(pd.read_csv(path).groupby("ood", sort=False))) if path.exists() else {}

    def put_rows(self, file, **tables):
        """Puts the rows of some sets in place of theirs in `file`; None takes them out."""
        with locked(self.path):
            rows = {name: table for name, table in (self.rows(file) | tables).items() if table is not None}
            if rows:
                table = pd.concat(rows.values(), ignore_index=True)
                replace(self.path / file, lambda p: table.to_csv(p, index=False, float_format=DIGITS[file]))
            else:
                (self.path / file).unlink(missing_ok=True)

    def note_data(self, how, **sets):
        """Adds data sets' sizes and checksums, and the code that used them, to the provenance."""
        with locked(self.path):
            provenance = self.provenance
            for name, images in sets.items():
                entry = {"images": len(images), "sha256": images.checksum, how: CODE}
                provenance["data"][name] = provenance["data"].get(name, {}) | entry
            write_json(self.path / "provenance.json", provenance)


def write_parquet(tables, path, checksum, compression="zstd", level=None):
    writer = None
    try:
        for table in tables:
            table = pa.Table.from_pandas(table, preserve_index=False)
            table = table.replace_schema_metadata({**table.schema.metadata, CHECKSUM: checksum or ""})
            # floats of one column share their high bytes: split into streams of bytes they pack tightly
            writer = writer or pq.ParquetWriter(
                path, table.schema, compression=compression, compression_level=level,
                use_dictionary=False, use_byte_stream_split=True,
            )  # fmt: skip
            writer.write_table(table)
    finally:
        if writer:
            writer.close()
