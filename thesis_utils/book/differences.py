"""Differences between the scores, the layers and the networks of runs.

A difference, of AUROC or accuracy, is a vector (value, low, high) in points.
"""

import numpy as np

from thesis_utils import evaluation, metrics
from thesis_utils.book import tables
from thesis_utils.models import LAYERS
from thesis_utils.scorers import sign


def area(run, ood, scores, reading="fixed_direction"):
    """The AUROC in percent, with its interval, of a score, or of the best layer's (an oracle) if several match."""
    return np.array(tables.measured(run, ood, scores)[reading][1:])


def layers(run, ood, score="min_of_misp", reading="best_direction"):
    """AUROC at the run's layers, (16, 3)."""
    return 100 * tables.scored(run, ood, f"layer.*/{score}", reading)[tables.AREA].to_numpy()


def mean(values, *blocks):
    """The mean over the layers of some of the four blocks."""
    return np.mean([value for layer, value in zip(LAYERS, values) if int(layer[len("layer")]) in blocks], axis=0)


def minus(first, second):
    """The difference of two vectors (or of two numbers of the thesis).

    Its interval is as wide as both together: never too narrow, whatever the two have in common.
    """
    return first - (second[[0, 2, 1]] if np.ndim(second) else second)


def blocks(first, second):
    """The measure of the layers of some blocks, (16, ...): the mean of the first minus that of the second."""
    return lambda values, *_: minus(mean(values, *first), mean(values, *second))


def paired(first, second):
    """A comparison of two scores, or best layers', on the same images of one network (`metrics.delong_difference`).

    None where one of them is not recorded image by image.
    """

    def compare(run, ood):
        names = [tables.best_score(run, ood, scores).name for scores in (first, second)]
        if not {*names} <= {*run.scores(ood)}:
            return None
        return 100 * np.array(metrics.delong_difference(*(confidences(run, ood, name) for name in names)))

    return compare


def confidences(run, ood, score):
    """In- and out-of-distribution confidences; at an intermediate layer in the better direction, as the thesis does."""
    known, unknown = (sign(score) * run.scores(name)[score] for name in (run.config.dataset, ood))
    turned = score.startswith("layer") and metrics.auroc(known, unknown) < 0.5
    return (-known, -unknown) if turned else (known, unknown)


def accuracies(run, other, ood=None):
    """Accuracy of one network minus another's on the same images, with the paired normal interval."""
    correct, others = (r.scores(r.config.dataset)[evaluation.CORRECT] for r in (run, other))
    difference = 100 * (correct - others)
    half = 1.96 * difference.std() / len(difference) ** 0.5
    return difference.mean() + np.array([0, -half, half])


def spanned(found):
    """The mean over seeds, and an interval that spans those of all seeds."""
    values, lows, highs = np.reshape(found, (-1, 3)).T
    return np.array([values.mean(), lows.min(), highs.max()])


def between(models, others, compare):
    """A comparison of two networks, over all pairs of their seeds.

    A network with one seed is given the other's range over its seeds. With one seed of each nobody knows what a
    seed moves, and the interval has no ends.
    """
    found = np.array([[compare(run, other) for other in others] for run in models])
    moved = max(np.ptp(found[..., 0], axis=axis).max() for axis in (0, 1)) if found.size > 3 else np.inf
    return spanned(found) + ([0, -moved, moved] if 1 in found.shape[:2] else 0)
