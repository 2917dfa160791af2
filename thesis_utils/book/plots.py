"""The book's figures: one look, colour-blind safe, the thesis' values overlaid wherever it has them.

Every function takes runs and returns a matplotlib Figure. AUROC axes are in percent.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import auc, roc_curve

from thesis_utils import metrics, runs
from thesis_utils.book import differences, experiments, tables, thesis
from thesis_utils.book.formatting import MISSING, label, model_label, score_label
from thesis_utils.models import LAYERS
from thesis_utils.scorers import AGGREGATIONS

plt.style.use(Path(__file__).with_name("book.mplstyle"))

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c8c8c",
)  # fmt: skip
COLOURS = {
    **dict.fromkeys(("cifar100", "cifar10", "digits_5_9"), BLUE),
    **dict.fromkeys(("svhn", "noise"), VERMILION),
    **dict.fromkeys(("places9_resize", "photo_patches"), GREEN),
    "places9_fix": PURPLE,
    "lsun": SKY,
}
ON_DARK = 73  # AUROC above which a heat map's cell is light


def colour(ood):
    return COLOURS.get(ood, ORANGE)


def short(ood):
    """A data set's name, or the last part of a folder's path."""
    return Path(ood).name


def grown(rows, columns=1, width=8.0, height=2.6, **options):
    return plt.subplots(rows, columns, figsize=(width, height * rows + 0.4), squeeze=False, **options)


def layer_axis(axis, layers=LAYERS, extra=()):
    axis.set_xticks(range(len(layers) + len(extra)), [*(name.removeprefix("layer") for name in layers), *extra])
    axis.set_xlabel("residual layer" + (", then the final layer" if extra else ""))


def stage_axis(axis, extra=()):
    """`layer_axis` for narrow panels: only the first layer of each stage has a tick."""
    first = [at for at, name in enumerate(LAYERS) if name.endswith(".1")]
    layer_axis(axis, extra=extra)
    names = [*(LAYERS[at].removeprefix("layer") for at in first), *extra]
    axis.set_xticks([*first, *range(len(LAYERS), len(LAYERS) + len(extra))], names)


def learning_curves(found):
    """Cross-entropy and calibration accuracy over the epochs of those of the runs that have a history."""
    figure, axes = grown(1, 2, height=2.8)
    found = [run for run in found if run and len(run.history)]
    for run in found:
        axes[0, 0].plot(run.history.epoch, run.history.cross_entropy, marker=".", label=label(run))
        axes[0, 1].plot(run.history.epoch, 100 * run.history.calibration_accuracy, marker=".")
    axes[0, 0].set(xlabel="epoch", ylabel="nats", title="Training cross-entropy")
    axes[0, 1].set(xlabel="epoch", ylabel="%", title="Calibration accuracy")
    figure.legend(loc="outside right center", fontsize="small", title=None if found else MISSING)
    return figure


def entropy_reductions(models):
    """`experiments.entropy_costs`: what the entropy loss costs in accuracy, by how it is added up, and on slide 21."""
    costs = experiments.entropy_costs(models)
    if not costs:
        return not_recorded()
    looks = {
        "mean, short trainings": (SKY, "o--"),
        "sum, short trainings": (ORANGE, "o--"),
        "mean, whole trainings": (BLUE, "o-"),
        "mean over layers too": (GREEN, "s-"),
        "thesis": ("black", "o:"),
    }
    figure, axis = plt.subplots(figsize=(8, 3.6))
    for name, points in costs.items():
        paint, line = looks[name]
        axis.plot(points, line, color=paint, label=name, mfc="none" if name == "thesis" else paint)
    axis.axhline(0, color=GREY, lw=0.8)
    factors = costs["thesis"].index
    axis.set(xscale="log", xlim=(min(factors) / 1.3, 2 * max(factors)), xlabel="λ", ylabel="points")
    axis.set_title("Accuracy, minus that with λ = 0")
    axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def layer_bars(models, oods, reading="best_direction"):
    """Slides 25, 26 and 33: per layer, min of MiSP of the log-softmax networks and Mahalanobis of the ReLU network.

    `models` is `tables.grid`'s dict; a missing run leaves its bars out. Circles, each in its bar's colour: the thesis'
    values, which are in the better direction.
    """
    dataset = next(run.config.dataset for run in models.values() if run)
    figure, axes = grown(len(oods))
    x, floor = np.arange(len(LAYERS)), lowest(reading)
    for axis, ood in zip(axes[:, 0], oods):
        marked = False
        for k, (cell, paint) in enumerate(zip(thesis.CURVES, (BLUE, SKY, GREY))):
            run, at = models.get(cell), x + (k - 1) * 0.27
            score, used = ("mahalanobis", "fixed_direction") if cell[0] == "relu" else ("min_of_misp", reading)
            if run and run.can_score(ood):
                name = f"{score_label(score)}, {model_label(*cell)}"
                height = 100 * tables.per_layer(run, ood, score, used) - floor
                axis.bar(at, height, 0.25, floor, color=paint, label=name)
            theirs = thesis.curve(cell, ood, dataset)
            if theirs is not None and (score == "mahalanobis" or reading == "best_direction"):
                axis.plot(at, theirs, "o", mfc="white", mec=paint, ms=5, mew=1.6)
                marked = True
        instead = f" (thesis' marks: {thesis.name_of(ood).upper()})" if marked and ood in thesis.STANDS_FOR else ""
        axis.set(ylim=(floor, 101), ylabel="AUROC, %", title=short(ood) + instead)
        axis.axhline(50, color=GREY, lw=0.8)
        layer_axis(axis)
    handles, names = axes[0, 0].get_legend_handles_labels()
    handles.append(plt.Line2D([], [], ls="", marker="o", mfc="white", mec="black", ms=5, mew=1.6))
    names.append("thesis: a circle in its bar's colour")
    figure.legend(handles, names, ncols=2, fontsize="small", loc="outside upper center")
    return figure


def lowest(reading):
    """Where an AUROC axis starts: in the better direction nothing lies below 50."""
    return 40 if reading == "best_direction" else 0


def post_hoc(models, oods, reading="best_direction"):
    """Min of MiSP at each layer of every network: the ReLU network is read post hoc, nothing retrained."""
    figure, axes = grown((len(oods) + 1) // 2, 2, height=2.4, sharey=True)
    for axis in axes.flat[len(oods) :]:
        axis.set_visible(False)
    for axis, ood in zip(axes.flat, oods):
        for run, paint in zip(models.values(), (GREY, BLUE, SKY)):
            if run and run.can_score(ood):
                values = 100 * tables.per_layer(run, ood, "min_of_misp", reading)
                axis.plot(range(len(values)), values, marker="o", ms=3, color=paint, label=label(run))
                layer_axis(axis, values.index)
        axis.set(ylim=(lowest(reading), 101), title=short(ood))
        axis.tick_params(axis="x", labelsize=6)
    for axis in axes[:, 0]:
        axis.set_ylabel("AUROC, %")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), ncols=3, fontsize="small", loc="outside upper center")
    return figure


def heat_map(run, oods, reading="best_direction"):
    """AUROC of the nine aggregations at the sixteen layers, four panels to a figure's height, one an out-distribution.

    Solid frame: the panel's best cell, an oracle. Dashed: the cell that the thesis names as its best (slides 28, 36).
    """
    oods, columns = list(oods), min(len(oods), 2)
    figure, axes = grown(-(-len(oods) // 2), columns, 8.8, sharey=True)
    for axis in axes.flat[len(oods) :]:
        axis.set_visible(False)
    for axis, ood in zip(axes.flat, oods):
        values = 100 * pd.DataFrame([tables.per_layer(run, ood, score, reading) for score in AGGREGATIONS])
        axis.imshow(values, vmin=50, vmax=100, cmap="cividis", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7.5,
                      color="black" if value > ON_DARK else "white")  # fmt: skip
        cells = [(np.unravel_index(values.to_numpy().argmax(), values.shape), "-", VERMILION)]
        if theirs := thesis.best_cell(run.config, ood):
            cells.insert(0, ((AGGREGATIONS.index(theirs[0]), LAYERS.index(theirs[1])), "--", "black"))
        for (row, column), line, paint in cells:
            frame = dict(fill=False, ls=line, ec=paint, lw=2, zorder=3, clip_on=False)
            axis.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, **frame))
        axis.set_yticks(range(len(AGGREGATIONS)), [score_label(score) for score in AGGREGATIONS])
        axis.set_title(short(ood))
        axis.grid(False)
        layer_axis(axis, values.columns)
        axis.tick_params(labelsize=7.5)
    figure.suptitle(f"AUROC in %, {reading.replace('_', ' ')}: {label(run)}", fontsize="medium")
    return figure


def trend(run, oods, reading="best_direction"):
    """Slide 27: min of MiSP from the first layer to the last, then MiSP at the final layer. Dashed: the thesis.

    A band spans the seeds that there are. Without a run the axes stay empty and say so.
    """
    figure, axis = plt.subplots(figsize=(8, 4.2))
    x, oods = np.arange(len(LAYERS)), list(oods) if run else []
    for k, ood in enumerate(oods):
        paint, at = colour(ood), len(x) + 0.2 * (k - (len(oods) - 1) / 2)
        values = 100 * tables.per_layer(run, ood, "min_of_misp", reading)
        axis.plot(x, values, marker="o", ms=4, color=paint, label=short(ood))
        seeds = [one for one in runs.seeds(run.config) if ood in one.out_distributions()]
        if len(seeds) > 1:
            curves = [100 * tables.per_layer(one, ood, "min_of_misp", reading) for one in seeds]
            axis.fill_between(x, np.min(curves, 0), np.max(curves, 0), color=paint, alpha=0.15, lw=0)
        finals = [100 * tables.scored(one, ood, "fc/misp").auroc.item() for one in (run, *seeds)]
        axis.plot(at, finals[0], marker="s", color=paint, mec="white")
        axis.vlines(at, min(finals), max(finals), color=paint, alpha=0.4)
        theirs = thesis.curve(("log_softmax", 0.0), ood, run.config.dataset)
        twice = ood in thesis.STANDS_FOR and thesis.STANDS_FOR[ood] in oods
        if theirs is not None and reading == "best_direction" and not twice:
            axis.plot(x, theirs, "--", lw=1.2, color=paint, label=f"thesis, {thesis.name_of(ood).upper()}")
            axis.plot(at, thesis.final(ood), "s", mfc="none", color=paint)
    what = label(run) if run else MISSING
    axis.set(ylim=(lowest(reading), 101), ylabel="AUROC, %", title=f"min of MiSP by layer, {what}")
    layer_axis(axis, extra=("fc",))
    axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def histograms(run, oods, score="layer1.2/min_of_misp"):
    """Slide 30: the score's distribution in- and out-of-distribution; the direction differs from set to set."""
    figure, axes = grown(len(oods), height=1.9, sharex=True)
    known = run.scores(run.config.dataset)[score]
    everything = np.concatenate([known, *(run.scores(ood)[score] for ood in oods)])
    bins = np.linspace(*np.quantile(everything, [0.002, 0.998]), 90)
    for axis, ood in zip(axes[:, 0], oods):
        axis.hist(known, bins, density=True, color=GREY, alpha=0.6, label=run.config.dataset)
        axis.hist(run.scores(ood)[score], bins, density=True, color=colour(ood), alpha=0.6, label=short(ood))
        axis.set_ylabel("density")
        theirs = thesis.histogram(ood, run.config.dataset) if score == "layer1.2/min_of_misp" else None
        axis.legend(title=theirs, title_fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1), alignment="left")
    axes[0, 0].set_title(f"{score_label(score)}, {label(run)}")
    axes[-1, 0].set_xlabel("log-probability")
    return figure


def roc(run, ood, scores=("fc/msp", "fc/misp", "layer1.2/min_of_misp", "layer4.3/min_of_misp")):
    """Slide 12: accepted shares of in- and out-distribution over all thresholds; dots: 95 % of the former accepted."""
    if not (run and run.can_score(ood)):
        return not_recorded()
    figure, axis = plt.subplots(figsize=(6.6, 4.2))
    for score, paint in zip(scores, (GREY, BLUE, VERMILION, GREEN)):
        confidences = differences.confidences(run, ood, score)
        is_known = np.repeat([1, 0], [len(part) for part in confidences])
        accepted, found, _ = roc_curve(is_known, np.concatenate(confidences))
        name = score_label(score) + (" at fc" if score.startswith("fc") else "")
        axis.plot(100 * accepted, 100 * found, color=paint, label=f"{name}\nAUROC {100 * auc(accepted, found):.1f} %")
        axis.plot(100 * metrics.fpr_at_tpr(*confidences), 95, "o", color=paint, ms=5)
    axis.axhline(95, color=GREY, lw=0.8, ls=":")
    axis.plot([0, 100], [0, 100], "--", color=GREY, lw=0.8)
    axis.set(xlabel=f"accepted of {short(ood)} (FPR), %", ylabel=f"accepted of {run.config.dataset} (TPR), %")
    axis.set(xlim=(-1, 101), ylim=(0, 101), title=f"ROC, {label(run)}")
    axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def profiles(oods=("cifar100", "svhn", "places9_resize", "places9_fix")):
    """`tables.by_profile`: how the main numbers move from one recorded profile to the next, and the thesis' beside.

    Filled and solid: the log-softmax network without entropy loss. Open and dashed: ReLU. A bar spans the seeds.
    """
    table = tables.by_profile(oods=oods)
    if table.empty:
        return not_recorded()
    places, measures = [*table.place.unique()], [*table.measure.unique()]
    paints = dict(zip(measures, ("black", GREY, BLUE, VERMILION, GREEN, PURPLE)))
    figure, axes = grown((len(oods) + 2) // 2, 2, 9, 2.5)
    for axis in axes.flat[len(oods) + 1 :]:
        axis.set_visible(False)
    for axis, ood in zip(axes.flat, ["test", *oods]):
        panel = table[table.ood.eq(ood)]
        for (measure, activation), rows in panel.groupby(["measure", "activation"], sort=False):
            soft = activation == "log_softmax"
            at = np.array([places.index(place) for place in rows.place]) + (0.06 if soft else -0.06)
            look = dict(color=paints[measure], mfc=paints[measure] if soft else "white")
            ours = rows.place.ne("thesis").to_numpy()
            errors = np.maximum([rows.ours - rows.low, rows.high - rows.ours], 0)
            axis.errorbar(at, rows.ours, errors, fmt="o", ms=4, lw=1, **look, label=measure if soft else None)
            axis.plot(at[ours], rows.ours[ours], "-" if soft else "--", color=paints[measure], lw=1.2)
        instead = f" (thesis: {thesis.name_of(ood).upper()})" if ood in thesis.STANDS_FOR else ""
        axis.set_title("test accuracy, %" if ood == "test" else f"AUROC, %: {short(ood)}{instead}")
        axis.set_xticks(range(len(places)), places)
        axis.set_xlim(-0.4, len(places) - 0.6)
    handles, names = map(sum, zip(*(axis.get_legend_handles_labels() for axis in axes.flat[:2])), ([], []))
    handles.append(plt.Line2D([], [], ls="--", marker="o", mfc="white", mec="black", color="black", ms=4))
    names.append("open, dashed: ReLU; the rest: log-softmax, λ = 0")
    figure.legend(handles, names, ncols=3, fontsize="small", loc="outside upper center")
    return figure


def not_recorded():
    """An empty figure that says why it is empty."""
    figure, axis = plt.subplots(figsize=(4, 0.5))  # without axes a notebook would show nothing
    axis.axis("off")
    axis.text(0.5, 0.5, MISSING, ha="center", va="center")
    return figure


def protocols(run, oods):
    """The Mahalanobis ensemble's AUROC by what it was tuned on, without and with input preprocessing."""
    oods = run.compared(oods) if run else []
    if not oods:
        return not_recorded()
    figure, axes = grown(1, len(oods), width=9.5, height=2.6, sharey=True)
    names = {"oracle": "tested set", "held_out": "another set", "none": "adversarial"}
    everything = run.baselines(*oods).query("method == 'mahalanobis'")
    for axis, ood in zip(axes[0], oods):
        table = everything[everything.ood.eq(ood)]
        for shift, (preprocessing, rows) in zip((-0.12, 0.12), table.groupby("preprocessing")):
            rows = 100 * rows.set_index("protocol")[["auroc", "auroc_low", "auroc_high"]].reindex(list(names))
            errors = abs(rows[["auroc_low", "auroc_high"]].sub(rows.auroc, axis=0).T)
            axis.errorbar(np.arange(3) + shift, rows.auroc, errors, fmt="o", ms=4, capsize=2,
                          color=VERMILION if preprocessing else BLUE,
                          label=f"{'with' if preprocessing else 'without'} preprocessing")  # fmt: skip
        axis.set_xticks(range(3), names.values(), rotation=30, ha="right")
        axis.set(title=short(ood), xlim=(-0.5, 2.5))
    axes[0, 0].set_ylabel("AUROC, %")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, title=label(run), ncols=2, fontsize="small", loc="outside upper center")
    return figure


def odin_epsilons(run, oods):
    """ODIN's AUROC and FPR95 on the tuning images at each epsilon: the curves among whose points it chooses."""
    oods = run.compared(oods) if run else []
    if not oods:
        return not_recorded()
    figure, axes = grown(1, 2, height=2.8)
    for ood, table in run.baselines(*oods).query("protocol == 'grid'").groupby("ood", sort=False):
        for axis, metric in zip(axes[0], ("auroc", "fpr95")):
            axis.plot(table.epsilon, 100 * table[metric], marker=".", color=colour(ood), label=short(ood),
                      ls="--" if ood == "places9_fix" else "-")  # fmt: skip
    for axis, title in zip(axes[0], ("AUROC, tuning images", "FPR95, tuning images")):
        axis.set(title=title, xlabel="ε, share of the pixel range", ylabel="%")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, title=label(run), fontsize="small", loc="outside right center")
    return figure


def mixtures(ours, theirs=None):
    """Slide 34: AUROC (percent) of mixtures by layer. `ours`: DataFrame, rows layers, columns share of the far set."""
    figure, axis = plt.subplots(figsize=(8, 4.2))
    shades = plt.get_cmap("cividis")(np.linspace(0.05, 0.9, ours.shape[1]))
    for shade, share in zip(shades, ours.columns):
        axis.plot(range(len(LAYERS)), ours[share].drop("fc"), marker="o", ms=4, color=shade, label=f"{share:.0%}")
        axis.plot(len(LAYERS), ours.loc["fc", share], marker="s", color=shade)
    for name, values in (theirs or {}).items():
        at = len(LAYERS) if name == "MiSP@FC" else LAYERS.index(name)
        axis.scatter([at] * len(values), values, s=26, facecolors="none", edgecolors="black", zorder=3,
                     label="thesis" if name == "MiSP@FC" else None)  # fmt: skip
    axis.set(ylim=(40, 101), ylabel="AUROC, %", title="min of MiSP by layer, against mixtures")
    layer_axis(axis, extra=("fc",))
    axis.legend(title="share of\nthe far set", fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def straightness(table):
    """Metrics (percent) against the mixture's share; on the dashed line lies what is an average of the parts."""
    figure, axes = grown(1, len(table.columns), height=2.8, width=9.5)
    for axis, name in zip(axes[0], table.columns):
        values = table[name]
        axis.plot(100 * values.index, values, "o-", color=BLUE)
        axis.plot([0, 100], values.iloc[[0, -1]], "--", color=GREY, lw=1.2)
        axis.set(title=name, xlabel="far set, %")
    axes[0, 0].set_ylabel("%")
    return figure
