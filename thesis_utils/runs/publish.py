"""From `runs/` into `results/`: of a run's files those that the book needs, small enough to commit."""

import os
import shutil

import numpy as np
import pandas as pd

import thesis_utils as method
from thesis_utils.errors import InputError
from thesis_utils.files import beside
from thesis_utils.runs import run as folders
from thesis_utils.runs.config import configure

FILES = ("config.json", "provenance.json", "history.csv", folders.METRICS, folders.BASELINES)
TIGHTEST = ("brotli", 11)  # a twelfth tighter than zstd, at a hundredth of its speed
WEIGHTS = ("checkpoint.pt", "scorer.pt", "fitted.detector")
DRAWN = ("fc/msp", "fc/misp", "layer1.2/min_of_misp")  # what chapters draw image by image, of first networks


def columns(table, config, name):
    """The columns to record of a set's per-image scores: in-distribution which images were right; of the first ReLU and
    log-softmax networks on CIFAR-10 of the book's profile those that are drawn image by image."""
    first = [configure(dataset="cifar10", activation=activation) for activation in ("relu", "log_softmax")]
    wanted = [folders.CORRECT] if name == config.dataset else []
    wanted += DRAWN if config in first else []
    return [column for column in wanted if column in table]


def covariances(run):
    """The covariance of the AUROCs of the scores that are ever compared: a DataFrame, set by set (`ood`)."""
    known, parts = run.scores(run.config.dataset), []
    for ood in [*run.rows(folders.METRICS)]:
        if ood in run.scored():
            parts.append(method.evaluation.covariance(known, run.scores(ood)).reset_index().assign(ood=ood))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["ood"])


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
            table = table[columns(table, run.config, name)]
        if table.columns.empty:
            continue
        path = partial / "scores" / f"{name}.parquet"
        folders.write_parquet([table.apply(shorten)], path, run.checksum(name), *TIGHTEST)
    covariances(run).to_csv(partial / "covariance.csv", index=False, float_format="%.4g")
    put(partial, target)
    return folders.opened(target)
