"""What makes a training cheaper? Trainings of about equal cost, recorded in results/budget.csv.

    THESIS_DATA=... python -m experiments.budget        # twenty minutes on two CPU cores

Each row is one training of a width-16 ReLU ResNet-34 on CIFAR-10 by `thesis_utils.training`. A progressive one (a
third of its steps at 16, 24 and 32 pixels) gets more epochs for the same time. The loss stays the thesis' own: label
smoothing, usual in speed runs, would change the very probabilities that are scored.
"""

import sys

import pandas as pd

from thesis_utils import runs
from thesis_utils.training import train

VARIANTS = (
    dict(epochs=2, batch_size=128, learning_rate=2e-3),
    dict(epochs=2, batch_size=64, learning_rate=2e-3),
    dict(epochs=3, batch_size=128, learning_rate=2e-3, progressive=True),
    dict(epochs=3, batch_size=64, learning_rate=2e-3, progressive=True),
)
COLUMNS = ("progressive", "epochs", "batch_size", "learning_rate")


def main(rows):
    path = runs.RECORDED / "budget.csv"
    for row in rows:
        config = runs.configure("compact", activation="relu", **{"progressive": False, **VARIANTS[row]})
        folder = runs.OWN / f".budget-{config.name}"
        history = train(config, folder)[2]
        line = {column: getattr(config, column) for column in COLUMNS}
        line |= {"accuracy": history.calibration_accuracy.iloc[-1].round(4)}
        pd.DataFrame([line]).to_csv(path, mode="a", header=not path.exists(), index=False)


if __name__ == "__main__":
    main([int(row) for row in sys.argv[1:]] or range(len(VARIANTS)))
