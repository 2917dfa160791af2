"""The book's tables: the thesis' number, ours with its interval, and where ours came from.

Each function returns a DataFrame of text, ready for `show`. A run that is not there yet leaves
"not recorded yet" in its place.
"""

import numpy as np
import pandas as pd

from thesis_utils import data, metrics, runs
from thesis_utils.book import thesis
from thesis_utils.models import LAYERS
from thesis_utils.runs import store
from thesis_utils.runs.config import ACCURACY_GRID, GRID
from thesis_utils.runs.config import sizes as parsed
from thesis_utils.scorers import sign

MISSING = "not recorded yet"
UNSCORED = "not scored"  # the run is there, but has no scores of that set
NONE = "–"
METHODS = {
    "MSP": ("msp", "fc/msp"),
    "MiSP": ("misp", "fc/misp"),
    "ASP": ("asp", "fc/asp"),
    "Mahalanobis ensemble": ("mahalanobis_ensemble", "ensemble/mahalanobis_none"),
}


def model_label(activation, entropy_factor=0.0):
    """How the book names a network: ReLU, softmax or log-softmax with its lambda."""
    if activation == "log_softmax":
        return f"log-softmax, λ = {entropy_factor:g}"
    return {"relu": "ReLU", "softmax": "softmax"}[activation]


def label(run):
    return model_label(run.config.activation, run.config.entropy_factor)


def grid(profile=None, dataset=None, cells=GRID, get=runs.find, **overrides):
    """{(activation, lambda): what `get` finds of it} for a profile and in-distribution: a run, or None."""
    return {
        (activation, factor): get(
            runs.configure(profile, dataset=dataset, activation=activation, entropy_factor=factor, **overrides)
        )
        for activation, factor in cells
    }


def interval(value, low, high):
    """A share in percent with its 95 % interval below."""
    return f"{100 * value:.2f}\n({100 * low:.1f}\N{WORD JOINER}–\N{WORD JOINER}{100 * high:.1f})"


def over_seeds(values, sign=""):
    """What stands below one seed's share where there are more: "[mean: lowest–highest]", in percent.

    With `sign` "+" the numbers are differences, and have theirs.
    """
    if len(values) < 2:
        return ""
    to = " to " if sign else "\N{WORD JOINER}–\N{WORD JOINER}"
    mean, low, high = (f"{100 * value:{sign}.1f}" for value in (np.mean(values), min(values), max(values)))
    return f"\n[{mean}:\N{NO-BREAK SPACE}{low}{to}{high}]"


def thesis_cell(dataset, activation, factor, ood, method):
    found = thesis.value(dataset, activation, factor, ood, method)
    if found is None:
        return NONE
    value, note = found
    return f"{value:.2f}\n({note})" if note else f"{value:.2f}"


def absent(run):
    """What stands where a number of ours is missing."""
    return UNSCORED if run else MISSING


def metrics_row(run, ood, score, reading):
    """The metrics row of one score."""
    table = run.metrics(ood)
    return table[table.score.eq(score) & table.reading.eq(reading)].iloc[0]


def pick(run, ood, score, reading):
    """The metrics row of one score, or None where there is no run or `ood` is none of its sets."""
    if run is None or ood not in run.out_distributions():
        return None
    return metrics_row(run, ood, score, reading)


def with_seeds(run, ood):
    """The runs that differ from `run` in the seed at most and have `ood` scored."""
    return [one for one in runs.seeds(run.config) if ood in one.out_distributions()]


def out_distributions(dataset, models):
    """The rows of an OOD table: what is usual for the in-distribution, then whatever else was scored."""
    usual = list(runs.OUT_DISTRIBUTIONS.get(dataset, ()))
    extra = {name for run in models.values() if run for name in run.out_distributions()}
    return [*usual, *sorted(extra - set(usual))]


def accuracy_interval(run):
    """(a, low, high) of a run's test accuracy a, with the binomial 95 % interval a +- 1.96 sqrt(a (1 - a) / N)."""
    share, count = run.accuracy(), len(run.scores(run.config.dataset))
    half = 1.96 * (share * (1 - share) / count) ** 0.5
    return share, max(share - half, 0), min(share + half, 1)


def accuracy(profile=None, dataset=None):
    """Test accuracy in percent, thesis beside ours (slides 6, 21 and 35), with a 95 % interval over the images.

    In square brackets the mean over several seeds, and from the lowest to the highest.
    """
    dataset = dataset or runs.configure(profile).dataset
    cells = [cell for cell in ACCURACY_GRID if dataset != "cifar100" or cell in GRID]
    rows = {}
    for (activation, factor), run in grid(profile, dataset, cells).items():
        ours = MISSING
        if run:
            accuracies = [one.accuracy() for one in runs.seeds(run.config)]
            ours = interval(*accuracy_interval(run)) + over_seeds(accuracies)
        theirs = thesis_cell(dataset, activation, factor, "test", "accuracy")
        rows[model_label(activation, factor)] = {"thesis": theirs, "ours": ours}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")


def entropy_costs(models):
    """Points of accuracy that the entropy loss costs: {how it is added up, or "thesis": a Series by lambda}.

    From the short trainings of `experiments/entropy.py`, and from the runs of `models`, {(activation, lambda): run}, on
    CIFAR-10. A mean over pixels that is summed over the 16 layers is, at lambda, what a mean over the layers too is at
    16 lambda. Empty where the short trainings are not recorded.
    """
    short = experiment("entropy")
    if short.empty:
        return {}

    def costs(accuracies, zero):
        return 100 * (accuracies - zero)[accuracies.index > 0]

    zero = short[short.entropy_factor.eq(0)].accuracy.item()
    found = {
        f"{reduction}, short trainings": costs(rows.set_index("entropy_factor").accuracy, zero)
        for reduction, rows in short.groupby("entropy_reduction")
    }
    networks = {factor: run for (activation, factor), run in models.items() if activation == "log_softmax"}
    whole = {factor: run.accuracy() for factor, run in networks.items() if run and run.config.dataset == "cifar10"}
    if 0.0 in whole:
        found["mean, whole trainings"] = costs(pd.Series(whole), whole[0.0])
        found["mean over layers too"] = found["mean, whole trainings"].rename(lambda factor: len(LAYERS) * factor)
    theirs = thesis.TABLES.query("dataset == 'cifar10' and activation == 'log_softmax' and method == 'accuracy'")
    theirs = theirs.set_index("entropy_factor").value / 100
    return found | {"thesis": costs(theirs, theirs[0.0])}


def benchmark(methods, profile=None, dataset=None, reading="fixed_direction"):
    """AUROC at the final layer and of the ensemble, thesis beside ours (slides 22, 23 and 36).

    In square brackets the mean over several seeds, and from the lowest to the highest. A method of which the thesis has
    no number at all has no column of the thesis.
    """
    dataset = dataset or runs.configure(profile).dataset
    models = grid(profile, dataset)
    rows = {}
    for (activation, factor), run in models.items():
        for ood in out_distributions(dataset, models):
            row = {}
            for method in methods:
                key, score = METHODS[method]
                found = pick(run, ood, score, reading)
                row[method, "thesis"] = thesis_cell(dataset, activation, factor, ood, key)
                row[method, "ours"] = absent(run)
                if found is not None:
                    areas = [pick(one, ood, score, reading).auroc for one in with_seeds(run, ood)]
                    row[method, "ours"] = interval(found.auroc, found.auroc_low, found.auroc_high) + over_seeds(areas)
            rows[model_label(activation, factor), ood] = row
    frame = _frame(rows)
    return frame.drop(columns=[name for name in frame if name[1:] == ("thesis",) and frame[name].eq(NONE).all()])


def gain(profile=None, dataset=None):
    """AUROC of MiSP minus that of MSP at the final layer, in points: positive, says the thesis' second claim.

    In square brackets the mean over several seeds, and from the lowest to the highest.
    """
    dataset = dataset or runs.configure(profile).dataset
    models, rows = grid(profile, dataset), {}

    def gained(run, ood):
        misp, msp = (pick(run, ood, f"fc/{key}", "fixed_direction").auroc for key in ("misp", "msp"))
        return misp - msp

    for (activation, factor), run in models.items():
        for ood in out_distributions(dataset, models):
            theirs = [thesis.value(dataset, activation, factor, ood, key) for key in ("misp", "msp")]
            ours = absent(run)
            if run and ood in run.out_distributions():
                gains = [gained(one, ood) for one in with_seeds(run, ood)]
                ours = f"{100 * gained(run, ood):+.2f}{over_seeds(gains, '+')}"
            rows[model_label(activation, factor), ood] = {
                ("MiSP − MSP", "thesis"): NONE if theirs[0] is None else f"{theirs[0][0] - theirs[1][0]:+.2f}",
                ("MiSP − MSP", "ours"): ours,
            }
    return _frame(rows)


def best(profile=None, dataset=None, oods=None):
    """The best final-layer or ensemble score and the best intermediate one (slide 28; 36 for CIFAR-100).

    Both are oracles: the score, the layer and the direction are chosen on the tested out-distribution. Beside the
    intermediate one stands what the same score at the same layer gives in the two readings that do not choose the
    direction, fixed and two-sided.
    """
    dataset = dataset or runs.configure(profile).dataset
    models, rows = grid(profile, dataset), {}
    finals = {"MSP": METHODS["MSP"], "ensemble": METHODS["Mahalanobis ensemble"]}
    for (activation, factor), run in models.items():
        for ood in oods or out_distributions(dataset, models):
            theirs = {
                name: found[0]
                for name, (method, _) in finals.items()
                if (found := thesis.value(dataset, activation, factor, ood, method))
            }
            top = max(theirs, key=theirs.get) if theirs else None
            ours = [absent(run)] * 4
            if run and (ood in run.out_distributions() or oods and run.can_score(ood)):
                table = run.metrics(ood)
                fixed = table[table.reading.eq("fixed_direction")].set_index("score").auroc
                name = max(finals, key=lambda name: fixed[finals[name][1]])
                oracle = best_aggregation(run, ood)
                same = table[table.score.eq(oracle.score)].set_index("reading").auroc
                ours = [
                    f"{100 * fixed[finals[name][1]]:.2f}\n({name})",
                    f"{100 * oracle.auroc:.2f}\n({score_label(oracle.score)})",
                    f"{100 * same['fixed_direction']:.2f}",
                    f"{100 * same['two_sided']:.2f}",
                ]
            rows[model_label(activation, factor), ood] = {
                ("MSP or ensemble", "thesis"): f"{theirs[top]:.2f}\n({top})" if top else NONE,
                ("MSP or ensemble", "ours"): ours[0],
                ("best layer (oracle)", "thesis"): thesis_cell(dataset, activation, factor, ood, "best_aggregation"),
                ("best layer (oracle)", "ours"): ours[1],
                ("its other readings", "fixed"): ours[2],
                ("its other readings", "two-sided"): ours[3],
            }
    return _frame(rows).replace(" layer", "\nlayer", regex=True)


LOGIT_METHODS = ("fc/msp", "fc/misp", "fc/asp", "fc/max_logit", "fc/energy")
PROTOCOLS = {
    "oracle": "tuned on the tested set",
    "held_out": "tuned on another set",
    "none": "tuned on adversarial images",
}
AS_IN_THE_PAPERS = {  # the rows that are made as the numbers of the literature were
    "MSP": "msp", "energy": "energy", "ODIN, tuned on the tested set": "odin",
    "Mahalanobis ensemble with preprocessing, tuned on the tested set": "mahalanobis",
    "Outlier Exposure (MSP)": "outlier_exposure", "energy fine-tuning (energy)": "energy_fine_tuning",
}  # fmt: skip
FINE_TUNED = {"outlier_exposure": ("Outlier Exposure", "fc/msp"), "energy": ("energy fine-tuning", "fc/energy")}
PAPERS = {"svhn": "svhn", "lsun": "lsun_resize"}  # the literature's name of a set of ours


def fine_tuned(run):
    """{method: run} of the networks fine-tuned from `run` with the usual outliers; None where there is none."""
    return {method: runs.find(config) for method, config in runs.fine_tunings(run.config).items()}


def baselines(run, oods=None):
    """Every method on one network: AUROC with its interval, FPR95 below; ResNet-34's numbers in the literature beside.

    Untuned scores and fine-tuned networks: all test images, one direction for all. "Best layer" is an oracle in layer
    and direction. Tuned methods: the fewer images of `baselines.csv`, none of which was tuned on.
    """
    if run is None:
        return _frame({})
    oods, rows = oods or run.out_distributions(), {}
    if compared := run.compared(oods):
        run.baselines(*compared)  # at once: they share the images to tune on
    for ood in oods:
        table = run.metrics(ood)
        fixed = table[table.reading.eq("fixed_direction")].set_index("score")
        column = {score_label(score): summarised(fixed.loc[score]) for score in LOGIT_METHODS if score in fixed.index}
        for name in ("mahalanobis", "min_of_misp"):
            top = best_aggregation(run, ood, f"/{name}")
            column[f"{score_label(name)}, best layer (oracle)"] = f"{summarised(top)}\n{top.score.split('/')[0]}"
        column |= tuned(run, ood)
        for method, other in fine_tuned(run).items():
            name, score = FINE_TUNED[method]
            found = pick(other, ood, score, "fixed_direction")
            column[f"{name} ({score_label(score)})"] = absent(other) if found is None else summarised(found)
        rows[ood, "ours"] = column
        if run.config.dataset == "cifar10" and ood in PAPERS:
            quoted = thesis.LITERATURE[
                thesis.LITERATURE.network.eq("ResNet-34") & thesis.LITERATURE.ood.eq(PAPERS[ood])
            ]
            values = quoted.set_index("method").value
            rows[ood, "papers"] = {
                name: values[AS_IN_THE_PAPERS[name]] if AS_IN_THE_PAPERS.get(name) in values else NONE
                for name in column
            }
    return pd.DataFrame(rows)


def summarised(row):
    """AUROC with its interval, then FPR95, in percent."""
    return f"{interval(row.auroc, row.auroc_low, row.auroc_high)}\nFPR95 {100 * row.fpr95:.1f}"


def tuned(run, ood):
    """{method and protocol: cell} of ODIN and the ensemble, with the epsilon that was chosen."""
    there = run.compared([ood])
    found = run.baselines(ood).set_index(["method", "preprocessing", "protocol"]) if there else None
    cells = {"ODIN without a step": summarised(found.loc["odin", False, "none"].squeeze()) if there else UNSCORED}
    for method, preprocessing, name in (
        ("odin", True, "ODIN"),
        ("mahalanobis", False, "Mahalanobis ensemble"),
        ("mahalanobis", True, "Mahalanobis ensemble with preprocessing"),
    ):
        for protocol, words in PROTOCOLS.items():
            cell = UNSCORED
            if there:
                row = found.loc[method, preprocessing, protocol].squeeze()
                cell = summarised(row) + (f"\nε = {row.epsilon:g}" if preprocessing else "")
            cells[f"{name}, {words}"] = cell
    return cells


def tested_on(run):
    """One sentence for a caption: on how many images the tuned methods were tuned and tested."""
    oods = run.compared(run.out_distributions()) if run else []
    if not oods:
        return ""
    row = run.baselines(oods[0]).query("protocol != 'grid'").iloc[0]
    return (
        f"ODIN and the ensemble: tuned on {row.n_tuning:,} calibration images and as many others, tested on "
        f"{row.n_id:,} in-distribution images and at most {run.baselines(*oods).n_ood.max():,} of each other set."
    )


def fine_tuning(models):
    """Test accuracy in percent of networks ({(activation, lambda): run}) before and after fine-tuning on outliers."""
    rows = {}
    for cell, run in models.items():
        after = fine_tuned(run) if run else dict.fromkeys(FINE_TUNED)
        accuracies = {"before": run} | {FINE_TUNED[method][0]: other for method, other in after.items()}
        rows[model_label(*cell)] = {
            name: f"{100 * found.accuracy():.2f}" if found else MISSING for name, found in accuracies.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")


def literature():
    """Slide 13: AUROC in percent that the thesis quotes from the literature, in-distribution CIFAR-10."""
    table = thesis.LITERATURE.assign(cell=thesis.LITERATURE.value + thesis.LITERATURE.note)
    wide = table.pivot(index=["network", "ood", "source"], columns="method", values="cell").fillna(NONE)
    names = {"msp": "MSP", "odin": "ODIN", "mahalanobis": "Mahalanobis", "energy": "energy",
             "outlier_exposure": "Outlier Exposure", "energy_fine_tuning": "energy fine-tuning"}  # fmt: skip
    return wide[list(names)].rename(columns=names).rename_axis(columns=None)


def best_aggregation(run, ood, scores="_of_"):
    """The metrics row of the best score, layer and direction (an oracle), of the layers' scores that match `scores`."""
    table = run.metrics(ood)
    table = table[table.score.str.match(rf"layer.*{scores}") & table.reading.eq("best_direction")]
    return table.loc[table.auroc.idxmax()]


def score_label(name):
    """`min_of_misp` or `layer1.2/min_of_misp` as the slides write it: min of MiSP, min of MiSP layer1.2."""
    *layer, score = name.split("/")
    names = {"msp": "MSP", "misp": "MiSP", "asp": "ASP", "mahalanobis": "Mahalanobis"}
    place = [name for name in layer if name != "fc"]
    return " ".join([*(names.get(word, word) for word in score.split("_")), *place])


def per_layer(run, ood, score, reading="best_direction"):
    """AUROC (0 to 1) of one score at each of the 16 layers: a Series."""
    table = run.metrics(ood)
    table = table[table.reading.eq(reading)].set_index("score")
    return pd.Series([table.auroc[f"{layer}/{score}"] for layer in LAYERS], index=LAYERS)


def mixed(near, far, share, seed=0):
    """As many images as the smaller set has: `share` (0 to 1) of them from `far`, the rest from `near`.

    Returns (part of near, part of far). One seed gives nested parts: a larger share keeps the far images of a smaller.
    """
    count = min(len(near), len(far))
    take = round(share * count)
    near, far = (part.sample(count, random_state=seed) for part in (near, far))
    return near.iloc[take:], far.iloc[:take]


def mixtures(run, near, far, shares):
    """AUROC (percent) of min of MiSP at the 16 layers and of MiSP at `fc`, against mixtures of two out-distributions.

    One direction a layer, the better one on the even mixture (an oracle); at `fc` the fixed one. Rows: layers and
    fc; columns: the share of `far`.
    """
    id_scores, parts = run.scores(run.config.dataset), (run.scores(near), run.scores(far))
    even = pd.concat(mixed(*parts, 0.5))
    mixed_scores = {share: pd.concat(mixed(*parts, share)) for share in shares}
    rows = {}
    for layer in (*LAYERS, "fc"):
        column = "fc/misp" if layer == "fc" else f"{layer}/min_of_misp"
        known = id_scores[column]
        direction = sign(column)
        if layer != "fc" and metrics.fixed_direction(known, even[column], direction) < 0.5:
            direction = -direction
        rows[layer] = {
            share: 100 * metrics.fixed_direction(known, unknown[column], direction)
            for share, unknown in mixed_scores.items()
        }
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


def made_by(models, all_seeds=False):
    """One sentence for a caption: which profile, how many epochs and seeds, which images.

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
        f"{'one seed' if seeds == 1 else f'up to {seeds} seeds'}, trained on {' or '.join(datasets)}; "
        f"{images:,} in-distribution test images."
    )


def recorded():
    """The runs of `results/`, then your own of the book's profile: what each reached and where it came from."""
    mine = f"{runs.configure().profile}-*/config.json"
    paths = [*sorted(store.RECORDED.glob("[!.]*/config.json")), *sorted(store.OWN.glob(mine))]
    rows = {}
    for run in (runs.opened(path.parent) for path in paths):
        config, origin = run.config, run.provenance
        precision = origin.get("precision", config.precision)
        rows[config.name] = {
            "epochs": len(run.history),
            "accuracy": f"{100 * run.accuracy():.2f}" if config.dataset in run.scored() else NONE,
            "trained for": f"{origin['wall_seconds'] / 60:.0f} min",
            "on": f"{origin['device']}, {precision}\ntorch {origin['versions']['torch']}",
            "code": origin["code"],
            "date": origin["date"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run") if rows else pd.DataFrame({"run": [MISSING]})


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


def experiment(name):
    """What a script in `experiments/` has recorded, one row a training; empty where it has not."""
    path = store.RECORDED / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def recipe():
    """The short trainings of `experiments/recipe.py`, one a row, or an empty table where they are not recorded."""
    table = experiment("recipe")
    if table.empty:
        return _frame({})
    yes = {True: "yes", False: "no"}
    return pd.DataFrame(
        {
            "network": table.activation.map(lambda name: name.replace("log_", "log-").replace("relu", "ReLU")),
            "optimizer": table.optimizer + ", " + table.learning_rate.map("{:g}".format),
            "gradient clipped": table.clipped.map(yes),
            "features adjusted": table.adjusted.map(yes),
            "largest loss": table.largest_loss.map("{:.2f}".format),
            "last loss": table.last_loss.map("{:.2f}".format),
            "accuracy, %": (100 * table.accuracy).map("{:.1f}".format),
        }
    ).set_index("network")


def budget():
    """The trainings of `experiments/budget.py`, one a row, or an empty table where they are not recorded."""
    table = experiment("budget")
    if table.empty:
        return _frame({})
    sizes = table.sizes.map(parsed)
    share = sizes.map(lambda found: sum((size / data.SIZE) ** 2 for size in found) / len(found))
    return pd.DataFrame(
        {
            "image size": sizes.map(lambda found: " → ".join(map(str, found))),
            "batch": table.batch_size,
            "epochs": table.epochs,
            "cost": (table.epochs * share).map("{:.1f}".format),
            "accuracy, %": (100 * table.accuracy).map("{:.1f}".format),
        }
    ).set_index("image size")


def _frame(rows):
    if not rows:
        return pd.DataFrame({"": [MISSING]})
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(rows, names=["network", "out-distribution"])
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame
