"""Runs: configurations, and the folders of what came of them.

from thesis_utils import runs
run = runs.get(runs.configure("compact", dataset="cifar10", activation="log_softmax", entropy_factor=0.01))
"""

from thesis_utils.runs.config import (
    OUT_DISTRIBUTIONS,
    PROFILES,
    Config,
    command,
    configure,
    fine_tunings,
    near_and_far,
)  # fmt: skip
from thesis_utils.runs.run import Run, by_name, every, find, opened, seeds
from thesis_utils.runs.train import get, train_run, unfinished

__all__ = [
    "OUT_DISTRIBUTIONS", "PROFILES", "Config", "Run", "by_name", "command", "configure", "every", "find",
    "fine_tunings", "get", "near_and_far", "opened", "seeds", "train_run", "unfinished",
]  # fmt: skip
