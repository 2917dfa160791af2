"""The book's figures: one look, colour-blind safe, the thesis' values overlaid wherever it has them.

Every function takes runs and returns a matplotlib Figure. AUROC axes are in percent.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from thesis_utils import tables, thesis
from thesis_utils.models import LAYERS
from thesis_utils.scorers import AGGREGATIONS

plt.style.use(Path(__file__).with_name("book.mplstyle"))

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c8c8c",
)  # fmt: skip
COLOURS = {
    **dict.fromkeys(("cifar100", "cifar10", "digits_5_9"), BLUE),
    **dict.fromkeys(("svhn", "noise"), VERMILION),
    **dict.fromkeys(("lsun", "places9_resize", "photo_patches"), GREEN),
    "places9_fix": PURPLE,
}
ON_DARK = 82  # AUROC above which a heat map's cell is light


def colour(ood):
    return COLOURS.get(ood, ORANGE)


def short(ood):
    """A data set's name, or the last part of a folder's path."""
    return Path(ood).name


def thesis_name(ood):
    """The thesis' data set to compare one of ours with: itself, or LSUN for the scenes that stand in for it."""
    return thesis.STANDS_FOR.get(ood, ood)


def grown(rows, columns=1, width=8.0, height=2.6, **options):
    figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows + 0.4), squeeze=False, **options)
    return figure, axes


def layer_axis(axis, extra=()):
    axis.set_xticks(range(len(LAYERS) + len(extra)), [*(name.removeprefix("layer") for name in LAYERS), *extra])
    axis.set_xlabel("residual layer" + (", then the final layer" if extra else ""))


def learning_curves(found):
    """Cross-entropy and calibration accuracy over the epochs of the runs; None among them is skipped."""
    figure, axes = grown(1, 2, height=2.8)
    found = [run for run in found if run]
    for run in found:
        axes[0, 0].plot(run.history.epoch, run.history.cross_entropy, marker=".", label=tables.label(run))
        axes[0, 1].plot(run.history.epoch, 100 * run.history.calibration_accuracy, marker=".")
    axes[0, 0].set(xlabel="epoch", ylabel="nats", title="Training cross-entropy")
    axes[0, 1].set(xlabel="epoch", ylabel="%", title="Calibration accuracy")
    figure.legend(loc="outside right center", fontsize="small", title=None if found else tables.MISSING)
    return figure


def layer_bars(models, oods, reading="best_direction"):
    """Slides 25, 26 and 33: per layer, min of MiSP of the log-softmax networks and Mahalanobis of the ReLU network.

    `models` is `tables.grid`'s dict; a missing run leaves its bars out. Open circles: the thesis' values.
    """
    series = [
        (("log_softmax", 0.0), "min_of_misp", "log_softmax_el0_min_of_misp", BLUE),
        (("log_softmax", 0.01), "min_of_misp", "log_softmax_el1e-2_min_of_misp", SKY),
        (("relu", 0.0), "mahalanobis", "relu_baseline_mahalanobis_per_layer", GREY),
    ]
    figure, axes = grown(len(oods))
    x = np.arange(len(LAYERS))
    for axis, ood in zip(axes[:, 0], oods):
        for k, (cell, score, key, paint) in enumerate(series):
            run, at = models.get(cell), x + (k - 1) * 0.27
            name = f"{'min of MiSP' if score == 'min_of_misp' else 'Mahalanobis'}, {tables.model_label(*cell)}"
            if run and run.can_score(ood):
                used = reading if score == "min_of_misp" else "fixed_direction"
                axis.bar(at, 100 * tables.per_layer(run, ood, score, used) - 40, 0.25, 40, color=paint, label=name)
            theirs = thesis.curve(key, thesis_name(ood))
            if theirs:
                axis.plot(at, theirs, "o", mfc="none", mec="black", ms=3.5, mew=0.8, label="thesis" * (k == 2) or None)
        axis.set(ylim=(40, 101), ylabel="AUROC, %", title=title(ood, "min of MiSP and Mahalanobis per layer"))
        layer_axis(axis)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=2, fontsize="small", loc="outside upper center")
    return figure


def title(ood, text):
    """An axis title that names the data set and, for a stand-in, whose values the thesis' marks are."""
    instead = f" (thesis' marks: {thesis_name(ood).upper()})" if ood in thesis.STANDS_FOR else ""
    return f"{short(ood)}: {text}{instead}"


def heat_map(run, oods, reading="best_direction"):
    """AUROC of the nine aggregations at the sixteen layers, one panel an out-distribution."""
    figure, axes = grown(len(oods), height=3.0)
    for axis, ood in zip(axes[:, 0], oods):
        values = np.array([100 * tables.per_layer(run, ood, score, reading) for score in AGGREGATIONS])
        image = axis.imshow(values, vmin=50, vmax=100, cmap="cividis", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7,
                      color="black" if value > ON_DARK else "white")  # fmt: skip
        axis.set_yticks(range(len(AGGREGATIONS)), [tables.score_label(f"/{score}").strip() for score in AGGREGATIONS])
        axis.set_title(f"{short(ood)}: AUROC in %, {reading.replace('_', ' ')}")
        axis.grid(False)
        layer_axis(axis)
    figure.colorbar(image, ax=axes, label="AUROC, %", shrink=0.8 / len(oods) ** 0.5, extend="min")
    return figure


def trend(run, oods, reading="best_direction"):
    """Slide 27: min of MiSP from the first layer to the last, then MiSP at the final layer. Dashed: the thesis."""
    figure, axes = grown(1, height=3.8)
    axis, x = axes[0, 0], np.arange(len(LAYERS))
    for ood in oods if run else ():
        axis.plot(
            x,
            100 * tables.per_layer(run, ood, "min_of_misp", reading),
            marker="o",
            ms=4,
            color=colour(ood),
            label=short(ood),
        )
        final = run.metrics(ood)
        final = final[final.score.eq("fc/misp") & final.reading.eq("fixed_direction")].auroc.iloc[0]
        axis.plot(len(x), 100 * final, marker="s", color=colour(ood))
        theirs = thesis.curve("log_softmax_el0_min_of_misp", thesis_name(ood))
        if theirs:
            name = thesis_name(ood)
            axis.plot(x, theirs, "--", lw=1.2, color=colour(ood), label=f"thesis, {name.upper()}")
            axis.plot(len(x), thesis.FIGURES["slide_27"]["misp_fc"][name], "s", mfc="none", color=colour(ood))
    axis.set(
        ylim=(40, 101), ylabel="AUROC, %", title=f"min of MiSP by layer, {tables.label(run) if run else tables.MISSING}"
    )
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
        axis.set(ylabel="density")
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
        theirs = thesis.FIGURES["slide_30"].get(thesis_name(ood))
        if theirs and score == "layer1.2/min_of_misp":
            axis.text(
                1.02,
                0.05,
                slide_30(thesis_name(ood), theirs),
                transform=axis.transAxes,
                fontsize="x-small",
                color="#444444",
            )
    axes[0, 0].set_title(f"{tables.score_label(score)}, {tables.label(run)}")
    axes[-1, 0].set_xlabel("log-probability")
    return figure


def slide_30(name, theirs):
    """What the thesis' histogram shows, in words: its curves could only be read off at their modes."""
    side = "above" if theirs["out_distribution_mode"] > theirs["in_distribution_mode"] else "below"
    return (
        f"thesis (width 64):\nCIFAR-10 around {theirs['in_distribution_mode']:g},\n"
        f"{name.upper()} {side}, around {theirs['out_distribution_mode']:g};\nAUROC {theirs['auroc']:.2f} %"
    )


def mixtures(ours, theirs=None):
    """Slide 34: AUROC (percent) of mixtures by layer. `ours`: DataFrame, rows layers, columns share of the far set."""
    figure, axes = grown(1, height=3.8)
    axis = axes[0, 0]
    shades = plt.get_cmap("cividis")(np.linspace(0.05, 0.9, ours.shape[1]))
    for shade, share in zip(shades, ours.columns):
        axis.plot(
            range(len(LAYERS)), ours.loc[list(LAYERS), share], marker="o", ms=4, color=shade, label=f"{share:.0%}"
        )
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
