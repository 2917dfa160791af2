"""A verdict on every claim and every number of the thesis, from whatever runs there are.

A number of the thesis is one draw, of one network: it is compared by a prediction interval. Seeds of one kind of number
(score x set x network) deviate by sigma, pooled over all recorded widths with several seeds, so that a width with one
seed gets the same sigma; with n seeds the half width is t sqrt(sigma^2 (1 + 1/n) + the images' variance).

Every claim of `claims.csv` is a difference, quantity(network) minus quantity(network), on some sets; `quantities` has
what that is in our runs and in the thesis. Numbers are in percent, differences in points.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from thesis_utils.book import numbers, tables, thesis
from thesis_utils.book.quantities import AT, ENTROPY, OF_DRAW, PLAIN, RELU, SCENES, draws, measured, of_width, theirs

CLAIMS = pd.read_csv(Path(__file__).with_name("claims.csv"), keep_default_na=False)
HOLDS, FAILS, OPEN, ABSENT = "holds", "against it", "open", "not recorded"  # what a cell says
REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"  # of a claim; else OPEN or ABSENT
CONSISTENT, DIFFERENT, INCOMPARABLE, NO_IMAGES, MISPRINT = LABELS = (
    "consistent", "different", "network not comparable", "no such images", "misprint",
)  # fmt: skip
MARGIN = 1.0  # points that count as nothing where the thesis says "comparable", "close", "competitive", "retain"
LEAST_FREEDOM = 2  # degrees of freedom from which on the seeds of one kind of number are believed alone

# --- intervals ----------------------------------------------------------------------------------------


@numbers.cached
def sigma(dataset, quantity, minus, network, ood):
    """(sigma^2, degrees of freedom) of the seeds of such a number, over all widths.

    Where they are too few, of the same network's on CIFAR-10, and then of all of the thesis' networks there.
    """
    near = "cifar100" if ood == "cifar10" else ood
    for kind in ([(dataset, network, ood)], [("cifar10", network, near)],
                 [("cifar10", one, near) for one in (RELU, PLAIN, ENTROPY)]):  # fmt: skip
        squares = freedom = 0
        for data, one, other in kind:
            table = draws(data, quantity, minus, one, other)
            groups = table.groupby(AT).value
            squares += ((table.value - groups.transform("mean")) ** 2).sum()
            freedom += len(table) - groups.ngroups
        if freedom >= LEAST_FREEDOM:
            break
    return (squares / freedom, freedom) if freedom else (np.nan, np.nan)


def predicted(*sides):
    """(value, standard error, degrees of freedom, seeds) of a new network's number, or of one minus another's.

    Each side is (`draws` of one width, sigma^2, degrees of freedom); those together are Welch's and Satterthwaite's.
    """
    value = variance = uncertain = 0.0
    for sign, (table, square, freedom) in zip((1, -1), sides):
        of_seeds = square * (1 + 1 / len(table))
        value += sign * table.value.mean()
        variance += of_seeds + table.variance.mean()
        uncertain += of_seeds**2 / freedom
    freedom = min(variance**2 / uncertain, 1e6) if uncertain else 1e6  # without end: the normal distribution
    return value, variance**0.5, freedom, min(len(table) for table, *_ in sides)


def holm(p, level=0.05):
    """The index of the hypotheses that fall, stepping down (Holm 1979); p is a Series."""
    ordered = p.sort_values()
    fallen = (ordered <= level / np.arange(len(ordered), 0, -1)).cummin()
    return ordered.index[fallen]


# --- claims -------------------------------------------------------------------------------------------


@numbers.cached
def cells(scenes=SCENES[0]):
    """Every difference that a claim is about, at every width: a row a (claim, network, ood, width).

    bound_low, bound_high: where the claim wants it; counts: whether the thesis' own number is there, or its words say
    so (named); ours, low, high: with the prediction interval; p: two-sided, that it is beyond a bound by chance;
    seeds, outcome. What the thesis says of LSUN is read on `scenes`. Widths are those of the recorded networks that are
    as their profile has them.
    """
    known = [found for (dataset, _), found in measured().items() if dataset in {*CLAIMS.dataset}]
    widths = sorted({dict(zip(OF_DRAW, key))["width"] for found in known for key, *_ in found if key[-1]})
    rows = []
    for row in CLAIMS.itertuples():
        for network in row.networks.split("; "):
            for ood in row.sets.replace("lsun", scenes).split():
                sides, label = [(row.dataset, row.quantity, row.minus, network, ood)], network
                if row.minus_network:
                    sides = [(row.dataset, row.quantity, "", network, ood),
                             (row.dataset, row.minus, "", row.minus_network, ood)]  # fmt: skip
                    label = f"{network} − {row.minus_network}"
                their = theirs(*sides[0]) - (theirs(*sides[1]) if sides[1:] else 0)
                for width in widths:
                    found = [of_width(width, *side) for side in sides]
                    ours = (np.nan, np.nan, np.nan, 0)
                    if all(map(len, found)):
                        ours = predicted(*((table, *sigma(*side)) for table, side in zip(found, sides)))
                    rows.append((row.claim, row.kind, label, ood, their, row.named == "yes", width, *ours))
    names = ["claim", "kind", "network", "ood", "thesis", "named", "width", "ours", "error", "freedom", "seeds"]
    return judged(
        pd.DataFrame(rows, columns=names).astype(dict.fromkeys(["thesis", "ours", "error", "freedom"], float))
    )


def judged(table):
    """Adds the bounds, which cells count, their intervals and outcomes; a cell fails after Holm's correction only."""
    near, far = (table.groupby("claim").thesis.transform(how) for how in (min, lambda found: found.abs().max()))
    comparable, no_worse = table.kind.eq("comparable"), table.kind.eq("no worse")
    low = np.where(comparable, -far - MARGIN, np.where(no_worse, near.clip(upper=0) - MARGIN, 0.0))
    table = table.assign(bound_low=low, bound_high=np.where(comparable, far + MARGIN, np.inf))
    table["counts"] = table.named | (table.thesis.gt(table.bound_low) & table.thesis.lt(table.bound_high))
    half = stdtrit(table.freedom, 0.975) * table.error
    table = table.assign(low=table.ours - half, high=table.ours + half)
    beyond = np.maximum(table.bound_low - table.ours, table.ours - table.bound_high)
    table["p"] = (2 - 2 * stdtr(table.freedom, beyond / table.error)).clip(upper=1)
    holds = table.low.gt(table.bound_low) & table.high.lt(table.bound_high)
    table["outcome"] = np.where(table.ours.isna(), ABSENT, np.where(holds, HOLDS, OPEN))
    for _, found in table[table.counts & table.ours.notna()].groupby(["claim", "width"]):
        table.loc[holm(found.p), "outcome"] = FAILS
    return table


def claims(scenes=SCENES[0]):
    """A row a (claim, width): verdict, how many cells hold and are missing, of how many; the fewest seeds of one."""
    rows = []
    for (claim, width), found in cells(scenes).query("counts").groupby(["claim", "width"], sort=False):
        outcomes = set(found.outcome)
        verdict = OPEN if outcomes != {HOLDS} else REPRODUCED
        verdict = NOT_REPRODUCED if FAILS in outcomes else ABSENT if outcomes == {ABSENT} else verdict
        seeds = found.seeds[found.seeds.gt(0)].min()
        hold, missing = found.outcome.eq(HOLDS).sum(), found.outcome.eq(ABSENT).sum()
        rows.append((claim, width, verdict, hold, missing, len(found), seeds))
    return pd.DataFrame(rows, columns=["claim", "width", "verdict", "hold", "missing", "cells", "seeds"])


def matrix(scenes=SCENES[0]):
    """Claims x widths: the verdicts, in the order of the slides."""
    return claims(scenes).pivot(index="claim", columns="width", values="verdict").reindex(CLAIMS.claim.unique())


def on_widest(scenes=SCENES[0], width=None):
    """Of each claim the row of `claims` at the widest recorded width that has it, or at `width`; it is the verdict."""
    found = claims(scenes)
    found = found[found.verdict.ne(ABSENT) & (True if width is None else found.width.eq(width))]
    return found.groupby("claim").last().reindex(CLAIMS.claim.unique())


# --- numbers ------------------------------------------------------------------------------------------

METHODS = {"accuracy": "accuracy", "msp": "MSP", "misp": "MiSP", "mahalanobis_ensemble": "ensemble",
           "best_aggregation": "best aggregation"}  # fmt: skip


@numbers.cached
def judged_numbers(scenes=SCENES[0]):
    """Every number of the thesis' tables beside ours, of the width that comes nearest to the thesis' accuracy.

    ours, low, high: with the prediction interval, percent; off: our accuracy minus the thesis', points; label: one of
    LABELS, or ABSENT, also where no seeds tell how much such numbers vary. What stands beside a number on LSUN is ours
    on `scenes`.
    """
    rows = []
    for row in thesis.TABLES.sort_values("slide", kind="stable").itertuples():
        network = numbers.network(row.activation, row.entropy_factor)
        kind = row.dataset, METHODS[row.method], "", network, row.ood.replace("lsun", scenes)
        of_accuracy = row.dataset, "accuracy", "", network, "test"
        off = draws(*of_accuracy).query("usual").groupby("width").value.mean() - theirs(*of_accuracy)
        width = off.abs().idxmin() if len(off) else np.nan
        found = [of_width(width, *one) for one in (of_accuracy, kind)]
        ours = reach = seeds = np.nan
        label = ABSENT
        if all(map(len, found)):
            (_, error, freedom, _), (ours, *of_ours, seeds) = (
                predicted((table, *sigma(*one))) for table, one in zip(found, (of_accuracy, kind))
            )
            reach = stdtrit(of_ours[1], 0.975) * of_ours[0]
            known = np.isfinite(error + reach)  # without a second seed anywhere there is no telling
            near = row.method == "accuracy" or abs(off[width]) <= stdtrit(freedom, 0.975) * error + MARGIN
            label = INCOMPARABLE if not near else CONSISTENT if abs(ours - row.value) <= reach else DIFFERENT
            label = label if known else ABSENT
        label = MISPRINT if row.note == MISPRINT else NO_IMAGES if row.ood == "lsun" else label
        rows.append((row.slide, row.dataset, network, row.ood, row.method, row.value, width, seeds, ours, ours - reach,
                     ours + reach, off.get(width, np.nan), label))  # fmt: skip
    names = ["slide", "dataset", "network", "ood", "method", "thesis", "width", "seeds", "ours", "low", "high", "off"]
    return pd.DataFrame(rows, columns=[*names, "label"])


# --- the first page's table ---------------------------------------------------------------------------

DIFFERENCES = (  # what the table calls a difference, its claim, its chapter, and its sides, as `draws` takes them
    ("accuracy: log-softmax − ReLU", "accuracy", "01_train",
     ("cifar10", "accuracy", "", PLAIN, "test"), ("cifar10", "accuracy", "", RELU, "test")),
    ("MiSP − MSP, CIFAR-100", "misp", "02_benchmark", ("cifar10", "MiSP", "MSP", PLAIN, "cifar100")),
    ("MiSP − MSP, SVHN", "misp", "02_benchmark", ("cifar10", "MiSP", "MSP", PLAIN, "svhn")),
    ("stage 1 − stage 4, SVHN", "early-late", "03_layerwise", ("cifar10", "stage 1", "stage 4", PLAIN, "svhn")),
    *((f"stage 1 − stage 4, {numbers.name(scenes)}", "early-late", "09_aliasing",
       ("cifar10", "stage 1", "stage 4", PLAIN, scenes)) for scenes in SCENES),
)  # fmt: skip
WINS = (  # of min of MiSP, by how its layer and direction are chosen; the thesis' claim is the first
    ("wins over the ensemble, %, chosen on the tested set", "ensemble", "best layer"),
    ("wins over the ensemble, %, fixed: layer 1.2, two-sided", "", "layer1.2, two-sided"),
)
OF_FRONT = ["difference", "claim", "chapter", "verdict", "thesis", *AT, "mean", "low", "high", "seeds", "pairs", "runs"]
MOVED = 5  # points from which on a run of another length or recipe says something else

CAPTION = (
    "Log-softmax networks (λ = 0) on CIFAR-10, in points of accuracy or AUROC: mean [lowest to highest seed, of "
    "accuracy pair of seeds], or one network's (interval). Inner layers are read in the better direction, as in the "
    "thesis; wins count λ = 0.01 too. Beside the scenes stand the thesis' numbers on LSUN. Networks are of the newer "
    "recipe where there are such; others are added where they say the opposite, or differ by more than "
    f"{MOVED} points. The verdict is the claim's, on all its networks and sets, not the row's."
)


def front():
    """The claims' key differences in log-softmax networks (lambda 0) on CIFAR-10: a row a difference, width and recipe.

    mean, low, high (points; over the seeds, of one seed 95 % over the images), seeds, thesis, runs, and claim, chapter
    and verdict. Wins are percent of the `pairs` of a network, lambda 0 or 0.01, and a set.
    """
    rows = []
    for label, claim, chapter, *sides in DIFFERENCES:
        verdict = on_widest(sides[0][-1] if sides[0][-1] in SCENES else SCENES[0]).verdict[claim]
        place = label, claim, chapter, verdict, theirs(*sides[0]) - (theirs(*sides[1]) if sides[1:] else 0)
        found = [dict(list(draws(*side).groupby(AT))) for side in sides]
        for at in sorted(set.intersection(*map(set, found))):
            values = found[0][at].value.to_numpy()
            values = np.subtract.outer(values, found[1][at].value.to_numpy()) if sides[1:] else values
            seeds = min(len(each[at]) for each in found)
            half = 1.96 * sum(each[at].variance.mean() for each in found) ** 0.5 if seeds == 1 else 0
            names = [name for each in found for name in each[at].run]
            rows.append((*place, *at, values.mean(), values.min() - half, values.max() + half, seeds, np.nan, names))
    for label, claim, quantity in WINS:
        kinds = [("cifar10", quantity, "ensemble", network, ood) for network in (PLAIN, ENTROPY)
                 for ood in ("cifar100", "svhn", *SCENES)]  # fmt: skip
        their = pd.Series([theirs(*kind) for kind in kinds if kind[-1] != SCENES[1]]).dropna().gt(0)  # one LSUN
        place = label, claim, "06_baselines", on_widest().verdict.get(claim, ""), 100 * their.mean()
        found = pd.concat([draws(*kind).assign(kind=number) for number, kind in enumerate(kinds)])
        for at, table in found.groupby(AT):
            seeds = table.groupby("kind").size().min()
            rows.append((*place, *at, 100 * table.value.gt(0).mean(), np.nan, np.nan, seeds, len(table), [*table.run]))
    return pd.DataFrame(rows, columns=OF_FRONT).astype({"mean": float, "pairs": float})


def front_table(found):
    """`front` as text: a row a difference; columns thesis, a width each, verdict and chapter.

    Of a width's runs those are shown that are as their profile has them, or else the longest. Runs of another length or
    recipe are there where they say something else: the opposite, or another number by more than MOVED points.
    """
    ranked = found.sort_values(["usual", "epochs"], ascending=False, kind="stable")
    first = ranked.groupby(["difference", "width"])["mean"].transform("first")
    ahead, before = (np.sign(side - 50 * ranked.pairs.notna()) for side in (ranked["mean"], first))
    lengths, texts = found.groupby("width").epochs.nunique(), defaultdict(dict)
    shown = ~ranked.duplicated(["difference", "width"]) | ((first - ranked["mean"]).abs() > MOVED) | (ahead != before)
    for row in ranked[shown].itertuples():
        sign, digits = ("+", 1) if np.isnan(row.pairs) else ("", 0)
        ours = tables.spread(row.mean, row.low, row.high, row.seeds, sign, digits)
        ours += "\none seed" * (row.seeds == 1)
        if not row.usual:
            ours += f"\n(older recipe, {row.epochs} epochs)" if lengths[row.width] > 1 else "\n(older recipe)"
        line, width = texts[row.difference], f"width {row.width}"
        line[width] = f"{line[width]}\n{ours}" if width in line else ours
        their = tables.spread(row.thesis, sign=sign, digits=digits)
        line |= {"thesis": their, "verdict": row.verdict or tables.NONE, "chapter": row.chapter}
    columns = ["thesis", *(f"width {width}" for width in sorted(set(found.width))), "verdict", "chapter"]
    table = pd.DataFrame.from_dict(texts, orient="index").reindex(found.difference.unique(), columns=columns)
    return table.fillna(tables.NONE).rename_axis("difference")
