"""Which recipe is best for its cost? Trainings of about equal cost, recorded in results/search.csv.

    THESIS_DATA=... python -m experiments.search        # two hours on two CPU cores

Each row is one training of a width-16 ResNet-34 on CIFAR-10 by `thesis_utils.training`, one seed, at the cost of about
six epochs of full-size images (by pixels); accuracy on the calibration images. The loss stays the thesis' own: label
smoothing or mixed images, usual in speed runs, would change the very probabilities that are scored.
"""

from experiments.recording import record
from thesis_utils import runs
from thesis_utils.runs import store
from thesis_utils.training import train

COLUMNS = (
    "activation", "optimizer", "learning_rate", "weight_decay", "decay_norms", "batch_size", "sizes", "epochs",
)  # fmt: skip
VARIANTS = (
    ("log_softmax", "sgd", 0.1, 5e-4, True, 64, "16-24-32", 10),
    ("relu", "sgd", 0.1, 5e-4, True, 64, "16-24-32", 10),
    ("log_softmax", "sgd", 0.1, 5e-4, True, 64, "16-24-32-32", 9),
    ("log_softmax", "sgd", 0.1, 5e-4, False, 64, "16-24-32", 10),
    ("log_softmax", "adamw", 2e-3, 0.05, True, 64, "16-24-32", 10),
    ("relu", "adamw", 2e-3, 0.05, True, 64, "16-24-32", 10),
    ("log_softmax", "sgd", 0.1, 5e-4, True, 128, "16-24-32", 10),
    ("log_softmax", "sgd", 0.2, 5e-4, True, 128, "16-24-32", 10),
)


def measure(*variant):
    config = runs.configure("compact", **dict(zip(COLUMNS, variant)))
    recorded = runs.find(config)
    history = recorded.history if recorded else train(config, store.OWN / f".search-{config.name}")[2]
    return (history.calibration_accuracy.iloc[-1],)


if __name__ == "__main__":
    record("search.csv", (*COLUMNS, "accuracy"), VARIANTS, measure)
