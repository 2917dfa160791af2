"""What the thesis' claims are about: weighted sums of AUROCs or accuracies, of our runs and of the thesis alike.

    draws("cifar10", "MiSP", "MSP", numbers.network("log_softmax"), "svhn")     # ours, a row a run
    theirs("cifar10", "MiSP", "MSP", numbers.network("log_softmax"), "svhn")    # the thesis'

`weights` says what each quantity is. Numbers are in percent, differences in points.
"""

from collections import defaultdict

import numpy as np
import pandas as pd

from thesis_utils import runs
from thesis_utils.book import numbers, thesis

SCENES = ("places9_resize", "places9_fix")  # in LSUN's place: made as LSUN (resize) was, and with antialiasing
RELU, PLAIN, ENTROPY = (numbers.network(*cell) for cell in (("relu", 0.0), ("log_softmax", 0.0), ("log_softmax", 0.01)))
OF_DRAW = ["run", "profile", "width", "epochs", "optimizer", "seed", "usual"]
AT = ["width", "epochs", "optimizer", "usual"]  # what networks share that differ by their seeds only

# --- the numbers: of our runs, of the thesis ----------------------------------------------------------

CHANCE = ("", "chance", "")  # 50 %, whatever the network
NAMED = "named/min_of_misp"  # the thesis' best of slides 28 and 36, where it says that it is min of MiSP


def place(ood, score):
    """(ood, score, reading): inner layers in the better direction, as the thesis does, all else in the fixed one."""
    inner = score.startswith(("layer", "named")) and not score.endswith("/mahalanobis")
    return ood, score, "" if score == "accuracy" else "best_direction" if inner else "fixed_direction"


@numbers.cached
def measured():
    """Our plain ResNets, {(dataset, network): [(OF_DRAW, values, deviations)]}.

    `values` are percent by (ood, score, reading), `deviations` the standard deviations that the images give them.
    """
    table = numbers.frame()
    table = table[table.architecture.eq("resnet34") & table.fine_tuning.eq("none")]
    table = table[table.reading.ne("two_sided") | table.score.eq("layer1.2/min_of_misp")]
    found = defaultdict(list)
    for key, rows in table.groupby(["dataset", "network", *OF_DRAW], sort=False):
        places = list(zip(rows.ood, rows.score, rows.reading))
        deviations = dict(zip(places, (rows.high - rows.low) / (2 * 1.96))) | {CHANCE: 0.0}
        found[key[:2]].append((key[2:], dict(zip(places, rows.ours)) | {CHANCE: 50.0}, deviations))
    return found


@numbers.cached
def of_thesis():
    """The thesis' numbers but its misprint, {(dataset, network): {(ood, score, reading): percent}}."""
    found = defaultdict(lambda: {CHANCE: 50.0})
    for row in thesis.by_score().query("note != 'misprint'").itertuples():
        found[row.dataset, numbers.network(row.activation, row.factor)][place(row.ood, row.score)] = row.thesis
    for row in thesis.TABLES.query("method == 'best_aggregation'").itertuples():
        if row.note.startswith("min of MiSP"):
            network = numbers.network(row.activation, row.entropy_factor)
            found[row.dataset, network][place(row.ood, NAMED)] = row.value
    for ood, side in (("svhn", 1), ("lsun", -1)):  # slide 30: above CIFAR-10, and below
        beyond = thesis.FIGURES["slide_30"][ood]["auroc"] - 50
        found["cifar10", PLAIN][ood, "layer1.2/min_of_misp", "fixed_direction"] = 50 + side * beyond
    return found


@numbers.cached
def covariance(run):
    """The covariance of a run's AUROCs (shares), {ood: ({score: place}, (K, K))}; {} where it is not recorded."""
    path, found = runs.by_name(run).folder / "covariance.csv", {}
    table = pd.read_csv(path) if path.exists() else pd.DataFrame({"ood": []})
    for ood, rows in table.groupby("ood"):
        matrix = rows.drop(columns="ood").set_index("score").dropna(axis=1)
        found[ood] = {score: place for place, score in enumerate(matrix)}, matrix.loc[[*matrix]].to_numpy()
    return found


# --- quantities: weighted sums ------------------------------------------------------------------------

SCORES = {
    "accuracy": ("accuracy", ""), "MSP": ("fc/msp", "fixed_direction"), "MiSP": ("fc/misp", "fixed_direction"),
    "ensemble": ("ensemble/mahalanobis_none", "fixed_direction"),
    "layer1.2": ("layer1.2/min_of_misp", "fixed_direction"),
    "layer1.2, two-sided": ("layer1.2/min_of_misp", "two_sided"),
}  # fmt: skip
STAGES = {"stage 1": "1", "stage 4": "4", "stages 2, 3": "23", "stages 1, 4": "14"}
OTHERS = [score for score in numbers.AGGREGATIONS if score != "min_of_misp"]
BEST_OF = {"best layer": ["min_of_misp"], "best layer of the other eight": OTHERS,
           "best aggregation": numbers.AGGREGATIONS}  # fmt: skip


def inside(stages):
    return [layer for layer in thesis.LAYERS if layer[len("layer")] in stages]


def weights(quantity, network, values, ood):
    """What a quantity is on a set: the numbers whose weighted sum it is, {(ood, score, reading): weight}.

    It chooses among `values`: a "best layer" is an oracle's, as in the thesis. Empty where there is none.
    """
    if quantity == "chance":
        return {CHANCE: 1.0}
    if quantity in SCORES:
        return {(ood, *SCORES[quantity]): 1.0}
    if quantity in STAGES:
        score, layers = "mahalanobis" if network == RELU else "min_of_misp", inside(STAGES[quantity])  # as plotted
        return {place(ood, f"{layer}/{score}"): 1 / len(layers) for layer in layers}
    if quantity in BEST_OF:
        places = [place(ood, f"{layer}/{score}") for layer in thesis.LAYERS for score in BEST_OF[quantity]]
        known = [one for one in places if one in values]
        named = [place(ood, NAMED)] if place(ood, NAMED) in values and quantity == "best layer" else []
        return {one: 1.0 for one in named or sorted(known, key=values.get)[-1:]}
    if quantity.startswith("the thesis' "):  # best, or worst, layer
        known = of_thesis().get(("cifar10", network), {})
        curve = {layer: known.get(place(as_theirs(ood), f"{layer}/min_of_misp")) for layer in thesis.LAYERS}
        choose = max if "best" in quantity else min
        return {} if None in curve.values() else {place(ood, f"{choose(curve, key=curve.get)}/min_of_misp"): 1.0}
    return gain(inside(quantity.removeprefix("gain in stage ")), values, ood)


def gain(layers, values, far, near="cifar100"):
    """From the near set to the far one; a layer has one direction, the better on both together."""
    found = {}
    for score in (f"{layer}/min_of_misp" for layer in layers):
        pair = [(ood, score, "fixed_direction") for ood in (far, near)]
        known = all(one in values for one in pair)  # the thesis' plots are turned already
        turned = known and sum(values[one] for one in pair) < 100
        share = (-1 if turned else 1) / len(layers)
        found |= dict(zip(pair if known else [place(far, score), place(near, score)], (share, -share)))
    return found


def as_theirs(ood):
    return "lsun" if ood in SCENES else ood


def difference(quantity, minus, network, values, ood):
    """The weights of a quantity, minus those of another if there is one; None where a number is missing."""
    parts = [weights(one, network, values, ood) for one in (quantity, minus) if one]
    total = defaultdict(float)
    for sign, part in zip((1, -1), parts):
        for one, weight in part.items():
            total[one] += sign * weight
    return total if all(parts) and all(one in values for one in total) else None


def images_variance(total, run, values, deviations):
    """The images' variance of a weighted sum: by the recorded covariance; else as if all moved as one, never less."""
    variance = 0.0
    for ood in {ood for ood, *_ in total}:
        part = {one: weight for one, weight in total.items() if one[0] == ood}
        places, matrix = covariance(run).get(ood, ({}, None))
        if any(score not in places or reading == "two_sided" for _, score, reading in part):
            variance += sum(abs(weight) * deviations[one] for one, weight in part.items()) ** 2
            continue
        turned = [reading == "best_direction" and values.get((ood, score, "fixed_direction"), 50) < 50
                  for _, score, reading in part]  # fmt: skip
        signed = np.where(turned, -1, 1) * [*part.values()]
        at = [places[score] for _, score, _ in part]
        variance += 1e4 * signed @ matrix[np.ix_(at, at)] @ signed
    return variance


@numbers.cached
def draws(dataset, quantity, minus, network, ood):
    """A row a run: OF_DRAW, the value of quantity minus quantity in one network, and the images' variance of it."""
    found = []
    for key, values, deviations in measured().get((dataset, network), ()):
        if total := difference(quantity, minus, network, values, ood):
            value = sum(weight * values[one] for one, weight in total.items())
            found.append((*key, value, images_variance(total, key[0], values, deviations)))
    return pd.DataFrame(found, columns=[*OF_DRAW, "value", "variance"])


def of_width(width, *kind):
    """The `draws` of a width's networks that are as their profile has them."""
    table = draws(*kind)
    return table[table.usual.to_numpy(bool) & table.width.eq(width).to_numpy()]


def theirs(dataset, quantity, minus, network, ood):
    """The thesis' number of the same, on LSUN for scenes; nan where it has none."""
    values = of_thesis().get((dataset, network), {})
    total = difference(quantity, minus, network, values, as_theirs(ood))
    return sum(weight * values[one] for one, weight in total.items()) if total else np.nan
