"""From `runs/` into `results/`: of a run's files those that the book needs, small enough to commit."""

import os
import shutil

import numpy as np
import pandas as pd

import thesis_utils as method
from thesis_utils.errors import InputError
from thesis_utils.files import beside
from thesis_utils.runs import run as folders
from thesis_utils.runs.config import GRID, configure

FILES = ("config.json", "provenance.json", "history.csv", folders.METRICS, folders.BASELINES)
TIGHTEST = ("brotli", 11)  # a twelfth tighter than zstd, at a hundredth of its speed
WEIGHTS = ("checkpoint.pt", "scorer.pt", "fitted.detector")


def columns(table, config):
    """The columns that figures need: of every network MSP and what it got right; more of the thesis' networks.

    Of these the final layer's scores and the ensemble, and min of MiSP of every layer. The layers of `compact`, which
    is there to be compared with the wider networks, are recorded image by image for one seed only.
    """
    usual = {key: getattr(config, key) for key in ("dataset", "activation", "entropy_factor", "seed")}
    wanted = ["fc/msp", folders.CORRECT]
    if (config.activation, config.entropy_factor) in GRID and config == configure(config.profile, **usual):
        wanted = [*method.evaluation.FINAL, folders.CORRECT, method.evaluation.ENSEMBLE]
        if config.profile != "compact" or config.seed == 0:
            wanted = [column for column in table if column.endswith("/min_of_misp")] + wanted
    return [column for column in wanted if column in table]


def shorten(column):
    """A float32 column rounded to 16 significant bits (relative error 2^-16), so that it packs into two thirds."""
    bits = column.to_numpy(np.float32).view(np.uint32).astype(np.uint64)
    return pd.Series(((bits + 0x80) & 0xFFFFFF00).astype(np.uint32).view(np.float32))


def put(folder, target):
    """Puts a folder in the place of another one; a kill loses neither, and the next call ends what it interrupted."""
    former = target.with_name(f".{target.name}.former.partial")
    if former.exists() and not target.exists():
        os.replace(former, target)
    shutil.rmtree(former, ignore_errors=True)
    if target.exists():
        os.replace(target, former)
    os.replace(folder, target)
    shutil.rmtree(former, ignore_errors=True)


def record(run, weights=False):
    """Copies a run into `results/`: its metrics, the columns that figures need and, if asked for, its weights.

    With the weights all columns in-distribution, to compare a folder of images with.
    """
    if run.metrics().empty:
        raise InputError(f"{run.config.name} has no scores to record; score it first")
    if weights:
        _ = run.detector  # fitted and kept, where it is not yet
    target = folders.RECORDED / run.config.name
    if target.exists() and not folders.is_of(target, run.config):
        raise InputError(f"{target} belongs to another configuration; it was left as it is, move it away to record")
    partial = beside(target)
    (partial / "scores").mkdir(parents=True)
    for name in FILES + WEIGHTS * weights:
        if (run.folder / name).exists():
            shutil.copy(run.folder / name, partial / name)
    for name in run.scored():
        table = run.scores(name)
        if not (weights and name in (run.config.dataset, "calibration")):
            table = table[columns(table, run.config)]
        path = partial / "scores" / f"{name}.parquet"
        folders.write_parquet([table.apply(shorten)], path, run.checksum(name), *TIGHTEST)
    put(partial, target)
    return folders.opened(target)
