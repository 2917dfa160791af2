"""The tables and pictures of the chapter on the detector: from the CSVs of `results/`, and from a run at work.

Tables are DataFrames of text, in percent. What is not recorded leaves "not recorded yet" in its place.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from PIL import Image

from thesis_utils import data
from thesis_utils.book import plots, tables
from thesis_utils.book.experiments import experiment, networks
from thesis_utils.book.formatting import MISSING, NONE, interval, label, not_recorded
from thesis_utils.detector import PARTS
from thesis_utils.errors import InputError

HIGHER = {"auroc": True, "fpr95": False, "fpr95_ood_positive": False, "called": True}  # which are better
FALSE_ALARMS, WORST, LOOKS_AT, ORACLE = "false alarms", "worst", "looks at", "the tested set"
MOST = 24  # images of a folder that are shown one by one
COLUMNS = 6
PUBLISHED = pd.DataFrame(  # AUROC, %, as the papers print them
    [
        ("Gram", "ResNet-34", 79.0, 99.5, 99.9, NONE, "Sastry and Oore 2020"),
        ("XOOD-L", "ResNet-34", 86.8, 99.4, 99.5, NONE, "Berglind et al. 2022"),
        ("kNN", "ResNet-18, OpenOOD 1.5", NONE, NONE, NONE, 90.6, "Zhang et al. 2023"),
        ("NAC", "ResNet-18, OpenOOD 1.5", NONE, 96.1, NONE, NONE, "Liu et al. 2024"),
    ],
    columns=["method", "network", "CIFAR-100", "SVHN", "LSUN, resized", "near sets, mean", "source"],
)


def bold(text):
    return f"<b>{text}</b>"


def percent(share):
    return NONE if np.isnan(share) else f"{100 * share:.2f}"


def show(found, caption):
    """Several tables, {title: DataFrame}, one below another, as the book shows them; the caption tells {title}."""
    shown = (tables.show(table, caption.format(title=title)).to_html() for title, table in found.items())
    return HTML("".join(shown))


# --- what is recorded ---------------------------------------------------------------------------------


def variants():
    """Which parts and which readings: AUROC against distorted calibration images, mean and worst of the distortions.

    From `experiments/parts.py`: of all its networks, then of each; the best of a column is bold.
    """
    rows = experiment("parts")
    if rows.empty:
        return not_recorded()
    areas = rows.set_index(["variant", "network"])
    each = pd.DataFrame({"mean": areas.mean(axis=1), WORST: areas.min(axis=1)}).unstack("network")
    whole = pd.DataFrame(
        {"mean": each["mean"].mean(axis=1, skipna=False), WORST: each[WORST].min(axis=1, skipna=False)}
    )
    parts = {"all": whole} | {name: each.xs(name, axis=1, level=1) for name in rows.network.unique()}
    table = pd.concat(parts, axis=1).reindex(rows.variant.unique()).round(2)
    text = table.map(lambda value: NONE if np.isnan(value) else f"{value:.2f}")
    return text.where(table.ne(table.max()), text.map(bold)).rename_axis(columns=[None, None])


def guarantee():
    """False alarms at each alpha by what the detector was calibrated on, with their binomial 95 % interval."""
    rows = networks("guarantee")
    if rows.empty:
        return not_recorded()
    share, half = rows.false_alarms, 1.96 * (rows.false_alarms * (1 - rows.false_alarms) / rows.n) ** 0.5
    ends = (100 * (share - half).clip(lower=0), 100 * (share + half).clip(upper=1))
    rows["text"] = [interval(*numbers) for numbers in zip(100 * share, *ends)]
    rows["alpha"] = [f"{100 * alpha:g} %" for alpha in rows.alpha]
    order = rows.drop_duplicates(["network", "alpha"])[["network", "alpha"]]
    text = rows.pivot(index=["network", "alpha"], columns="calibrated_on", values="text").fillna(NONE)
    text = text.reindex(pd.MultiIndex.from_frame(order), columns=rows.calibrated_on.unique())
    return text.rename_axis(columns="calibrated on")


def with_worst(rows, metric):
    """Methods by test sets, and each method's worst of the sets (missing if one of them is)."""
    values = rows.pivot(index="method", columns="ood", values=metric)
    return values, (values.min if HIGHER[metric] else values.max)(axis=1, skipna=False)


def compared(rows, metric, with_interval=None):
    """Methods by test sets: a DataFrame of text made of rows with `method`, `ood` and the metric (shares, 0 to 1).

    `called` begins with the false alarms, those rows that have no AUROC. The last number is the worst of the sets. Bold
    is the best worst case of all methods that do not look at the tested set. An AUROC has its interval, or only those
    of the methods `with_interval` do.
    """
    inside, outside = rows[rows.auroc.isna()], rows[rows.auroc.notna()]
    methods, sets = outside.method.unique(), outside.ood.unique()
    values, worst = with_worst(outside, metric)
    values, worst = values.reindex(index=methods, columns=sets), worst.reindex(methods)
    cells = values.map(percent)
    for row in outside.itertuples() if metric == "auroc" else ():
        if with_interval is None or row.method in with_interval:
            cells.loc[row.method, row.ood] = interval(*(100 * row.auroc, 100 * row.auroc_low, 100 * row.auroc_high))
    cells[WORST] = worst.map(percent)
    if metric == "called":
        cells.insert(0, FALSE_ALARMS, inside.set_index("method").called.reindex(methods).map(percent))
        cells = cells[values.notna().any(axis=1)].copy()
    fair = worst
    if "looks_at" in rows:
        cells[LOOKS_AT] = rows.drop_duplicates("method").set_index("method").looks_at
        fair = worst[cells[LOOKS_AT].reindex(methods).ne(ORACLE)]
    best = fair.max() if HIGHER[metric] else fair.min()
    winners = cells.index.intersection(fair.index[fair.eq(best)])
    cells.loc[winners, WORST] = cells.loc[winners, WORST].map(bold)
    return cells.rename_axis(index="method", columns=None)


def comparison(metric="auroc"):
    """{network: the methods by out-distributions}, by one metric of `HIGHER`."""
    rows = networks("open_world")
    if rows.empty:
        return {MISSING: not_recorded()}
    return {network: compared(found, metric) for network, found in rows.groupby("network", sort=False)}


def published():
    """What papers report of such methods, in-distribution CIFAR-10: typed from them, on networks of theirs."""
    return PUBLISHED.set_index("method").map(str)


def imagenet():
    """Sets by methods for the network that nobody here trained: what the detector calls, then AUROC."""
    rows = experiment("imagenet")
    if rows.empty:
        return not_recorded()
    rows = rows.rename(columns={"set": "ood"})
    rows[["auroc", "auroc_low", "auroc_high", "called"]] /= 100
    first = rows.method.iloc[0]
    table = compared(rows, "auroc", with_interval=[]).T
    rows = rows[rows.method.eq(first)].set_index("ood")
    table = table.reindex([*rows.index, WORST], fill_value=NONE)
    table.insert(0, "called", [*map(percent, rows.called), percent(rows.called[rows.auroc.notna()].min())])
    alike = ["logits", "max-logit"]  # to the energy
    return table.drop(columns=alike, errors="ignore").rename_axis(index=None, columns=None)


# --- a detector at work -------------------------------------------------------------------------------


def is_folder(ood):
    """Whether `ood` is the reader's own folder rather than a data set's name."""
    return ood not in data.names() and Path(ood).is_dir()


def look(run, ood, alpha=0.05):
    """What the run's detector says of each image of a folder or a data set's test split: a row an image.

    The columns of `Detector.explain`, `set`, and of a folder the `path`. For a data set the run's own in-distribution
    test images come as well, where they are there without a download.
    """
    if is_folder(ood):
        return run.detect(ood, alpha).assign(set=ood)
    names = [run.config.dataset] * data.present(run.config.dataset) + [ood] * (ood != run.config.dataset)
    if not names:
        raise InputError(f"the images of {ood} are not there; name another set or a folder of images")
    found = [run.detector.explain(data.load(name, "test").pixels, alpha).assign(set=name) for name in names]
    return pd.concat(found, ignore_index=True)


def counts(seen, alpha=0.05):
    """How many images are called out-of-distribution, set by set, and which part had the smallest p-value of those."""
    rows = {}
    for name, table in seen.groupby("set", sort=False):
        parts = table.loc[table.outlier, list(PARTS)].idxmin(axis=1).value_counts()
        rows[plots.short(name)] = {
            "images": f"{len(table):,}",
            f"called out-of-distribution at alpha = {alpha:g}": f"{table.outlier.sum():,}",
            "share, %": f"{100 * table.outlier.mean():.1f}",
            **{f"given away by {part}": f"{parts.get(part, 0):,}" for part in PARTS},
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def picture(run, seen, alpha=0.05):
    """A small folder's images with what is said of each; of anything else a histogram of the p-values."""
    if "path" in seen and len(seen) <= MOST:
        return thumbnails(seen)
    return p_values(run, seen, alpha)


def thumbnails(seen):
    """The images, most suspicious first, each with its p-value, the verdict, and what gave it away."""
    seen = seen.sort_values("p_value")
    rows = -(-len(seen) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(9, 2.3 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, row in zip(axes.flat, seen.itertuples()):
        image = Image.open(row.path).convert("RGB")
        image.thumbnail((160, 160))
        axis.imshow(image)
        paint = plots.VERMILION if row.outlier else plots.BLUE
        verdict = f"out: {row.given_away_by}" if row.outlier else "in"
        axis.set_title(f"{Path(row.path).name[-22:]}\np = {row.p_value:.3g}\n{verdict}", fontsize=6.5, color=paint)
    return figure


def p_values(run, seen, alpha=0.05):
    """Histograms of the p-values; the dashed line is how those of in-distribution images are distributed."""
    figure, axis = plt.subplots(figsize=(8, 2.8))
    bins = np.linspace(0, 1, 41)
    for name, table in seen.groupby("set", sort=False):
        paint = plots.GREY if name == run.config.dataset else plots.colour(name)
        axis.hist(table.p_value, bins, density=True, color=paint, alpha=0.6, label=plots.short(name))
    axis.axhline(1, ls="--", color="black", lw=1, label="in-distribution, by construction")
    axis.axvline(alpha, color=plots.PURPLE, lw=1.2, label=f"alpha = {alpha:g}")
    axis.set(xlim=(0, 1), xlabel="p-value", ylabel="density", title=f"The detector of {label(run)}")
    axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure
