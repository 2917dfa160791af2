"""Is the entropy loss a sum over pixels, as printed, or a mean? Trainings recorded in results/entropy.csv.

    THESIS_DATA=... python -m experiments.entropy       # an hour on two CPU cores

Slide 15 prints a sum over layers and pixels; slide 21 reports how little accuracy it costs. Each row is one training of
a width-16 log-softmax ResNet-34 on CIFAR-10 with one of the thesis' lambdas: two epochs at full size (a sum weighs
small images less) by AdamW, one seed, accuracy on the test images like the thesis'.
"""

from experiments.recording import record, recorded
from thesis_utils import data, runs
from thesis_utils.losses import REDUCTIONS
from thesis_utils.runs import run as store
from thesis_utils.runs.config import ACCURACY_GRID
from thesis_utils.training import accuracy, train

FACTORS = [factor for activation, factor in ACCURACY_GRID if factor]
VARIANTS = [("mean", 0.0), *((reduction, factor) for reduction in REDUCTIONS for factor in FACTORS)]
KEYS = ["entropy_reduction", "entropy_factor"]
ADAMW = dict(optimizer="adamw", learning_rate=2e-3, weight_decay=0.05, batch_size=64, padding="zero")


if __name__ == "__main__":
    for variant in VARIANTS:
        key = dict(zip(KEYS, variant))
        if not recorded("entropy", key):
            config = runs.configure("compact", epochs=2, sizes="32", **ADAMW, **key)
            model, normalise, *_ = train(config, store.OWN / f".entropy-{config.name}")
            record("entropy", KEYS, [key | {"accuracy": accuracy(model, data.load("cifar10"), normalise)}])
