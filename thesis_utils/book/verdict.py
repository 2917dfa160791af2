"""A verdict on every claim and every number of the thesis, from whatever runs there are.

A number of the thesis is one draw, of one network: it is compared by a prediction interval. Seeds of one kind of number
(score x set x network) deviate by sigma, pooled over all recorded widths with several seeds, so that a width with one
seed gets the same sigma; with n seeds the half width is t sqrt(sigma^2 (1 + 1/n) + the images' variance).

`claims.csv` has the claims, each a quantity of a network, or of one minus another, on some sets; QUANTITIES says what
a quantity is: a weighted sum of AUROCs, ours and the thesis' alike.
"""

import textwrap
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from thesis_utils import runs
from thesis_utils.book import numbers, plots, thesis

CLAIMS = pd.read_csv(Path(__file__).with_name("claims.csv"), keep_default_na=False)
SCENES = ("places9_resize", "places9_fix")  # in LSUN's place: made as LSUN (resize) was, and with antialiasing
FAR = ("lsun", "svhn", *SCENES)
LAYERS = thesis.LAYERS
HOLDS, FAILS, OPEN, ABSENT = "holds", "against it", "open", "not recorded"
REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "open"
CONSISTENT, DIFFERENT, INCOMPARABLE, NO_IMAGES, MISPRINT = (
    "consistent", "different", "network not comparable", "no such images", "misprint",
)  # fmt: skip
NAMED_BEST = "best/min_of_misp"  # of the thesis: its best layer, where it says that it is min of MiSP's
OF_DRAW = ["run", "profile", "width", "epochs", "seed", "usual"]
MARGIN = 1.0  # points that count as nothing where the thesis says "comparable", "close", "competitive", "retain"
LEAST_FREEDOM = 3  # degrees of freedom from which on seeds of one kind of number are believed alone


# --- the numbers: of a run, of the thesis -----------------------------------------------------------


def usual_reading(score):
    """At the layers in the better direction, as the thesis does; elsewhere in the fixed one."""
    inner = score.startswith(("layer", "best")) and not score.endswith("/mahalanobis")
    return "" if score == "accuracy" else "best_direction" if inner else "fixed_direction"


def best(values, ood, among):
    """The score of several that has the highest AUROC on a set, an oracle; None where there is none of them."""
    found = {score: values.get((ood, score, "best_direction"), np.nan) for score in among}
    found = {score: value for score, value in found.items() if not np.isnan(value)}
    return max(found, key=found.get) if found else None


@lru_cache
def measured():
    """The plain ResNets' runs, {(dataset, network): [(OF_DRAW, ours, sds)]}: percent, and the images' standard
    deviations, by (ood, score, reading)."""
    table = numbers.frame()
    table = table[table.architecture.eq("resnet34") & table.fine_tuning.eq("none") & table.reading.ne("two_sided")]
    table = table.assign(sd=(table.high - table.low) / (2 * 1.96))
    found = defaultdict(list)
    for place, rows in table.groupby(["dataset", "network", *OF_DRAW], sort=False):
        places = list(zip(rows.ood, rows.score, rows.reading))
        found[place[:2]].append((place[2:], dict(zip(places, rows.ours)), dict(zip(places, rows.sd))))
    return found


@lru_cache
def of_thesis():
    """The thesis' numbers {(dataset, network): {(ood, score, reading): percent}}."""
    table = thesis.by_score()
    table = table[table.note.ne("misprint")]
    named = thesis.TABLES[
        thesis.TABLES.method.eq("best_aggregation") & thesis.TABLES.note.str.startswith("min of MiSP")
    ]
    named = named.assign(factor=named.entropy_factor, thesis=named.value, score=NAMED_BEST)
    table = pd.concat([table, named[list(table)]])
    table["network"] = [numbers.network(*place) for place in zip(table.activation, table.factor)]
    table["reading"] = table.score.map(usual_reading)
    return {
        place: dict(zip(zip(rows.ood, rows.score, rows.reading), rows.thesis))
        for place, rows in table.groupby(["dataset", "network"])
    }


@lru_cache
def covariance(run):
    """The covariance of a run's AUROCs by set, {ood: DataFrame}; empty where it is not recorded."""
    path = runs.by_name(run).folder / "covariance.csv"
    if not path.exists():
        return {}
    table = pd.read_csv(path)
    return {ood: rows.drop(columns="ood").set_index("score").dropna(axis=1) for ood, rows in table.groupby("ood")}


# --- quantities: weighted sums of AUROCs ------------------------------------------------------------


def term(score, weight=1.0, ood=None, reading=None):
    """One AUROC of the sum: (weight, score, reading, the set if it is not the cell's); score None: there is none."""
    if score is None:
        return weight, "none", "", ood
    return weight, score, usual_reading(score) if reading is None else reading, ood


def stages(*numbers_, weight=1.0, score="min_of_misp", **where):
    """The mean of some stages' layers."""
    inside = [layer for layer in LAYERS if int(layer[len("layer")]) in numbers_]
    return [term(f"{layer}/{score}", weight / len(inside), **where) for layer in inside]


def plotted(network):
    """Which score the thesis plots of a network, layer by layer."""
    return "mahalanobis" if network == "ReLU" else "min_of_misp"


def gain(values, ood, near="cifar100"):
    """From the near to the far set, stage 1 minus stage 4; a layer has one direction, the better on both sets."""
    found = []
    for layer in LAYERS:
        sign = {"1": 1, "4": -1}.get(layer[len("layer")], 0) / 3
        pair = [(one, f"{layer}/min_of_misp", "fixed_direction") for one in (ood, near)]
        known = all(place in values for place in pair)  # the thesis' plots are in the better direction already
        turned = known and sum(values[place] for place in pair) < 100
        reading = "fixed_direction" if known else "best_direction"
        for one, weight in ((None, sign), (near, -sign)):
            found += [term(pair[0][1], -weight if turned else weight, one, reading)] if sign else []
    return found


def spread(values, ood, network):
    """The layer that is the thesis' best on a set minus the one that is its worst."""
    activation, factor = ("log_softmax", 0.01) if network.endswith("0.01") else ("log_softmax", 0.0)
    curve = thesis.curve((activation, factor), "lsun" if ood in SCENES else ood)
    return (
        []
        if curve is None
        else [term(f"{LAYERS[curve.argmax()]}/min_of_misp"), term(f"{LAYERS[curve.argmin()]}/min_of_misp", -1)]
    )


def terms(quantity, values, ood, network):
    """What a quantity is on a set: the terms whose weighted sum it is, chosen on `values` where it chooses."""
    ensemble, far = "ensemble/mahalanobis_none", ood in FAR
    inner = [f"{layer}/min_of_misp" for layer in LAYERS]
    others = [f"{layer}/{score}" for layer in LAYERS for score in numbers.AGGREGATIONS if score != "min_of_misp"]
    if quantity == "accuracy":
        return [term("accuracy")]
    if quantity == "MSP":
        return [term("fc/msp")]
    if quantity == "MiSP":
        return [term("fc/misp")]
    if quantity == "ensemble":
        return [term(ensemble)]
    if quantity == "MiSP − MSP":
        return [term("fc/misp"), term("fc/msp", -1)]
    if quantity == "MiSP − ensemble":
        return [term("fc/misp"), term(ensemble, -1)]
    if quantity == "best aggregation":
        return [term(best(values, ood, inner + others))]
    if quantity == "best layer − ensemble":
        return [term(best(values, ood, inner)), term(ensemble, -1)]
    if quantity == "MiSP at fc − best layer":
        return [term("fc/misp"), term(best(values, ood, inner), -1)]
    if quantity == "min of MiSP − other aggregations":
        return [term(best(values, ood, inner)), term(best(values, ood, others), -1)]
    if quantity == "best − worst layer":
        return spread(values, ood, network)
    if quantity in ("stages 2, 3 − 1, 4", "stages 1, 4 − 2, 3"):
        outer = -1 if quantity.startswith("stages 2") else 1
        score = plotted(network)
        return stages(1, 4, weight=outer, score=score) + stages(2, 3, weight=-outer, score=score)
    if quantity in ("stage 1", "stage 4"):
        return stages(int(quantity[-1]), score=plotted(network))
    if quantity == "stage 1 − 4, near reversed":
        return stages(1, weight=1 if far else -1) + stages(4, weight=-1 if far else 1)
    if quantity == "stage 1 − MiSP at fc":
        return [*stages(1), term("fc/misp", -1)]
    if quantity == "side at layer1.2":  # the AUROC beyond 50 on the side where the thesis found the set
        return [term("layer1.2/min_of_misp", 1 if ood == "svhn" else -1, reading="fixed_direction")]
    if quantity == "gain from near, stage 1 − 4":
        return gain(values, ood)
    raise KeyError(quantity)


def value_of(found, values, ood):
    """The weighted sum; nan where a number is missing."""
    if not found:
        return np.nan
    return sum(weight * values.get((other or ood, score, reading), np.nan) for weight, score, reading, other in found)


def variance_of(found, run, ours, sds, ood):
    """The images' variance of a sum: by the recorded covariance, or, where a part of it is not, never too narrow."""
    total = 0.0
    for other in dict.fromkeys(other for *_, other in found):
        part = [one for one in found if one[3] == other]
        known = covariance(run).get(other or ood)
        if known is not None and all(score in known.columns for _, score, *_ in part):
            signs = []
            for weight, score, reading, _ in part:
                fixed = ours.get((other or ood, score, "fixed_direction"), 50)
                signs.append(-weight if reading == "best_direction" and fixed < 50 else weight)
            names = [score for _, score, *_ in part]
            total += 1e4 * np.array(signs) @ known.loc[names, names].to_numpy() @ np.array(signs)
        else:
            total += sum(abs(weight) * sds[other or ood, score, reading] for weight, score, reading, _ in part) ** 2
    return total


@lru_cache
def draws(dataset, network, quantity, ood):
    """A row a run of one kind of number: run, profile, width, epochs, seed, usual, value (points) and variance."""
    found = []
    for place, ours, sds in measured().get((dataset, network), ()):
        sums = terms(quantity, ours, ood, network)
        value = value_of(sums, ours, ood)
        if not np.isnan(value):
            value -= {"side at layer1.2": 50 if ood == "svhn" else -50}.get(quantity, 0)
            found.append((*place, value, variance_of(sums, place[0], ours, sds, ood)))
    return pd.DataFrame(found, columns=[*OF_DRAW, "value", "variance"])


def theirs(dataset, network, quantity, ood):
    """The thesis' number of a quantity; nan where it has none."""
    name, known = ("lsun" if ood in SCENES else ood), of_thesis()
    if quantity == "side at layer1.2":
        return thesis.FIGURES["slide_30"][name]["auroc"] - 50
    values = known.get((dataset, network), {})
    if quantity == "best layer − ensemble":  # its own best, of slides 28 and 36
        return value_of([term(NAMED_BEST), term("ensemble/mahalanobis_none", -1)], values, name)
    if quantity in ("stage 1 − MiSP at fc", "MiSP at fc − best layer"):  # of the plot of slide 27
        values = values | {(name, "fc/misp", "fixed_direction"): thesis.final(name)}
    return value_of(terms(quantity, values, name, network), values, name)


# --- intervals --------------------------------------------------------------------------------------


def pooled(*kinds):
    """(sigma^2, degrees of freedom) of seeds: the first of the kinds with enough of them; each a list of `draws`."""
    total = freedom = 0.0
    for kind in kinds:
        for table in kind:
            for _, seeds in table.groupby(["width", "epochs", "usual"]):
                total += seeds.value.var(ddof=1) * (len(seeds) - 1) if len(seeds) > 1 else 0.0
                freedom += len(seeds) - 1
        if freedom >= LEAST_FREEDOM:
            break
    return (total / freedom, freedom) if freedom else (np.nan, 0)


def spread_of_seeds(dataset, network, quantity, ood):
    """sigma^2 and degrees of freedom: of the network's own seeds, else of all networks' on CIFAR-10."""
    every = [numbers.network(*cell) for cell in (("relu", 0.0), ("log_softmax", 0.0), ("log_softmax", 0.01))]
    near = {"cifar10": "cifar100"}.get(ood, ood)
    return pooled(
        [draws(dataset, network, quantity, ood)],
        [draws("cifar10", one, quantity, near) for one in every],
        [draws("cifar10", one, quantity, other) for one in every for other in ("cifar100", "svhn", *SCENES, "test")],
    )


def interval(*sides):
    """(value, standard error, degrees of freedom) of a prediction: of one network's draws, or of one minus another's.

    Each side is (draws at one width, sigma^2, degrees of freedom).
    """
    value = variance = spread = within = 0.0
    for sign, (table, sigma2, freedom) in zip((1, -1), sides):
        ours = sigma2 * (1 + 1 / len(table))
        value += sign * table.value.mean()
        variance += ours + table.variance.mean()
        spread += ours
        within += ours**2 / freedom if freedom else np.inf
    return value, variance**0.5, spread**2 / within if within else np.inf  # Welch and Satterthwaite


# --- claims -----------------------------------------------------------------------------------------


@lru_cache
def cells():
    """One row a cell, a claim's quantity on one set at one width: the thesis' number, ours with its interval.

    Of each width the profile's own runs (`usual`); `bound_low` and `bound_high` are where the claim wants it.
    """
    rows = []
    for number, row in CLAIMS.iterrows():
        for ood in row.sets.split():
            for name in SCENES if ood == "lsun" else (ood,):
                sides = [row.network, row.minus] if row.minus else [row.network]
                their = [theirs(row.dataset, side, row.quantity, name) for side in sides]
                shown = in_words(row, ood) if row.in_words else np.nan
                place = dict(claim=row.claim, kind=row.kind, cell=number, network=" − ".join(sides), ood=name,
                             thesis=their[0] - (their[1] if row.minus else 0), in_words=shown)  # fmt: skip
                found = [draws(row.dataset, side, row.quantity, name).query("usual") for side in sides]
                for width in sorted(set.intersection(*({*table.width} for table in found))):
                    each = [(table[table.width.eq(width)], *spread_of_seeds(row.dataset, side, row.quantity, name))
                            for table, side in zip(found, sides)]  # fmt: skip
                    value, error, freedom = interval(*each)
                    seeds = min(len(table) for table, *_ in each)
                    rows.append(place | dict(width=width, ours=value, error=error, freedom=freedom, seeds=seeds))
                if not any(one["cell"] == number and one["ood"] == name for one in rows):
                    rows.append(place | dict(width=np.nan))
    return judged(pd.DataFrame(rows))


def in_words(row, ood):
    """Where the thesis names its best aggregation only: whether it names what the claim says."""
    activation, factor = ("log_softmax", 0.01) if row.network.endswith("0.01") else ("log_softmax", 0.0)
    note = (thesis.value(row.dataset, activation, factor, ood, "best_aggregation") or (0, ""))[1]
    wanted = "min of MiSP" if "aggregations" in row.quantity else "layer1" if ood in FAR else "layer4"
    return wanted in note


def judged(table):
    """Adds bounds, whether a cell counts, its interval and its outcome."""
    theirs_ = table.groupby("claim").thesis
    low = np.where(table.kind.eq("no worse"), np.minimum(theirs_.transform("min"), 0) - MARGIN, 0.0)
    reach = theirs_.transform(lambda values: values.abs().max()) + MARGIN
    comparable = table.kind.eq("comparable")
    table = table.assign(bound_low=np.where(comparable, -reach, low), bound_high=np.where(comparable, reach, np.inf))
    shown = table.thesis.between(table.bound_low, table.bound_high, inclusive="neither")
    table["counts"] = table.in_words.eq(True) | (table.in_words.isna() & shown)
    half = stdtrit(table.freedom.clip(upper=1e6), 0.975) * table.error
    table["low"], table["high"] = table.ours - half, table.ours + half
    beyond = np.maximum(table.bound_low - table.ours, table.ours - table.bound_high)
    table["p"] = 1 - stdtr(table.freedom.clip(upper=1e6), beyond / table.error)  # that it lies where it is wanted
    inside = (table.low > table.bound_low) & (table.high < table.bound_high)
    table["outcome"] = np.where(table.ours.isna(), ABSENT, np.where(inside, HOLDS, OPEN))
    scenes = table.ood.eq(SCENES[1])  # LSUN is read on one set at a time
    for keep in (~scenes, table.ood.ne(SCENES[0])):
        counted = table[keep & table.counts & table.ours.notna()]
        for _, claim in counted.groupby(["claim", "width"]):
            table.loc[holm(claim.p), "outcome"] = FAILS
    return table


def holm(p, level=0.05):
    """The index of the hypotheses that fall, stepping down (Holm 1979)."""
    ordered = p.sort_values()
    fallen = (ordered <= level / np.arange(len(ordered), 0, -1)).cummin()
    return ordered.index[fallen]


def claims(scenes=SCENES[0]):
    """The verdicts with a set of scenes in LSUN's place: a row a claim and width, verdict and how many cells hold."""
    other = SCENES[1 - SCENES.index(scenes)]
    table = cells()[lambda found: found.counts & found.ood.ne(other)]
    rows = []
    for (claim, width), found in table[table.width.notna()].groupby(["claim", "width"], sort=False):
        outcomes = found.outcome.value_counts()
        word = NOT_REPRODUCED if FAILS in outcomes else REPRODUCED if set(outcomes.index) == {HOLDS} else UNDECIDED
        rows.append((claim, int(width), word, outcomes.get(HOLDS, 0), len(found), found.seeds.min()))
    return pd.DataFrame(rows, columns=["claim", "width", "verdict", "hold", "cells", "seeds"])


def matrix(scenes=SCENES[0]):
    """Claims x widths: the verdict, in the order of the slides; "not recorded" where a width has no such network."""
    wide = claims(scenes).pivot(index="claim", columns="width", values="verdict")
    return wide.reindex(CLAIMS.claim.drop_duplicates()).fillna(ABSENT)


def on_widest(scenes=SCENES[0]):
    """The verdict of each claim on the widest recorded network that has it: a frame by claim."""
    return claims(scenes).sort_values("width").groupby("claim").last()


# --- numbers ----------------------------------------------------------------------------------------


@lru_cache
def judged_numbers():
    """Every number of the thesis' tables beside ours, of the width that comes nearest to the thesis' accuracy.

    Columns: slide, dataset, network, ood, method, thesis, note, width, seeds, ours, low, high (a prediction interval,
    percent), off (our accuracy minus the thesis', points) and label.
    """
    rows = []
    for row in thesis.TABLES.sort_values("slide", kind="stable").itertuples():
        network = numbers.network(row.activation, row.entropy_factor)
        place = dict(slide=row.slide, dataset=row.dataset, network=network, ood=row.ood, method=row.method,
                     thesis=row.value, note=row.note)  # fmt: skip
        accuracy = draws(row.dataset, network, "accuracy", "test").query("usual")
        their = theirs(row.dataset, network, "accuracy", "test")
        means = accuracy.groupby("width").value.mean()
        if row.note == MISPRINT or row.ood == "lsun" or means.empty:
            rows.append(place | {"label": MISPRINT if row.note == MISPRINT else NO_IMAGES if len(means) else ABSENT})
            continue
        width = (means - their).abs().idxmin()
        off, low, high = predicted(row.dataset, network, "accuracy", "test", width)
        ours, low_ours, high_ours = predicted(row.dataset, network, row.method, row.ood, width)
        near = row.method == "accuracy" or low - MARGIN <= their <= high + MARGIN
        label = CONSISTENT if low_ours <= row.value <= high_ours else DIFFERENT
        rows.append(place | dict(width=width, seeds=int(accuracy.width.eq(width).sum()), ours=ours, low=low_ours,
                                 high=high_ours, off=off - their, label=label if near else INCOMPARABLE))  # fmt: skip
    return pd.DataFrame(rows)


METHODS = {"accuracy": "accuracy", "msp": "MSP", "misp": "MiSP", "mahalanobis_ensemble": "ensemble",
           "best_aggregation": "best aggregation"}  # fmt: skip


def predicted(dataset, network, method, ood, width):
    """(value, low, high): our mean at a width, and the prediction interval of another network's number."""
    table, *seeds = of_method(dataset, network, METHODS[method], ood)
    value, error, freedom = interval((table[table.width.eq(width) & table.usual], *seeds))
    half = stdtrit(min(freedom, 1e6), 0.975) * error
    return value, value - half, value + half


def of_method(dataset, network, quantity, ood):
    return draws(dataset, network, quantity, ood), *spread_of_seeds(dataset, network, quantity, ood)


KEY_DIFFERENCES = [  # of the first page: what, its claim, its quantity and set, the chapter
    ("accuracy: log-softmax − ReLU", "accuracy", "accuracy", "test", "01_train"),
    ("MiSP − MSP, CIFAR-100", "misp", "MiSP − MSP", "cifar100", "02_benchmark"),
    ("MiSP − MSP, SVHN", "misp", "MiSP − MSP", "svhn", "02_benchmark"),
    ("stage 1 − stage 4, SVHN", "early-late", "stage 1 − 4, near reversed", "svhn", "03_layerwise"),
    ("stage 1 − stage 4, scenes resize", "early-late", "stage 1 − 4, near reversed", SCENES[0], "09_aliasing"),
    ("stage 1 − stage 4, scenes fix", "early-late", "stage 1 − 4, near reversed", SCENES[1], "09_aliasing"),
]


def front():
    """The claims' key differences in log-softmax networks (lambda 0) on CIFAR-10, points: a row a width and length.

    Columns: difference, claim, chapter, width, epochs, usual, mean, low, high (over seeds), seeds, thesis. The wins of
    min of MiSP over the ensemble are shares of the pairs of a network and a set, percent.
    """
    network = numbers.network("log_softmax")
    rows = []
    for label, claim, quantity, ood, chapter in KEY_DIFFERENCES:
        table, their = draws("cifar10", network, quantity, ood), theirs("cifar10", network, quantity, ood)
        if quantity == "accuracy":  # against the ReLU networks of the same width and length
            relu = draws("cifar10", "ReLU", quantity, ood).groupby(["width", "epochs"]).value.mean()
            table = table.join(relu.rename("relu"), on=["width", "epochs"]).dropna(subset="relu")
            table = table.assign(value=table.value - table.relu)
            their -= theirs("cifar10", "ReLU", quantity, ood)
        rows += [table.assign(difference=label, claim=claim, chapter=chapter, thesis=their)]
    table = numbers.frame().query("dataset == 'cifar10' and network == @network and architecture == 'resnet34' and "
                                  "fine_tuning == 'none' and ood != 'test'")  # fmt: skip
    ensemble = table[table.score.eq("ensemble/mahalanobis_none") & table.reading.eq("fixed_direction")]
    chosen = {  # layer and direction of min of MiSP
        "chosen on the tested set": table[table.aggregation.eq("min_of_misp") & table.reading.eq("best_direction")],
        "fixed: layer 1.2, two-sided": table[table.score.eq("layer1.2/min_of_misp") & table.reading.eq("two_sided")],
    }
    for how, inner in chosen.items():
        best = inner.groupby(["run", "ood"]).ours.max().rename("value")
        won = ensemble.join(best, on=["run", "ood"]).dropna(subset="value")
        won = won.assign(value=100.0 * (won.value > won.ours), thesis=np.nan, claim="ensemble", chapter="06_baselines")
        rows += [won.assign(difference=f"wins over the ensemble, %, {how}")]
    groups = pd.concat(rows).groupby(["difference", "claim", "chapter", "width", "epochs", "usual"], sort=False)
    return groups.agg(mean=("value", "mean"), low=("value", "min"), high=("value", "max"), seeds=("run", "nunique"),
                      thesis=("thesis", "first")).reset_index()  # fmt: skip


def runs_used():
    """Names of the runs behind the verdicts: every width's own."""
    table = numbers.frame()
    return table[table.usual & table.architecture.eq("resnet34") & table.fine_tuning.eq("none")].run.unique()


def forest(table, claims):
    """A line a cell, under its claim: ours with its interval, the thesis' difference, and where the claim wants it."""
    groups = list(table.groupby("claim", sort=False))
    height = 0.17 * (len(table) + 2.6 * len(groups))
    figure, axis = plots.plt.subplots(figsize=(plots.WIDTH, height))
    top, ticks, names = 0, [], []
    for claim, rows in groups:
        axis.text(-0.62, top + 0.9, textwrap.shorten(claims.tested[claim], 66), fontsize=10, weight="bold", va="center",
                  transform=axis.get_yaxis_transform())  # fmt: skip
        wanted = np.clip(rows[["bound_low", "bound_high"]].iloc[0], -60, 60)
        axis.fill_betweenx([top + 1.6, top + 1.9 + len(rows)], *wanted, color="#e9e9e9", lw=0)
        for at, row in zip(top + 2 + np.arange(len(rows)), rows.itertuples()):
            paint = {HOLDS: plots.BLUE, FAILS: plots.VERMILION}.get(row.outcome, "#555555")
            axis.plot(np.clip([row.low, row.high], -60, 60), [at, at], color=paint, lw=1.4)
            axis.plot(np.clip(row.ours, -60, 60), at, "o", ms=4, color=paint)
            axis.plot(row.thesis, at, "o", ms=5, mfc="none", mec="black", mew=0.9)
            ticks.append(at)
            names.append(f"{row.network.replace('log-softmax ', '')}, {numbers.name(row.ood)}")
        top += len(rows) + 2.6
    axis.set_xscale("symlog", linthresh=10, linscale=1.0)
    axis.axvline(0, color=plots.GREY, lw=0.8)
    marks = [-50, -10, -5, 0, 5, 10, 50]
    axis.set_xticks(marks, [f"{mark:+d}" if mark else "0" for mark in marks])
    axis.set_yticks(ticks, names, fontsize=10)
    axis.set(xlim=(-60, 60), ylim=(top, 0), xlabel="difference, points")
    axis.grid(axis="y", visible=False)
    return figure
