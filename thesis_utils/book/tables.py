"""The book's numbers as one tidy frame, and the chapters' tables made of it.

    tables.tidy("compact", "cifar10")            # a row a number of ours, the thesis' beside it

The chapters' tables are DataFrames of text, ready for `show`. A run that is not there yet leaves
"not recorded yet" in its place.
"""

from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import compress, product

import numpy as np
import pandas as pd

from thesis_utils import metrics, runs
from thesis_utils.book import formatting, thesis
from thesis_utils.book.formatting import MISSING, NONE, absent, by_network, label, model_label
from thesis_utils.models import LAYERS
from thesis_utils.runs import run as store
from thesis_utils.runs.config import ACCURACY_GRID, GRID
from thesis_utils.scorers import sign

AREA = ["auroc", "auroc_low", "auroc_high"]
NETWORK, OOD = "network", "out-distribution"
METHODS = {  # what the thesis' tables call it, and the score; of several the best layer's, an oracle
    "accuracy": ("accuracy", None),
    "MSP": ("msp", "fc/msp"),
    "MiSP": ("misp", "fc/misp"),
    "ASP": ("asp", "fc/asp"),
    "Mahalanobis ensemble": ("mahalanobis_ensemble", "ensemble/mahalanobis_none"),
    "best aggregation": ("best_aggregation", "layer.*_of_.*"),
}


# --- the numbers ------------------------------------------------------------------------------------


def grid(profile=None, dataset=None, cells=GRID, get=runs.find, **overrides):
    """{(activation, lambda): what `get` finds of it} for a profile and in-distribution: a run, or None."""
    configure = partial(runs.configure, profile, dataset=dataset, **overrides)
    return {cell: get(configure(activation=cell[0], entropy_factor=cell[1])) for cell in cells}


def scored(run, ood, scores, reading="fixed_direction"):
    """The metrics (shares, 0 to 1) of the scores that match a regular expression, by score."""
    table = run.metrics(ood)
    return table[table.reading.eq(reading) & table.score.str.fullmatch(scores)].set_index("score")


def best_score(run, ood, scores="layer.*_of_.*"):
    """The metrics of that of the scores which is best in its better direction (an oracle): a Series by its name."""
    table = scored(run, ood, scores, "best_direction")
    return table.loc[table.auroc.idxmax()]


def per_layer(run, ood, score, reading="best_direction"):
    """AUROC (0 to 1) of one score at each of the run's layers: a Series."""
    return scored(run, ood, f"layer.*/{score}", reading).auroc.rename(lambda name: name.split("/")[0])


def measured(run, ood, scores):
    """{reading: (score, number, low, high)}, in percent, of the best of some scores; without any, of the test accuracy.

    The intervals are DeLong's for an AUROC, the binomial a +- 1.96 sqrt(a (1 - a) / N) for an accuracy a.
    """
    if scores:
        table, name = run.metrics(ood), best_score(run, ood, scores).name
        areas = 100 * table[table.score.eq(name)].set_index("reading")[AREA]
        return {reading: (name, *area) for reading, *area in areas.itertuples()}
    share, count = run.accuracy(), len(run.scores(run.config.dataset))
    half = 1.96 * (share * (1 - share) / count) ** 0.5
    return {"": (None, 100 * share, 100 * max(share - half, 0), 100 * min(share + half, 1))}


def tidy(profile=None, dataset=None, methods=METHODS, cells=GRID, oods=None, all_seeds=True):
    """All numbers of a profile and in-distribution that the thesis' tables have, or could have: a row a number of ours.

    `methods` are of METHODS, `cells` are networks (activation, lambda), `oods` data sets or folders of images; without
    any, the usual ones and whatever else was scored. `all_seeds=False` takes each network's first only. Columns:

    - in-distribution, network, out-distribution ("test" for the accuracy), method: what was measured;
    - seed, reading: of `metrics.READINGS`, "" for the accuracy;
    - score: whose number it is, of "best aggregation" the one that is best in its better direction (an oracle);
    - ours, low, high: AUROC or accuracy in percent, with its 95 % interval over the images;
    - thesis, note: the thesis' number in percent, whatever the reading, and what it says beside it.

    What is not there is nan. A network without a run has rows without a seed, one that lacks a set's scores has them
    with its first seed.
    """
    dataset = dataset or runs.configure(profile).dataset
    models = grid(profile, dataset, cells, runs.seeds)
    usual = runs.OUT_DISTRIBUTIONS.get(dataset, ())
    extra = {name for found in models.values() for run in found for name in run.out_distributions()} - set(usual)
    rows = []
    for network, found in models.items():
        found = found if all_seeds else found[:1]
        nothing = (found[0].config.seed if found else None, *4 * [np.nan])
        for method in methods:
            key, scores = METHODS[method]
            for ood in (oods or [*usual, *sorted(extra)]) if scores else ["test"]:
                place = (dataset, model_label(*network), ood, method)
                theirs = thesis.value(dataset, *network, ood, key) or (np.nan, "")
                can = [ood in ("test", *run.out_distributions()) or oods and run.can_score(ood) for run in found]
                ours = [
                    (reading, run.config.seed, *number)
                    for run in compress(found, can)
                    for reading, number in measured(run, ood, scores).items()
                ]
                ours = ours or [(reading, *nothing) for reading in (metrics.READINGS if scores else [""])]
                rows += [(*place, *number, *theirs) for number in ours]
    columns = ["in-distribution", NETWORK, OOD, "method", "reading", "seed", "score", "ours", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "thesis", "note"]).astype({"seed": "Int64"})


# --- the chapters' tables ---------------------------------------------------------------------------


def beside(table, reading, sign=""):
    """`tidy`'s rows of one reading as text: the thesis' number, the first seed's with its interval, then all seeds'.

    With `sign` "+" the numbers are differences, and have no interval.
    """
    rows = defaultdict(dict)
    for (network, ood, method), found in table[table.reading.eq(reading)].groupby([NETWORK, OOD, "method"], sort=False):
        first, text = found.iloc[0], absent(found.seed.iloc[0])
        if not np.isnan(first.ours):
            text = f"{first.ours:+.2f}" if sign else formatting.interval(*first[["ours", "low", "high"]])
            text += formatting.over_seeds(found.ours, sign)
        rows[network, ood] |= {
            (method, "thesis"): formatting.thesis_number(first.thesis, first.note, sign),
            (method, "ours"): text,
        }
    return by_network(rows)


def accuracy(profile=None, dataset=None):
    """Test accuracy in percent, thesis beside ours (slides 6, 21 and 35), with a 95 % interval over the images.

    In square brackets the mean over several seeds, and from the lowest to the highest.
    """
    dataset = dataset or runs.configure(profile).dataset
    cells = [cell for cell in ACCURACY_GRID if dataset != "cifar100" or cell in GRID]
    return beside(tidy(profile, dataset, ["accuracy"], cells), "").droplevel(OOD)["accuracy"]


def benchmark(methods, profile=None, dataset=None, reading="fixed_direction"):
    """AUROC at the final layer and of the ensemble, thesis beside ours (slides 22, 23 and 36).

    In square brackets the mean over several seeds, and from the lowest to the highest. A method of which the thesis has
    no number at all has no column of the thesis.
    """
    frame = beside(tidy(profile, dataset, methods), reading)
    return frame.drop(columns=[name for name in frame if name[1:] == ("thesis",) and frame[name].eq(NONE).all()])


def gain(profile=None, dataset=None):
    """AUROC of MiSP minus that of MSP at the final layer, in points: positive, says the thesis' second claim.

    In square brackets the mean over several seeds, and from the lowest to the highest.
    """
    table, numbers = tidy(profile, dataset, ["MiSP", "MSP"]), ["ours", "thesis"]
    misp, msp = (table[table.method.eq(name)].reset_index(drop=True) for name in ("MiSP", "MSP"))
    misp[numbers] -= msp[numbers]
    return beside(misp.assign(method="MiSP − MSP", note=""), "fixed_direction", "+")


def best(profile=None, dataset=None, oods=None):
    """The best final-layer or ensemble score and the best intermediate one (slide 28; 36 for CIFAR-100).

    Both are oracles: the score, the layer and the direction are chosen on the tested out-distribution. Beside the
    intermediate one stands what the same score at the same layer gives in the two readings that do not choose the
    direction, fixed and two-sided.
    """
    rows, (*finals, inner) = {}, ("MSP", "Mahalanobis ensemble", "best aggregation")
    table = tidy(profile, dataset, (*finals, inner), oods=oods, all_seeds=False)
    for place, found in table.groupby([NETWORK, OOD], sort=False):
        final = found[found.method.isin(finals) & found.reading.eq("fixed_direction")]
        final = final.set_index(final.method.str.removeprefix("Mahalanobis "))
        layer = found[found.method.eq(inner)].set_index("reading")
        oracle = layer.loc["best_direction"]
        theirs, ours = NONE, [absent(oracle.seed)] * 4
        if final.thesis.notna().any():
            theirs = f"{final.thesis.max():.2f}\n({final.thesis.idxmax()})"
        if not np.isnan(oracle.ours):
            ours = [f"{final.ours.max():.2f}\n({final.ours.idxmax()})",
                    f"{oracle.ours:.2f}\n({formatting.score_label(oracle.score)})",
                    *(f"{layer.ours[reading]:.2f}" for reading in ("fixed_direction", "two_sided"))]  # fmt: skip
        rows[place] = {
            ("MSP or ensemble", "thesis"): theirs,
            ("MSP or ensemble", "ours"): ours[0],
            ("best layer (oracle)", "thesis"): formatting.thesis_number(oracle.thesis, oracle.note),
            ("best layer (oracle)", "ours"): ours[1],
            ("its other readings", "fixed"): ours[2],
            ("its other readings", "two-sided"): ours[3],
        }
    return by_network(rows).replace(" layer", "\nlayer", regex=True)


def mixed(near, far, share, seed=0):
    """As many images as the smaller set has: `share` (0 to 1) of them from `far`, the rest from `near`.

    Returns (part of near, part of far). One seed gives nested parts: a larger share keeps the far images of a smaller.
    """
    count = min(len(near), len(far))
    take = round(share * count)
    near, far = (part.sample(count, random_state=seed) for part in (near, far))
    return near.iloc[take:], far.iloc[:take]


def mixtures(run, near, far, shares):
    """AUROC (percent) of min of MiSP at the layers and of MiSP at `fc`, against mixtures of two out-distributions.

    One direction a layer, the better one on the even mixture (an oracle); at `fc` the fixed one. Rows: layers and
    fc; columns: the share of `far`.
    """
    known, parts, rows = run.scores(run.config.dataset), (run.scores(near), run.scores(far)), {}
    even, *unknown = (pd.concat(mixed(*parts, share)) for share in (0.5, *shares))
    for column in [*known.filter(regex=r"^layer.*/min_of_misp$"), "fc/misp"]:
        direction, layer = sign(column), column.split("/")[0]
        if layer != "fc" and metrics.fixed_direction(known[column], even[column], direction) < 0.5:
            direction = -direction
        areas = [100 * metrics.fixed_direction(known[column], images[column], direction) for images in unknown]
        rows[layer] = dict(zip(shares, areas))
    return pd.DataFrame.from_dict(rows, orient="index")


def mixture_metrics(run, near, far, shares, column="fc/misp"):
    """Five metrics (percent) of one score against mixtures; rows: the share of `far`."""
    known, parts = sign(column) * run.scores(run.config.dataset)[column], (run.scores(near), run.scores(far))
    rows = {}
    for share in shares:
        unknown = sign(column) * pd.concat(mixed(*parts, share))[column]
        rows[share] = {
            "AUROC": metrics.auroc(known, unknown),
            "FPR95, ID positive": metrics.fpr_at_tpr(known, unknown),
            "FPR95, OOD positive": metrics.fpr_at_tpr(-unknown, -known),
            "AUPR, ID positive": metrics.aupr(known, unknown),
            "AUPR, OOD positive": metrics.aupr(known, unknown, positive="out"),
        }
    return 100 * pd.DataFrame.from_dict(rows, orient="index")


MAIN = {  # what `by_profile` follows: the method of `thesis.value`, or the block; the scores
    "accuracy": ("accuracy", None),
    "MSP at fc": ("msp", "fc/msp"),
    "MiSP at fc": ("misp", "fc/misp"),
    "min of MiSP, block 1": (1, "layer1.*/min_of_misp"),
    "min of MiSP, block 4": (4, "layer4.*/min_of_misp"),
    "Mahalanobis ensemble": ("mahalanobis_ensemble", "ensemble/mahalanobis_none"),
}


def by_profile(dataset="cifar10", oods=("cifar100", "svhn", "places9_resize", "places9_fix")):
    """The main numbers (percent) of every profile, at each length recorded on an in-distribution; then the thesis'.

    A row a measure of MAIN, out-distribution ("test" for the accuracy), network and place (a network's width and
    epochs, or "thesis"): `ours` the mean over seeds, `low` and `high` their range. Of a block the mean of its layers,
    each in its better direction.
    """
    rows = []
    networks = [
        runs.configure(profile, dataset=dataset, activation=activation)
        for profile, activation in product(runs.PROFILES, ("relu", "log_softmax"))
    ]
    lengths = (replace(one, epochs=count) for one in networks for count in runs.epochs(one))
    for config in sorted(lengths, key=lambda one: (one.width, one.epochs)):
        activation = config.activation
        place = f"width {config.width}\n{config.epochs} epochs"
        for (measure, (_, scores)), ood in product(MAIN.items(), ("test", *oods)):
            if (scores is None) == (ood == "test"):
                found = [run for run in runs.seeds(config) if ood in ("test", *run.out_distributions())]
                reading = "best_direction" if measure.startswith("min") else "fixed_direction"
                values = [100 * (scored(run, ood, scores, reading).auroc.mean() if scores else run.accuracy())
                          for run in found]  # fmt: skip
                if values:
                    rows.append((measure, ood, activation, place, np.mean(values), min(values), max(values)))
    for (measure, (method, _)), activation in product(MAIN.items() if rows else (), ("relu", "log_softmax")):
        for ood in {row[1] for row in rows if row[0] == measure}:
            value = theirs(dataset, activation, ood, method)
            if value is not None:
                rows.append((measure, ood, activation, "thesis", value, value, value))
    return pd.DataFrame(rows, columns=["measure", "ood", "activation", "place", "ours", "low", "high"])


def theirs(dataset, activation, ood, method):
    """The thesis' number of a measure of MAIN, for the scenes LSUN's; None where it has none."""
    if isinstance(method, str):
        found = thesis.value(dataset, activation, 0.0, thesis.name_of(ood), method)
        return found and found[0]
    curve = thesis.curve((activation, 0.0), ood, dataset) if activation == "log_softmax" else None
    inside = [name.startswith(f"layer{method}") for name in LAYERS]
    return None if curve is None else curve[inside].mean()


def recorded():
    """The runs of `results/`, then your own of the book's profile: what each reached and where it came from."""
    mine = [run for run in runs.every(store.OWN) if run.config.profile == runs.configure().profile]
    rows = {}
    for run in [*runs.every(store.RECORDED), *mine]:
        config, origin = run.config, run.provenance
        rows[config.name] = {
            "epochs": config.tuning_epochs or config.epochs,
            "accuracy": f"{100 * run.accuracy():.2f}" if config.dataset in run.scored() else NONE,
            "trained for": f"{origin['wall_seconds'] / 60:.0f} min" if "wall_seconds" in origin else NONE,
            "on": f"{origin['device']}, {origin['precision']}\ntorch {origin['versions']['torch']}",
            "code": origin["code"],
            "date": origin["date"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run") if rows else pd.DataFrame({"run": [MISSING]})


# --- around a table ---------------------------------------------------------------------------------


def made_by(models, all_seeds=False):
    """One sentence for a caption: which profile, how many epochs and seeds, which images and which precision.

    `all_seeds`: the caption's table shows the runs of other seeds besides.
    """
    found = [run for run in models if run]
    if all_seeds:
        found = [one for run in found for one in runs.seeds(run.config)]
    if not found:
        return "No run of this profile is recorded yet."
    config = found[0].config
    images = len(found[0].scores(config.dataset))
    epochs = sorted({run.config.epochs for run in found})
    datasets = list(dict.fromkeys(run.config.dataset for run in found))
    seeds = len({run.config.seed for run in found})
    return (
        f"Profile {config.profile}: ResNet-34 of width {config.width}, {' or '.join(map(str, epochs))} epochs, "
        f"{'one seed' if seeds == 1 else f'up to {seeds} seeds'}, trained on {' or '.join(datasets)} in "
        f"{precisions(found, seeds > 1)}; {images:,} in-distribution test images."
    )


def without_lsun(models):
    """For a caption: why the rows of LSUN have the thesis' numbers only; empty where ours are there, or no such row."""
    found = [one for run in models if run for one in runs.seeds(run.config)]
    usual = {name for run in found for name in runs.OUT_DISTRIBUTIONS.get(run.config.dataset, ())}
    if "lsun" not in usual or any("lsun" in run.scored() for run in found):
        return ""
    return (
        " Rows lsun: the thesis' third set, of which these runs had no copy; only its numbers stand there. "
        "Rows places9_*: scenes of nine of LSUN's ten categories, shrunk to 32 pixels without antialiasing (resize, as "
        "LSUN-resize was) and with it (fix); they are other images, and the thesis has no numbers for them."
    )


def precisions(found, several_seeds):
    """The precision of most trainings, and in brackets which networks were trained in another."""
    networks = defaultdict(list)
    for run in found:
        seed = f", seed {run.config.seed}" if several_seeds else ""
        networks[run.provenance["precision"]].append(f"{label(run)} on {run.config.dataset}{seed}")
    usual, *others = sorted(networks, key=lambda precision: -len(networks[precision]))
    return usual + "".join(f" (in {precision}: {'; '.join(networks[precision])})" for precision in others)


def show(table, caption):
    """A table as the book shows it: a caption above, nothing abbreviated."""
    cell = "text-align: left; vertical-align: top; padding: 0.2em 0.45em"
    looks = {
        "": "font-size: 0.8em; border-collapse: collapse",
        "caption": "caption-side: top; text-align: left; padding: 0.5em 0",
        "th": f"{cell}; font-weight: 600",
        "td": f"{cell}; white-space: pre-line",
    }
    styles = [{"selector": selector, "props": props} for selector, props in looks.items()]
    return table.style.format(precision=2).set_caption(caption).set_table_styles(styles)
