"""Which recipe is best for its cost? Trainings of a width-16 ResNet-34 on CIFAR-10, recorded in results/search.csv.

    THESIS_DATA=... python -m experiments.search              # five to fifteen minutes a training on two CPU cores
    THESIS_DATA=... python -m experiments.search relu         # one kind: two processes share two cores best

Each row is one whole training by `thesis_utils.training`; its accuracy is that on the calibration images, which
decide, and beside it the training accuracy of the last epoch. The loss stays the thesis' own: label smoothing or mixed
images, usual in speed runs, would change the very probabilities that are scored. The recorded rows of AdamW, batches of
64 and a rate of 0.1 are those of an earlier list.
"""

import dataclasses
import sys

from experiments.recording import record, recorded
from thesis_utils import runs
from thesis_utils.runs.config import OLDER

KEYS = [
    "activation", "optimizer", "padding", "learning_rate", "rest_rate", "weight_decay", "decay_norms", "batch_size",
    "sizes", "epochs", "alternating_flip", "seed",
]  # fmt: skip
SGD, BEST = OLDER, {}  # {}: the profile's
MUON = dict(learning_rate=0.03)
CHANGES = (  # what is changed of which recipe
    (MUON, {}),
    (MUON, dict(padding="zero")),
    (MUON, dict(batch_size=512, learning_rate=0.06)),
    (BEST, {}),
    (SGD, dict(padding="mean")),
    (SGD, {}),
    (MUON, dict(learning_rate=0.05)),
    (MUON, dict(learning_rate=0.01)),
    (BEST, dict(batch_size=256, learning_rate=0.03)),
    (BEST, dict(rest_rate=10.0)),
    (BEST, dict(weight_decay=5e-3)),
    (BEST, dict(epochs=6)),
    (BEST, dict(sizes="24-32", epochs=8)),
    (BEST, dict(alternating_flip=True)),
    (BEST, dict(epochs=20)),
)


def configurations(activations):
    for seed, changes in ((0, CHANGES[:6]), (1, CHANGES[:6]), (0, CHANGES[6:])):
        for recipe, change in changes:
            for activation in activations:
                if activation != "softmax" or (recipe | change, seed) == (BEST, 0):
                    yield runs.configure("compact", **(recipe | change), activation=activation, seed=seed)


if __name__ == "__main__":
    for config in configurations(sys.argv[1:] or ("log_softmax", "relu", "softmax")):
        key = {name: value for name, value in dataclasses.asdict(config).items() if name in KEYS}
        if not recorded("search", key):
            last = runs.get(config).history.iloc[-1]
            row = key | {"accuracy": last.calibration_accuracy, "train_accuracy": last.train_accuracy}
            record("search", KEYS, [row])
