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
from thesis_utils.runs.finding import by_name, epochs, everything, find, get, opened, seeds, train_run, unfinished
from thesis_utils.runs.run import Run

__all__ = [
    "OUT_DISTRIBUTIONS", "PROFILES", "Config", "Run", "by_name", "command", "configure", "epochs", "everything", "find",
    "fine_tunings", "get", "near_and_far", "opened", "seeds", "train_run", "unfinished",
]  # fmt: skip
