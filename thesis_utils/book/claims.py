"""The thesis' claims, each as the differences that it is about, between runs wherever there are any.

A claim has a difference for each of its cells: a network, or two, and a test set. What the thesis says of LSUN has one
for each set that stands in for it. Runs are looked up by configuration, with all their seeds. `verdict` judges.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from thesis_utils import runs
from thesis_utils.book import tables, thesis
from thesis_utils.book.differences import accuracies, area, between, blocks, layers, mean, minus, paired, spanned
from thesis_utils.book.formatting import model_label

FAR = ("lsun", "svhn")
SCENES = ("places9_resize", "places9_fix")  # scenes in LSUN's place: made as LSUN (resize) was, and with antialiasing
SETS = {"cifar10": ("cifar100", *FAR), "cifar100": ("cifar10", *FAR)}  # the thesis', by in-distribution
RELU, LOG_SOFTMAX, ENTROPY = tables.GRID
SOFTMAX = ("softmax", 0.0)
MIN_OF_MISP = "layer.*/min_of_misp"
ABOVE, NO_WORSE, COMPARABLE = "above", "no worse", "comparable"
UNTRAINED = 10.0  # points of accuracy below the thesis': a network that lacks more has not trained


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
    doubt: Callable = lambda found: ""  # `gather`'s runs -> why no difference of theirs can decide it, if so


# --- the runs, and the thesis' numbers --------------------------------------------------------------


def gather(profile=None):
    """{(in-distribution, activation, lambda): its runs, one a seed}."""
    return {
        (dataset, *network): found
        for dataset in SETS
        for network, found in tables.grid(profile, dataset, tables.ACCURACY_GRID, runs.seeds).items()
    }


def ours_of(ood):
    """The sets of ours that a set of the thesis can be read on: itself, else what stands in for LSUN."""
    return [ood, *SCENES] if ood == "lsun" else [ood]


def theirs_of(ood):
    return "lsun" if ood in SCENES else ood


def short(network):
    """ReLU, softmax, or a log-softmax network by its lambda."""
    return model_label(*network).removeprefix("log-softmax, ")


def number(dataset, network, ood, method):
    """A number of the thesis' tables; nan where it has none or a misprint."""
    value, note = thesis.value(dataset, *network, ood, method) or (np.nan, "")
    return np.nan if note == "misprint" else value


def plotted(run, ood):
    """Of a run what the thesis plots of such a network (`thesis.curve`): AUROC at its layers, (16, 3)."""
    return layers(run, ood, *(["mahalanobis", "fixed_direction"] if run.config.activation == "relu" else []))


# --- cells: a comparison, ours and the thesis', wherever the thesis has it -------------------------


def cells(dataset, oods, places, compare, theirs, also=()):
    """A function of `gather`'s runs: its cells, one for each set and place, a network or a pair of networks.

    compare(ood, runs of the network, ...) is called where each has runs that scored the set and those of `also`;
    theirs(network, ..., ood) is the thesis' difference.
    """

    def cell(found, networks, ood, name):
        groups = [[run for run in found[dataset, *network] if having(run, name, *also)] for network in networks]
        ours = compare(name, *groups) if all(groups) else None
        return Cell(" against ".join(map(short, networks)), name, theirs(*networks, ood), ours)

    def named(found, ood):
        """The set itself where it is scored, else all that stand in for it."""
        own = any(having(run, ood) for networks in places for one in networks for run in found[dataset, *one])
        return [ood] if own else ours_of(ood)[1:] or [ood]

    def having(run, *sets):
        return set(sets) <= {run.config.dataset, *run.out_distributions()}

    return lambda found: [
        cell(found, networks, ood, name) for networks in places for ood in oods for name in named(found, ood)
    ]


def inside(dataset, oods, compare, theirs, networks=(LOG_SOFTMAX, ENTROPY), also=()):
    """Cells that compare within one network: compare(run, ood) and theirs(network, ood)."""

    def seeds(ood, models):
        vectors = [vector for run in models if (vector := compare(run, ood)) is not None]
        return spanned(vectors) if vectors else None

    return cells(dataset, oods, [(network,) for network in networks], seeds, theirs, also)


def across(dataset, oods, compare, theirs, pairs):
    """Cells that compare two networks: compare(run, other, ood), and the difference of theirs(network, ood)."""

    def seeds(ood, models, others):
        return between(models, others, lambda run, other: compare(run, other, ood))

    return cells(dataset, oods, pairs, seeds, lambda a, b, ood: theirs and theirs(a, ood) - theirs(b, ood))


def apart(value):
    """The comparison of two networks by one value(run, ood) of each."""
    return lambda run, other, ood: minus(value(run, ood), value(other, ood))


def in_accuracy(dataset, *pairs):
    return across(dataset, [dataset], accuracies, lambda net, _: number(dataset, net, "test", "accuracy"), pairs)


def same_score(name, *pairs):
    """One of the final layer's or ensemble's scores in two networks on CIFAR-10."""
    method, score = tables.METHODS[name]
    compare = apart(lambda run, ood: area(run, ood, score))
    return across("cifar10", SETS["cifar10"], compare, lambda *place: number("cifar10", *place, method), pairs)


def two_scores(dataset, first, second):
    """Two of the final layer's or ensemble's scores against each other, in all three networks."""
    (method, score), (other_method, other_score) = tables.METHODS[first], tables.METHODS[second]

    def theirs(network, ood):
        return number(dataset, network, ood, method) - number(dataset, network, ood, other_method)

    return inside(dataset, SETS[dataset], paired(score, other_score), theirs, tables.GRID)


def against_ensemble(dataset, compare=None):
    """Min of MiSP at its best layer, or by `compare`, against the ensemble, where the thesis' best is min of MiSP."""
    method, ensemble = tables.METHODS["Mahalanobis ensemble"]

    def theirs(network, ood):
        value, note = thesis.value(dataset, *network, ood, "best_aggregation")
        return value - number(dataset, network, ood, method) if note.startswith("min of MiSP") else np.nan

    return inside(dataset, SETS[dataset], compare or paired(MIN_OF_MISP, ensemble), theirs)


def along(measure, networks=(LOG_SOFTMAX, ENTROPY)):
    """One measure(values, network, ood) of the 16 layers of a network on CIFAR-10, ours and the thesis' plot."""

    def ours(run, ood):
        return measure(plotted(run, ood), (run.config.activation, run.config.entropy_factor), theirs_of(ood))

    def theirs(network, ood):
        return measure(thesis.curve(network, ood), network, ood)

    return inside("cifar10", SETS["cifar10"], ours, theirs, networks)


def in_block(block, *pairs):
    """The mean of a block's layers, of the score that the thesis plots of each network."""
    compare = apart(lambda run, ood: mean(plotted(run, ood), block))
    return across("cifar10", SETS["cifar10"], compare, lambda *place: mean(thesis.curve(*place), block), pairs)


def distance(values, network, ood):
    """Block 1 minus block 4 for a far set, the reverse for a near one."""
    return blocks((1,), (4,))(values) if theirs_of(ood) in FAR else blocks((4,), (1,))(values)


def spread(values, network, ood):
    """The layer that is the thesis' best minus the one that is its worst."""
    theirs = thesis.curve(network, ood)
    return minus(values[theirs.argmax()], values[theirs.argmin()])


def named(dataset, word):
    """Where the thesis names its best aggregation without the others' numbers: nan where it names an unwanted one."""

    def theirs(network, ood):
        note = thesis.value(dataset, *network, ood, "best_aggregation")[1]
        return None if word(ood) in note else np.nan

    return theirs


def others_best(run, ood):
    """Min of MiSP against the best of the other eight aggregations, each at its best layer."""
    first, second = (area(run, ood, s, "best_direction") for s in (MIN_OF_MISP, "layer.*/(?!min_of_misp).*_of_.*"))
    return minus(first, second)


def against_final(run, ood):
    """Min of MiSP in block 1 against MiSP at the final layer."""
    return minus(mean(layers(run, ood), 1), area(run, ood, "fc/misp"))


def side(run, ood):
    """AUROC at layer1.2 beyond 50 on the side where the thesis found the set: SVHN above, others below."""
    found, even = area(run, ood, "layer1.2/min_of_misp"), np.full(3, 50.0)
    return minus(found, even) if ood == "svhn" else minus(even, found)


def early_gain(run, far, near="cifar100"):
    """The gain from the near to the far set, block 1 minus block 4; a layer has one direction, the better on both."""
    both = zip(*(layers(run, ood, reading="fixed_direction") for ood in (far, near)))
    gains = [minus(f, n) if f[0] + n[0] >= 100 else minus(n, f) for f, n in both]
    return blocks((1,), (4,))(gains)


# --- what no difference can decide ------------------------------------------------------------------


def untrained(network, dataset="cifar10"):
    """A doubt where our networks of a kind lack more than UNTRAINED points of the thesis' accuracy."""

    def doubt(found):
        models, theirs = found[dataset, *network], number(dataset, network, "test", "accuracy")
        ours = 100 * np.mean([run.accuracy() for run in models]) if models else theirs
        if theirs - ours <= UNTRAINED:
            return ""
        kind = short(network)
        return (
            f"Our {kind} network ({len(models)} trained) reaches {ours:.1f} % where the thesis' has {theirs:.2f} %: "
            "it has not trained as far, and the difference may be all training"
        )

    return doubt


def unknown_factor(found):
    return "The slides do not say over what the entropy loss is averaged: which λ of ours is their 0.01 is unknown"


def design(found):
    return "A statement of design that the thesis does not measure; the difference is a result of our own"


# --- the claims, in the order of the slides ---------------------------------------------------------

ELSEWHERE = "“Results generalization to CIFAR-100”, in the table"
CLAIMS = (
    Claim("6, 21, 29", "“Classifiers with intermediate log-softmax activation retain performance”",
          "accuracy, log-softmax − ReLU", NO_WORSE, in_accuracy("cifar10", (LOG_SOFTMAX, RELU))),
    Claim("6", "“Apply log-softmax instead of softmax”",
          "accuracy, log-softmax − softmax", ABOVE, in_accuracy("cifar10", (LOG_SOFTMAX, SOFTMAX)), untrained(SOFTMAX)),
    Claim("21", "“Higher entropy loss factor leads to degradation in accuracy”",
          "accuracy, λ = 0 − larger λ", ABOVE,
          in_accuracy("cifar10", *((LOG_SOFTMAX, ("log_softmax", factor)) for factor in (0.01, 0.05, 0.1)))),
    Claim("22, 29", "“MiSP better than MSP”",
          "AUROC at the final layer: MiSP − MSP", ABOVE, two_scores("cifar10", "MiSP", "MSP")),
    Claim("22", "“MSP for log-softmax models: comparable”",
          "AUROC of MSP: log-softmax − ReLU", COMPARABLE, same_score("MSP", (LOG_SOFTMAX, RELU), (ENTROPY, RELU))),
    Claim("22", "“Entropy minimization: no significant effect”",
          "AUROC of MiSP: λ = 0.01 − λ = 0", COMPARABLE, same_score("MiSP", (ENTROPY, LOG_SOFTMAX)),
          unknown_factor),
    Claim("23", "“Mahalanobis: comparable performance for baseline and log-softmax models”",
          "AUROC of the ensemble: log-softmax − ReLU", COMPARABLE,
          same_score("Mahalanobis ensemble", (LOG_SOFTMAX, RELU), (ENTROPY, RELU))),
    Claim("23", "“MiSP close to Mahalanobis-ensemble performance”",
          "AUROC: MiSP − ensemble", NO_WORSE, two_scores("cifar10", "MiSP", "Mahalanobis ensemble")),
    Claim("25, 26", "“Different layer enable different performances for OOD detection”",
          "AUROC of min of MiSP: the thesis' best layer − its worst", ABOVE, along(spread)),
    Claim("25, 26", "“min of MiSP observed to be the best in aggregation methods”",
          "AUROC at the best layer: min of MiSP − best of the other eight", ABOVE,
          inside("cifar10", SETS["cifar10"], others_best, named("cifar10", lambda ood: "min of MiSP"))),
    Claim("26, 33", "“Mahalanobis performs well for layers in block 2 & 3”",
          "AUROC of Mahalanobis: blocks 2, 3 − blocks 1, 4", ABOVE, along(blocks((2, 3), (1, 4)), [RELU])),
    Claim("33", "“Min of MiSP performance drops in block 2 & 3”",
          "AUROC of min of MiSP: blocks 1, 4 − blocks 2, 3", ABOVE, along(blocks((1, 4), (2, 3)))),
    Claim("26, 33", "“min of MiSP better than Mahalanobis for initial and final residual blocks”: initial",
          "AUROC in block 1: min of MiSP − Mahalanobis", ABOVE, in_block(1, (LOG_SOFTMAX, RELU), (ENTROPY, RELU))),
    Claim("25, 26, 33", "“min of MiSP better than Mahalanobis for final residual blocks”",
          "AUROC in block 4: min of MiSP − Mahalanobis", ABOVE, in_block(4, (LOG_SOFTMAX, RELU), (ENTROPY, RELU))),
    Claim("25, 33", "“Model with entropy loss have minor improvements in final block”",
          "AUROC of min of MiSP in block 4: λ = 0.01 − λ = 0", ABOVE, in_block(4, (ENTROPY, LOG_SOFTMAX)),
          unknown_factor),
    Claim("27, 29", "“early layers of the network are more beneficial for far out-distribution datasets "
          "and later layers for near out-distribution datasets”",
          "AUROC of min of MiSP: block 1 − block 4 (far), 4 − 1 (near)", ABOVE, along(distance)),
    Claim("27", "“min of MiSP better for initial layers compared to MiSP@FC for LSUN and SVHN”",
          "AUROC: min of MiSP in block 1 − MiSP at the final layer", ABOVE,
          inside("cifar10", FAR, against_final,
                 lambda network, ood: mean(thesis.curve(network, ood), 1) - thesis.final(ood), [LOG_SOFTMAX])),
    Claim("27", "“MiSP@FC better for CIFAR100 than min of MiSP at intermediate layer”",
          "AUROC: MiSP at the final layer − min of MiSP at the best layer", ABOVE,
          inside("cifar10", ["cifar100"], paired("fc/misp", MIN_OF_MISP),
                 lambda network, ood: thesis.final(ood) - thesis.curve(network, ood).max(), [LOG_SOFTMAX])),
    Claim("28, 29", "“The cheap evaluation method min of MiSP have competitive performance with Mahalanobis-ensemble”",
          "AUROC: min of MiSP at the best layer − ensemble", NO_WORSE, against_ensemble("cifar10")),
    Claim("30", "“Cannot reuse pretrained networks: Architecture should be integrated with log-softmax and retrained”",
          "our reading: AUROC of min of MiSP at the best layer, log-softmax − ReLU read post hoc", ABOVE,
          across("cifar10", SETS["cifar10"], apart(lambda run, ood: area(run, ood, MIN_OF_MISP, "best_direction")),
                 None, [(LOG_SOFTMAX, RELU)]), design),
    Claim("30", "“min of MiSP spectrum: it is not consistent across datasets. OOD threshold cannot be predefined "
          "in an open world setting”",
          "AUROC of min of MiSP at layer1.2, beyond 50 towards opposite sides: SVHN above CIFAR-10, LSUN below", ABOVE,
          inside("cifar10", FAR, side,
                 lambda network, ood: thesis.FIGURES["slide_30"][ood]["auroc"] - 50, [LOG_SOFTMAX])),
    Claim("34", "“Initial layers gets more benefited for OOD detection as dataset moves from CIFAR-100 to SVHN”",
          "gain in AUROC from CIFAR-100 to SVHN: block 1 − block 4", ABOVE,
          inside("cifar10", ["svhn"], early_gain,
                 lambda net, far: blocks((1,), (4,))(thesis.curve(net, far) - thesis.curve(net, "cifar100")),
                 [LOG_SOFTMAX], ["cifar100"])),
    Claim("35", f"{ELSEWHERE}: accuracy",
          "accuracy, log-softmax − ReLU", NO_WORSE, in_accuracy("cifar100", (LOG_SOFTMAX, RELU))),
    Claim("36", f"{ELSEWHERE}: MiSP better than MSP",
          "AUROC at the final layer: MiSP − MSP", ABOVE, two_scores("cifar100", "MiSP", "MSP")),
    Claim("36", f"{ELSEWHERE}: min of MiSP competitive with the ensemble",
          "AUROC: min of MiSP at the best layer − ensemble", NO_WORSE, against_ensemble("cifar100")),
    Claim("36", f"{ELSEWHERE}: early layers for far sets, later ones for near",
          "AUROC of min of MiSP: block 1 − block 4 (far), 4 − 1 (near)", ABOVE,
          inside("cifar100", SETS["cifar100"], lambda run, ood: distance(layers(run, ood), None, ood),
                 named("cifar100", lambda ood: "layer1" if ood in FAR else "layer4"))),
)  # fmt: skip
