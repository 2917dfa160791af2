"""The tables and figures of the chapter on other networks, and on other methods at inner layers.

AUROC of min of MiSP is in the better direction, per layer and out-distribution: an oracle, as in the thesis' figures.
"""

import numpy as np
import pandas as pd

from thesis_utils import runs
from thesis_utils.architectures import ARCHITECTURES
from thesis_utils.book import baselines, plots, tables
from thesis_utils.book.experiments import networks
from thesis_utils.book.formatting import by_network, model_label, not_recorded, ranged, with_seeds
from thesis_utils.errors import InputError
from thesis_utils.models import LAYERS

NAMES = {"resnet34": "ResNet-34", "wide_resnet28": "WideResNet-28", "densenet22": "DenseNet-22"}
CELLS = (("relu", 0.0), ("log_softmax", 0.0))
STYLES = {"resnet34": "-", "wide_resnet28": "--", "densenet22": ":"}


def found(profile=None, dataset=None):
    """{(architecture, (activation, lambda)): its runs, all seeds}, those that are there."""
    grids = {name: tables.grid(profile, dataset, CELLS, runs.seeds, architecture=name) for name in ARCHITECTURES}
    return {(name, cell): seeds for name, grid in grids.items() for cell, seeds in grid.items() if seeds}


def along(run, ood):
    """AUROC in percent of min of MiSP layer by layer: a Series."""
    return 100 * tables.per_layer(run, ood, "min_of_misp")


def ends(run, ood):
    """Mean AUROC of the first and of the last stage's layers, in percent."""
    values = along(run, ood)
    stages = values.index.str[len("layer")].astype(int)
    return values[stages == stages.min()].mean(), values[stages == stages.max()].mean()


def by_architecture(models, row_of):
    """{(architecture, network): row_of(its seeds)} as a DataFrame of text."""
    rows = {(NAMES[name], model_label(*cell)): row_of(seeds) for (name, cell), seeds in models.items()}
    table = by_network(rows)
    return table.rename_axis(index=["architecture", "network"]) if rows else table


def final_layer(models):
    """Test accuracy, and AUROC of MiSP at the final layer, network by network."""
    return by_architecture(models, lambda seeds: {
        ("", "accuracy, %"): ranged([100 * run.accuracy() for run in seeds]),
        **{
            ("MiSP at the final layer", ood): ranged(
                [100 * tables.scored(run, ood, "fc/misp").auroc.item() for run in seeds]
            )
            for ood in seeds[0].out_distributions()
        },
    })  # fmt: skip


def first_minus_last(models):
    """AUROC of min of MiSP, mean of the first stage minus mean of the last, in points, network by network."""
    return by_architecture(models, lambda seeds: {
        ("min of MiSP, first stage minus last", ood): with_seeds(
            [-np.diff(ends(run, ood)).item() for run in seeds], "+"
        )
        for ood in seeds[0].out_distributions()
    })  # fmt: skip


def early_and_late(models, oods):
    """Min of MiSP over the depth, from the first layer (0) to the last (1): mean of the seeds, network by network."""
    cells = [cell for cell in CELLS if any(other == cell for _, other in models)]
    if not cells:
        return plots.not_recorded()
    figure, axes = plots.grown(1, len(cells), height=3.2, sharey=True)
    for axis, cell in zip(axes.flat, cells):
        for architecture, style in STYLES.items():
            seeds = models.get((architecture, cell), [])
            for ood in oods if seeds else ():
                values = np.mean([along(run, ood) for run in seeds if ood in run.out_distributions()], axis=0)
                axis.plot(np.linspace(0, 1, len(values)), values, style, color=plots.colour(ood))
        axis.set(title=model_label(*cell), xlabel="depth")
    axes[0, 0].set_ylabel("AUROC, better direction, %")
    for architecture, style in STYLES.items():
        axes[0, 0].plot([], [], style, color="black", label=NAMES[architecture])
    for ood in oods:
        axes[0, 0].plot([], [], color=plots.colour(ood), lw=4, label=plots.short(ood))
    figure.legend(loc="outside right center", fontsize="small")
    return figure


def agreement(models):
    """In how many (network, seed) cases the thesis' fourth claim holds, out-distribution by out-distribution."""
    rows = {}
    for architecture in NAMES:
        seeds = [run for (name, _), many in models.items() if name == architecture for run in many]
        for ood in seeds[0].out_distributions() if seeds else ():
            early = [np.subtract(*ends(run, ood)) > 0 for run in seeds]
            rows.setdefault(NAMES[architecture], {})[ood] = f"{sum(early)} of {len(early)}"
    if not rows:
        return not_recorded()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("first stage ahead of the last in")


def outlier_exposure(profile=None, dataset=None, cell=CELLS[1]):
    """Min of MiSP layer by layer before and after fine-tuning on outliers."""
    run = tables.grid(profile, dataset, [cell])[cell]
    tuned = {method: one for method, one in baselines.fine_tuned(run).items() if one} if run else {}
    if not tuned:
        return plots.not_recorded()
    oods = run.out_distributions()
    figure, axes = plots.grown(1, len(oods), width=9, height=2.6, sharey=True)
    for axis, ood in zip(axes.flat, oods):
        axis.plot(range(len(LAYERS)), along(run, ood), color=plots.GREY, label="before")
        for (method, one), colour in zip(tuned.items(), (plots.VERMILION, plots.BLUE)):
            if ood in one.out_distributions():
                axis.plot(range(len(LAYERS)), along(one, ood), color=colour, label=baselines.FINE_TUNED[method][0])
        axis.set_title(plots.short(ood), fontsize="medium")
        plots.stage_axis(axis)
    axes[0, 0].set_ylabel("AUROC, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure


def odin_inside(epsilon):
    """What ODIN's step of this size adds to min of MiSP's AUROC, in points, layer by layer and at the final layer."""
    rows = networks("odin_inside")
    if rows.empty:
        return plots.not_recorded()
    sizes = sorted(rows.epsilon.unique())
    if epsilon not in sizes[1:]:
        raise InputError(
            f"no step of {epsilon} is recorded; choose from {', '.join(f'{size:g}' for size in sizes[1:])}"
        )
    figure, axes = plots.grown(1, rows.network.nunique(), height=2.8, sharey=True)
    for axis, (network, each) in zip(axes.flat, rows.groupby("network", sort=False)):
        for ood, one in each.groupby("ood", sort=False):
            table = 100 * one.pivot(index="layer", columns="epsilon", values="auroc").reindex([*LAYERS, "fc"])
            gain, colour = table[epsilon] - table[0.0], plots.colour(ood)
            axis.plot(range(len(LAYERS)), gain.iloc[:-1], color=colour, label=plots.short(ood))
            axis.plot(len(LAYERS), gain.iloc[-1], "s", color=colour)
        axis.axhline(0, color="black", lw=0.8)
        axis.set_title(network, fontsize="medium")
        plots.layer_axis(axis, extra=("fc",))
        axis.tick_params(axis="x", labelsize="xx-small")
    axes[0, 0].set_ylabel("AUROC, points gained")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure
