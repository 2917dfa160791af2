"""The tables and figures of the chapter on why MiSP works: from recorded scores, and from `experiments/misp.py`.

Where both directions count, AUROC is in the better one; else a low MiSP means in-distribution.
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from thesis_utils import runs
from thesis_utils.book import plots, tables
from thesis_utils.book.experiments import networks
from thesis_utils.book.formatting import (
    MISSING,
    by_network,
    label,
    model_label,
    not_recorded,
    ranged,
    score_label,
    with_seeds,
)
from thesis_utils.models import LAYERS
from thesis_utils.scorers import sign

RIVALS = ("fc/asp", "fc/max_logit", "fc/energy")
SHOWN = 1000  # images of each set in a scatter plot
COLOURS = {"MSP": plots.GREY, "MiSP": plots.VERMILION, "ASP": plots.ORANGE, "energy": plots.BLUE}


def found(profile=None, dataset=None):
    """{(activation, lambda): all recorded seeds}, networks without a run left out."""
    return {cell: seeds for cell, seeds in tables.grid(profile, dataset, get=runs.seeds).items() if seeds}


@cache
def alike(run, name):
    """{score: Spearman's rank correlation of MiSP with it over the images of a set, both as confidences}."""
    scores = run.scores(name)
    misp = sign("fc/misp") * scores["fc/misp"]
    return {score: spearmanr(misp, sign(score) * scores[score]).statistic for score in ("fc/msp", *RIVALS)}


def predictions(models):
    """What has to be so if MiSP reads the logits' norm, and in how many of the cases it is."""
    energy, also, asp = [], [], []
    for run in (run for seeds in models.values() for run in seeds):
        oods = [ood for ood in run.out_distributions() if ood in run.scored()]
        found = [alike(run, name) for name in (run.config.dataset, *oods)]
        energy += [one["fc/energy"] > one["fc/msp"] for one in found]
        for ood in oods:
            areas = tables.scored(run, ood, "fc/.*").auroc
            also += [areas["fc/energy"] > areas["fc/msp"]] if areas["fc/misp"] > areas["fc/msp"] else []
            asp.append(areas["fc/asp"] >= areas["fc/misp"])
    gone, rows = [], networks("misp_logits")
    if len(rows):
        rows = rows.pivot(index=["run", "logits", "ood"], columns="score", values="auroc")
        gain = (rows.MiSP - rows.MSP).unstack("logits")
        gone = [*(gain["of one norm"] <= 0)[gain["as they are"] > 0]]
    return pd.DataFrame({
        "holds in": {
            "within a set of images MiSP ranks more like energy than like MSP": of(energy),
            "where MiSP beats MSP, energy beats it too": of(also),
            "where MiSP beats MSP, it no longer does once all logits have one norm": of(gone),
            "ASP, which reads the norm as well, does as well as MiSP or better": of(asp),
        }
    })  # fmt: skip


def of(cases):
    return f"{sum(cases)} of {len(cases)}" if cases else MISSING


# --- at the final layer -------------------------------------------------------------------------------


def gains(models):
    """AUROC of MiSP and its rivals minus that of MSP, in points: mean and range over the seeds."""
    rows = {}
    for cell, seeds in models.items():
        for ood in seeds[0].out_distributions():
            areas = [tables.scored(run, ood, "fc/.*").auroc for run in seeds if ood in run.out_distributions()]
            rows[model_label(*cell), ood] = {
                ("AUROC minus that of MSP, points", score_label(score)): with_seeds(
                    [100 * (one[score] - one["fc/msp"]) for one in areas], "+"
                )
                for score in ("fc/misp", *RIVALS)
            }
    return by_network(rows)


def agreement(models):
    """Spearman's rank correlation of MiSP with other scores, all as confidences, within each set of images."""
    rows = {}
    for cell, seeds in models.items():
        for name in (seeds[0].config.dataset, *seeds[0].out_distributions()):
            found = [alike(run, name) for run in seeds if name in run.scored()]
            rows[model_label(*cell), name] = {
                ("rank correlation of MiSP with", score_label(rival)): ranged([one[rival] for one in found], 2)
                for rival in ("fc/msp", *RIVALS)
            }
    return by_network(rows)


def saturation(run, ood):
    """MiSP over MSP, both as logs, image by image: where MSP is near 1, MiSP still tells images apart."""
    figure, axes = plots.grown(1, 2, height=2.9, sharey=True)
    for axis, name in zip(axes.flat, (run.config.dataset, ood)):
        scores = run.scores(name)[:SHOWN]
        axis.scatter(scores["fc/msp"], scores["fc/misp"], 3, plots.GREY if axis is axes[0, 0] else plots.colour(ood))
        share = 100 * scores["fc/msp"].gt(np.log(0.99)).mean()
        axis.set(title=f"{plots.short(name)}: MSP above 0.99 in {share:.0f} %", xlabel="log MSP", xlim=(-1.8, 0.1))
    axes[0, 0].set_ylabel("log MiSP")
    figure.suptitle(label(run), fontsize="medium")
    return figure


def without_norm():
    """{network: AUROC by out-distribution of the logits' scores, as they are and brought to one norm}, in percent."""
    rows = networks("misp_logits")
    if rows.empty:
        return {MISSING: not_recorded()}
    rows["auroc"] = (100 * rows.auroc).map("{:.1f}".format)
    rows = rows[rows.logits.eq("as they are") | ~rows.score.isin(("norm", "range"))]
    return {
        network: each.pivot(index="ood", columns=["logits", "score"], values="auroc")
        .reindex(each.ood.unique())
        .rename_axis(index="out-distribution", columns=[None, None])
        for network, each in rows.groupby("network", sort=False)
    }


# --- inside -------------------------------------------------------------------------------------------


def on_layers(axis, rows, column, colour, **options):
    values = 100 * rows.set_index("layer")[column].reindex(LAYERS)
    axis.plot(range(len(LAYERS)), values, color=colour, **options)


def local_energy():
    """ReLU, post hoc: AUROC of min of MiSP layer by layer, and of the largest logsumexp alone."""
    rows = networks("misp_maps")
    rows = rows[rows.network.str.contains("ReLU")] if len(rows) else rows
    if rows.empty:
        return plots.not_recorded()
    figure, axes = plots.grown(1, 1, height=3.0)
    for name, each in rows[rows.auroc.notna()].groupby("set", sort=False):
        on_layers(axes[0, 0], each, "auroc", plots.colour(name), lw=1.2, label=plots.short(name))
        on_layers(axes[0, 0], each, "auroc_energy", plots.colour(name), ls="", marker="x", ms=6)
    axes[0, 0].plot([], [], "kx", ls="", label="logsumexp alone")
    axes[0, 0].set(ylabel="AUROC, better direction, %", title=rows.network.iloc[0])
    plots.layer_axis(axes[0, 0])
    figure.legend(loc="outside right center", fontsize="small")
    return figure


def zeros():
    """Images, in percent, with a channel at zero in the pixel of the minimum: mean and least of the layers."""
    rows = networks("misp_maps")
    if rows.empty:
        return not_recorded()
    rows = rows[rows.network.str.contains("ReLU")]
    table = rows.groupby("set", sort=False).agg({"zero": ["mean", "min"], "rank_correlation": ["min"]})
    text = pd.DataFrame({
        "a channel is zero, mean of the layers, %": (100 * table["zero", "mean"]).map("{:.2f}".format),
        "least of the layers, %": (100 * table["zero", "min"]).map("{:.2f}".format),
        "least rank correlation of the two scores": table["rank_correlation", "min"].map("{:.4f}".format),
    })  # fmt: skip
    return text.rename_axis(index="images")


def where(ood):
    """Of each layer's minimum: the commonest channel, the contrast around it, the border, and AUROC without that."""
    rows = networks("misp_maps")
    if rows.empty:
        return plots.not_recorded()
    figure, axes = plots.grown(4, rows.network.nunique(), height=2.0, sharex=True, sharey="row")
    for column, (network, each) in zip(axes.T, rows.groupby("network", sort=False)):
        column[0].set_title(network, fontsize="medium")
        known = each.set.iloc[0]
        for name, colour in ((known, plots.GREY), (ood, plots.colour(ood))):
            one = each[each.set.eq(name)]
            for axis, quantity in zip(column, ("commonest_channel", "contrast", "border")):
                on_layers(axis, one, quantity, colour, marker=".", label=plots.short(name))
        on_layers(column[2], each[each.set.eq(known)], "border_of_map", "black", ls="--", lw=1, label="by chance")
        others = each[each.set.eq(ood)]
        on_layers(column[3], others, "auroc", plots.colour(ood), label="all pixels")
        on_layers(column[3], others, "auroc_inner", plots.colour(ood), ls="", marker="x", label="inner pixels")
        column[1].axhline(50, ls="--", color="black", lw=1)
        plots.layer_axis(column[3])
        column[3].tick_params(axis="x", labelsize="xx-small")
    for axis, words in zip(
        axes[:, 0], ("in the commonest\nchannel, %", "less contrast\nelsewhere, %", "at the border, %", "AUROC, %")
    ):
        axis.set_ylabel(words)
    axes[2, 0].legend(fontsize="small")
    axes[3, 0].legend(fontsize="small")
    return figure


# --- over a training ----------------------------------------------------------------------------------


def over_epochs(oods):
    """AUROC of MSP, MiSP, ASP and energy at the final layer after each epoch of a training."""
    rows = networks("misp_epochs")
    rows = rows[rows.ood.isin(oods)] if len(rows) else rows
    if rows.empty:
        return plots.not_recorded()
    trainings = rows.network.unique()
    figure, axes = plots.grown(len(trainings), len(oods), height=2.3, sharex=True, sharey="col")
    for line, network in zip(axes, trainings):
        for axis, ood in zip(line, oods):
            each = rows[rows.network.eq(network) & rows.ood.eq(ood)]
            for score, colour in COLOURS.items():
                one = each[each.score.eq(score)]
                axis.plot(one.epoch, 100 * one.auroc, marker=".", color=colour, label=score)
            axis.set_title(f"{plots.short(ood)}, {network.split(': ')[1].split(', seed')[0]}", fontsize="medium")
        line[0].set_ylabel("AUROC, %")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure
