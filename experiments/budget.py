"""What makes a training cheaper? Trainings of about equal cost, recorded in results/budget.csv.

    THESIS_DATA=... python -m experiments.budget        # twenty minutes on two CPU cores

Each row is one training of a width-16 ReLU ResNet-34 on CIFAR-10 by `thesis_utils.training`, with AdamW. A progressive
one (a third of its steps at 16, 24 and 32 pixels) gets more epochs for the same time. The loss stays the thesis' own:
label smoothing, usual in speed runs, would change the very probabilities that are scored.
"""

from experiments.recording import record, recorded
from thesis_utils import runs

KEYS = ["sizes", "epochs", "batch_size", "learning_rate"]
VARIANTS = (("32", 2, 128, 2e-3), ("32", 2, 64, 2e-3), ("16-24-32", 3, 128, 2e-3), ("16-24-32", 3, 64, 2e-3))


if __name__ == "__main__":
    for variant in VARIANTS:
        key = dict(zip(KEYS, variant))
        if not recorded("budget", key):
            config = runs.configure("compact", activation="relu", optimizer="adamw", weight_decay=0.05, **key)
            last = runs.get(config).history.iloc[-1]
            record("budget", KEYS, [key | {"accuracy": last.calibration_accuracy}])
