"""Is the entropy loss a sum over pixels, as printed, or a mean? Short trainings, recorded in results/entropy.csv.

    THESIS_DATA=... python -m experiments.entropy       # ten minutes on two CPU cores

Slide 15 prints a sum over layers and pixels; slide 21 reports how little accuracy it costs. Each row is one of
`experiments.recipe`'s short trainings (150 steps, width 16, the recipe that trains) with one of the thesis' lambdas.
"""

from experiments.recipe import ADAMW, record, short_training
from thesis_utils.losses import REDUCTIONS
from thesis_utils.tables import ACCURACY_GRID

FACTORS = [factor for activation, factor in ACCURACY_GRID if factor]
VARIANTS = [("mean", 0.0), *((reduction, factor) for reduction in REDUCTIONS for factor in FACTORS)]
COLUMNS = ("reduction", "entropy_factor", "largest_loss", "last_loss", "accuracy")


def measure(reduction, factor):
    return short_training("log_softmax", ADAMW, 2e-3, True, True, factor, reduction)


if __name__ == "__main__":
    record("entropy.csv", COLUMNS, VARIANTS, measure)
