"""The thesis' claims, each as the differences that it is about, between runs wherever there are any.

A difference (of AUROC or accuracy, in points) is a vector (value, low, high); a claim has one for each of its cells: a
network, or two, and a test set. Runs are looked up by configuration, with all their seeds. `verdict` judges.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from thesis_utils import evaluation, metrics, runs
from thesis_utils.book import tables, thesis
from thesis_utils.models import LAYERS
from thesis_utils.scorers import sign

FAR = ("lsun", "svhn")
SETS = {"cifar10": ("cifar100", *FAR), "cifar100": ("cifar10", *FAR)}  # the thesis', by in-distribution
RELU, LOG_SOFTMAX, ENTROPY = tables.GRID
SOFTMAX = ("softmax", 0.0)
CURVES = {
    LOG_SOFTMAX: "log_softmax_el0_min_of_misp",
    ENTROPY: "log_softmax_el1e-2_min_of_misp",
    RELU: "relu_baseline_mahalanobis_per_layer",
}
ABOVE, NO_WORSE, COMPARABLE = "above", "no worse", "comparable"


@dataclass(frozen=True)
class Cell:
    """One place where a claim is tested: the network(s), the test set, and the difference there."""

    network: str
    ood: str
    thesis: float | None  # None: said without a number; nan: not said, or a misprint
    ours: np.ndarray | None = None  # None: not recorded yet


@dataclass(frozen=True)
class Claim:
    """A sentence of the thesis and what it says of which differences."""

    slides: str
    says: str
    tested_as: str
    kind: str  # ABOVE, NO_WORSE or COMPARABLE
    cells: Callable  # `gather`'s runs -> a list of cells


# --- the runs ---------------------------------------------------------------------------------------


def gather(profile=None):
    """{(in-distribution, activation, lambda): its runs, one a seed}."""
    return {
        (dataset, *network): found
        for dataset in SETS
        for network, found in tables.grid(profile, dataset, tables.ACCURACY_GRID, get=runs.seeds).items()
    }


def ours_of(ood, *groups):
    """Which set of ours to read for one of the thesis', and the runs of each group that have it scored.

    The set itself, or else what stands in for LSUN.
    """
    stand_ins = [ours for ours, theirs in thesis.STANDS_FOR.items() if theirs == ood]
    for name in (ood, *stand_ins):
        having = [[run for run in group if name in (run.config.dataset, *run.out_distributions())] for group in groups]
        if all(having):
            return name, *having
    return stand_ins[0] if stand_ins else ood, *([] for _ in groups)


# --- differences: (value, low, high) in points ------------------------------------------------------


def area(run, ood, score, reading="fixed_direction"):
    """An AUROC in percent with its DeLong interval."""
    return 100 * tables.pick(run, ood, score, reading)[["auroc", "auroc_low", "auroc_high"]].to_numpy(float)


def best(run, ood, scores):
    """The AUROC of the best layer (an oracle), of the aggregations whose names match."""
    return area(run, ood, tables.best_aggregation(run, ood, scores).score, "best_direction")


def layers(run, ood, score="min_of_misp", reading="best_direction"):
    """AUROC at the 16 layers, (16, 3)."""
    return np.array([area(run, ood, f"{layer}/{score}", reading) for layer in LAYERS])


def mean(values, *blocks):
    """The mean over the layers of some of the four blocks."""
    return np.mean([value for layer, value in zip(LAYERS, values) if int(layer[len("layer")]) in blocks], axis=0)


def minus(first, second):
    """The difference of two vectors (or of two numbers of the thesis).

    Its interval is as wide as both together: never too narrow, whatever the two have in common.
    """
    if not np.ndim(first):
        return first - second
    return np.array([first[0] - second[0], first[1] - second[2], first[2] - second[1]])


def paired(run, ood, first, second):
    """AUROC of one score minus that of another on the same images of one network (`metrics.delong_difference`)."""
    return 100 * np.array(metrics.delong_difference(*(confidences(run, ood, score) for score in (first, second))))


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


# --- cells: a comparison, ours and the thesis', wherever the thesis has it -------------------------


def short(network):
    """ReLU, softmax, or a log-softmax network by its lambda."""
    return tables.model_label(*network).removeprefix("log-softmax, ")


def number(dataset, network, ood, method):
    """A number of the thesis' tables; nan where it has none or a misprint."""
    value, note = thesis.value(dataset, *network, ood, method) or (np.nan, "")
    return np.nan if note == "misprint" else value


def inside(dataset, oods, compare, theirs, networks=(LOG_SOFTMAX, ENTROPY), also=()):
    """Cells that compare within one network: compare(run, ood) and theirs(network, ood).

    `also`: sets that a run must have scored besides.
    """

    def cell(found, network, ood):
        complete = [run for run in found[dataset, *network] if set(also) <= set(run.out_distributions())]
        name, models = ours_of(ood, complete)
        ours = spanned([compare(run, name) for run in models]) if models else None
        return Cell(short(network), name, theirs(network, ood), ours)

    return lambda found: [cell(found, network, ood) for network in networks for ood in oods]


def across(dataset, oods, compare, theirs, pairs):
    """Cells that compare two networks: compare(run, other, ood) and theirs(network, other, ood)."""

    def cell(found, network, other, ood):
        name, models, others = ours_of(ood, found[dataset, *network], found[dataset, *other])
        ours = between(models, others, lambda a, b: compare(a, b, name)) if models else None
        return Cell(f"{short(network)} against {short(other)}", name, theirs(network, other, ood), ours)

    return lambda found: [cell(found, *pair, ood) for pair in pairs for ood in oods]


def in_accuracy(dataset, *pairs):
    def theirs(network, other, ood):
        return number(dataset, network, "test", "accuracy") - number(dataset, other, "test", "accuracy")

    return across(dataset, [dataset], accuracies, theirs, pairs)


def same_score(name, *pairs):
    """One of the final layer's or ensemble's scores in two networks on CIFAR-10."""
    method, score = tables.METHODS[name]

    def compare(run, other, ood):
        return minus(area(run, ood, score), area(other, ood, score))

    def theirs(network, other, ood):
        return number("cifar10", network, ood, method) - number("cifar10", other, ood, method)

    return across("cifar10", SETS["cifar10"], compare, theirs, pairs)


def two_scores(dataset, first, second):
    """Two of the final layer's or ensemble's scores against each other, in all three networks."""
    (method, score), (method2, score2) = tables.METHODS[first], tables.METHODS[second]

    def theirs(network, ood):
        return number(dataset, network, ood, method) - number(dataset, network, ood, method2)

    return inside(dataset, SETS[dataset], lambda run, ood: paired(run, ood, score, score2), theirs, tables.GRID)


def against_ensemble(dataset):
    """Min of MiSP at its best layer against the ensemble, wherever the thesis' best aggregation is min of MiSP."""
    method, ensemble = tables.METHODS["Mahalanobis ensemble"]

    def compare(run, ood):
        return paired(run, ood, tables.best_aggregation(run, ood, "/min_of_misp").score, ensemble)

    def theirs(network, ood):
        value, note = thesis.value(dataset, *network, ood, "best_aggregation")
        return value - number(dataset, network, ood, method) if note.startswith("min of MiSP") else np.nan

    return inside(dataset, SETS[dataset], compare, theirs)


def curve(network, ood):
    """The thesis' plot of a network on CIFAR-10: min of MiSP of a log-softmax one, Mahalanobis of the ReLU one."""
    return np.array(thesis.curve(CURVES[network], ood, "cifar10"))


def along(measure, oods=SETS["cifar10"], networks=(LOG_SOFTMAX, ENTROPY)):
    """One measure(values, ood) of the 16 layers of a network on CIFAR-10, ours and the thesis' plot."""

    def compare(run, ood):
        relu = run.config.activation == "relu"
        return measure(layers(run, ood, *(["mahalanobis", "fixed_direction"] if relu else [])), ood)

    return inside("cifar10", oods, compare, lambda network, ood: measure(curve(network, ood), ood), networks)


def in_block(block, score, *pairs):
    """The mean of a block's layers: min of MiSP of a network against a score of another."""

    def compare(run, other, ood):
        reading = "best_direction" if score == "min_of_misp" else "fixed_direction"
        return minus(mean(layers(run, ood), block), mean(layers(other, ood, score, reading), block))

    def theirs(network, other, ood):
        return minus(mean(curve(network, ood), block), mean(curve(other, ood), block))

    return across("cifar10", SETS["cifar10"], compare, theirs, pairs)


def spread():
    """The layer that is the thesis' best minus the one that is its worst, per network and set."""

    def between_ends(values, network, ood):
        theirs = curve(network, ood)
        return minus(values[theirs.argmax()], values[theirs.argmin()])

    def compare(run, ood):
        return between_ends(layers(run, ood), (run.config.activation, run.config.entropy_factor), ood)

    def theirs(network, ood):
        return between_ends(curve(network, ood), network, ood)

    return inside("cifar10", SETS["cifar10"], compare, theirs)


def inner(values, ood):
    return minus(mean(values, 2, 3), mean(values, 1, 4))


def outer(values, ood):
    return minus(mean(values, 1, 4), mean(values, 2, 3))


def distance(values, ood):
    """Block 1 minus block 4 for a far set, the reverse for a near one."""
    first, last = mean(values, 1), mean(values, 4)
    return minus(first, last) if thesis.name_of(ood) in FAR else minus(last, first)


def others_best(run, ood):
    """Min of MiSP against the best of the other eight aggregations, each at its best layer."""
    return minus(best(run, ood, "/min_of_misp"), best(run, ood, "/(?!min_of_misp).*_of_"))


def named(dataset, word):
    """Where the thesis names its best aggregation without the others' numbers: nan where it names an unwanted one."""

    def theirs(network, ood):
        note = thesis.value(dataset, *network, ood, "best_aggregation")[1]
        return None if word(ood) in note else np.nan

    return theirs


def against_final(run, ood):
    """Min of MiSP in block 1 against MiSP at the final layer."""
    return minus(mean(layers(run, ood), 1), area(run, ood, "fc/misp"))


def final_against_best(run, ood):
    """MiSP at the final layer against min of MiSP at its best layer."""
    return paired(run, ood, "fc/misp", tables.best_aggregation(run, ood, "/min_of_misp").score)


def retrained(run, other, ood):
    """Min of MiSP of one network against another's, each at its best layer."""
    return minus(best(run, ood, "/min_of_misp"), best(other, ood, "/min_of_misp"))


def side(run, ood):
    """AUROC at layer1.2 beyond 50 on the side where the thesis found the set: SVHN above, others below."""
    found, even = area(run, ood, "layer1.2/min_of_misp"), np.full(3, 50.0)
    return minus(found, even) if ood == "svhn" else minus(even, found)


def early_gain(run, far, near="cifar100"):
    """The gain from the near to the far set, block 1 minus block 4; a layer has one direction, the better on both."""
    both = zip(*(layers(run, ood, reading="fixed_direction") for ood in (far, near)))
    gains = np.array([minus(f, n) if f[0] + n[0] >= 100 else minus(n, f) for f, n in both])
    return minus(mean(gains, 1), mean(gains, 4))


def early_gain_thesis(network, far, near="cifar100"):
    gains = curve(network, far) - curve(network, near)
    return mean(gains, 1) - mean(gains, 4)


# --- the claims, in the order of the slides ---------------------------------------------------------

ELSEWHERE = "“Results generalization to CIFAR-100”, in the table"
CLAIMS = (
    Claim("6, 21, 29", "“Classifiers with intermediate log-softmax activation retain performance”",
          "accuracy, log-softmax − ReLU", NO_WORSE, in_accuracy("cifar10", (LOG_SOFTMAX, RELU))),
    Claim("6", "“Apply log-softmax instead of softmax”",
          "accuracy, log-softmax − softmax", ABOVE, in_accuracy("cifar10", (LOG_SOFTMAX, SOFTMAX))),
    Claim("21", "“Higher entropy loss factor leads to degradation in accuracy”",
          "accuracy, λ = 0 − larger λ", ABOVE,
          in_accuracy("cifar10", *((LOG_SOFTMAX, ("log_softmax", factor)) for factor in (0.01, 0.05, 0.1)))),
    Claim("22, 29", "“MiSP better than MSP”",
          "AUROC at the final layer: MiSP − MSP", ABOVE, two_scores("cifar10", "MiSP", "MSP")),
    Claim("22", "“MSP for log-softmax models: comparable”",
          "AUROC of MSP: log-softmax − ReLU", COMPARABLE, same_score("MSP", (LOG_SOFTMAX, RELU), (ENTROPY, RELU))),
    Claim("22", "“Entropy minimization: no significant effect”",
          "AUROC of MiSP: λ = 0.01 − λ = 0", COMPARABLE, same_score("MiSP", (ENTROPY, LOG_SOFTMAX))),
    Claim("23", "“Mahalanobis: comparable performance for baseline and log-softmax models”",
          "AUROC of the ensemble: log-softmax − ReLU", COMPARABLE,
          same_score("Mahalanobis ensemble", (LOG_SOFTMAX, RELU), (ENTROPY, RELU))),
    Claim("23", "“MiSP close to Mahalanobis-ensemble performance”",
          "AUROC: MiSP − ensemble", NO_WORSE, two_scores("cifar10", "MiSP", "Mahalanobis ensemble")),
    Claim("25, 26", "“Different layer enable different performances for OOD detection”",
          "AUROC of min of MiSP: the thesis' best layer − its worst", ABOVE, spread()),
    Claim("25, 26", "“min of MiSP observed to be the best in aggregation methods”",
          "AUROC at the best layer: min of MiSP − best of the other eight", ABOVE,
          inside("cifar10", SETS["cifar10"], others_best, named("cifar10", lambda ood: "min of MiSP"))),
    Claim("26, 33", "“Mahalanobis performs well for layers in block 2 & 3”",
          "AUROC of Mahalanobis: blocks 2, 3 − blocks 1, 4", ABOVE, along(inner, networks=[RELU])),
    Claim("33", "“Min of MiSP performance drops in block 2 & 3”",
          "AUROC of min of MiSP: blocks 1, 4 − blocks 2, 3", ABOVE, along(outer)),
    Claim("26, 33", "“min of MiSP better than Mahalanobis for initial and final residual blocks”: initial",
          "AUROC in block 1: min of MiSP − Mahalanobis", ABOVE,
          in_block(1, "mahalanobis", (LOG_SOFTMAX, RELU), (ENTROPY, RELU))),
    Claim("25, 26, 33", "“min of MiSP better than Mahalanobis for final residual blocks”",
          "AUROC in block 4: min of MiSP − Mahalanobis", ABOVE,
          in_block(4, "mahalanobis", (LOG_SOFTMAX, RELU), (ENTROPY, RELU))),
    Claim("25, 33", "“Model with entropy loss have minor improvements in final block”",
          "AUROC of min of MiSP in block 4: λ = 0.01 − λ = 0", ABOVE,
          in_block(4, "min_of_misp", (ENTROPY, LOG_SOFTMAX))),
    Claim("27, 29", "“early layers of the network are more beneficial for far out-distribution datasets "
          "and later layers for near out-distribution datasets”",
          "AUROC of min of MiSP: block 1 − block 4 (far), 4 − 1 (near)", ABOVE, along(distance)),
    Claim("27", "“min of MiSP better for initial layers compared to MiSP@FC for LSUN and SVHN”",
          "AUROC: min of MiSP in block 1 − MiSP at the final layer", ABOVE,
          inside("cifar10", FAR, against_final,
                 lambda network, ood: mean(curve(network, ood), 1) - thesis.final(ood), [LOG_SOFTMAX])),
    Claim("27", "“MiSP@FC better for CIFAR100 than min of MiSP at intermediate layer”",
          "AUROC: MiSP at the final layer − min of MiSP at the best layer", ABOVE,
          inside("cifar10", ["cifar100"], final_against_best,
                 lambda network, ood: thesis.final(ood) - curve(network, ood).max(), [LOG_SOFTMAX])),
    Claim("28, 29", "“The cheap evaluation method min of MiSP have competitive performance with Mahalanobis-ensemble”",
          "AUROC: min of MiSP at the best layer − ensemble", NO_WORSE, against_ensemble("cifar10")),
    Claim("30", "“Cannot reuse pretrained networks: Architecture should be integrated with log-softmax and retrained”",
          "our reading: AUROC of min of MiSP at the best layer, log-softmax − ReLU read post hoc", ABOVE,
          across("cifar10", SETS["cifar10"], retrained, lambda *_: None, [(LOG_SOFTMAX, RELU)])),
    Claim("30", "“min of MiSP spectrum: it is not consistent across datasets. OOD threshold cannot be predefined "
          "in an open world setting”",
          "AUROC of min of MiSP at layer1.2, beyond 50 towards opposite sides: SVHN above CIFAR-10, LSUN below", ABOVE,
          inside("cifar10", FAR, side,
                 lambda network, ood: thesis.FIGURES["slide_30"][ood]["auroc"] - 50, [LOG_SOFTMAX])),
    Claim("34", "“Initial layers gets more benefited for OOD detection as dataset moves from CIFAR-100 to SVHN”",
          "gain in AUROC from CIFAR-100 to SVHN: block 1 − block 4", ABOVE,
          inside("cifar10", ["svhn"], early_gain, early_gain_thesis, [LOG_SOFTMAX], ["cifar100"])),
    Claim("35", f"{ELSEWHERE}: accuracy",
          "accuracy, log-softmax − ReLU", NO_WORSE, in_accuracy("cifar100", (LOG_SOFTMAX, RELU))),
    Claim("36", f"{ELSEWHERE}: MiSP better than MSP",
          "AUROC at the final layer: MiSP − MSP", ABOVE, two_scores("cifar100", "MiSP", "MSP")),
    Claim("36", f"{ELSEWHERE}: min of MiSP competitive with the ensemble",
          "AUROC: min of MiSP at the best layer − ensemble", NO_WORSE, against_ensemble("cifar100")),
    Claim("36", f"{ELSEWHERE}: early layers for far sets, later ones for near",
          "AUROC of min of MiSP: block 1 − block 4 (far), 4 − 1 (near)", ABOVE,
          inside("cifar100", SETS["cifar100"], lambda run, ood: distance(layers(run, ood), ood),
                 named("cifar100", lambda ood: "layer1" if ood in FAR else "layer4"))),
)  # fmt: skip
