"""What figures of several chapters share: one look, colour-blind safe, legible on a phone, the thesis overlaid.

A chapter draws with matplotlib and ends with `draw(figure, alt, data, runs)`. AUROC axes are in percent.
"""

import base64
import io
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML

from thesis_utils.book import numbers, tables

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
OF_NETWORKS = {"ReLU": GREY, "softmax": ORANGE, "log-softmax λ = 0": BLUE, "log-softmax λ = 0.01": SKY}
WIDTH = 5.6  # inches: at a phone's 390 pixels 10.5 points are then 9 pixels


def colour(ood):
    return COLOURS.get(ood, ORANGE)


def panels(rows=1, columns=1, height=2.6, **options):
    """A figure of the book's width and an array (rows, columns) of axes, each row `height` inches high."""
    return plt.subplots(rows, columns, figsize=(WIDTH, height * rows + 0.5), squeeze=False, **options)


def two_in_a_row(count, height=2.2):
    """A figure of `count` panels, two in a row, on one vertical scale, and an array (count,) of its axes."""
    figure, axes = panels(-(-count // 2), min(count, 2), height, sharey=True)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes.flat[:count]


def draw(figure, alt, data=None, runs=()):
    """A figure as the book shows it: as SVG, with `alt`, which says what is seen, its data and runs beneath."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    svg = base64.b64encode(file.getvalue().encode()).decode()
    look = f"width: 100%; max-width: {1.15 * figure.get_size_inches()[0]:.1f}in; background: white; border-radius: 4px"
    image = f'<img src="data:image/svg+xml;base64,{svg}" alt="{escape(alt)}" style="{look}">'
    return HTML(image + tables.footer(data, runs))


def layer_axis(axis, layers, final=False):
    """Ticks at the first layer of each stage, and at the final layer if it is drawn at `len(layers)`."""
    layers = list(layers)
    first = [place for place, layer in enumerate(layers) if layer.endswith(".1")]
    names = [layers[place].removeprefix("layer") for place in first]
    axis.set_xticks([*first, *[len(layers)] * final], [*names, *["fc"] * final])
    axis.set_xlabel("residual layer" + (", then the final layer" if final else ""))


def along_layers(axis, table, layers, **look):
    """A line over the layers: the mean over the seeds, with a band from the lowest to the highest.

    `table` has rows of `numbers.frame` of one network, set, reading and aggregation, of whatever seeds.
    """
    values = table.pivot_table(index="run", columns="layer", values="ours")[list(layers)]
    x = np.arange(len(layers))
    (line,) = axis.plot(x, values.mean(), marker="o", ms=3, **look)
    if len(values) > 1:
        axis.fill_between(x, values.min(), values.max(), color=line.get_color(), alpha=0.18, lw=0)
    return line


def at_final(axis, table, x, **look):
    """A square at the final layer, the mean over the seeds, with a bar from the lowest to the highest."""
    axis.plot(x, table.ours.mean(), marker="s", ms=5, ls="", **look)
    axis.vlines(x, table.ours.min(), table.ours.max(), color=look.get("color"), alpha=0.5)


def dots(axis, table, names, paints):
    """A dot plot: a row an entry of the index, a mark a column of `names`; numbers in percent.

    `names` says what each column is called, `paints` how it is coloured.
    """
    y = np.arange(len(table))[::-1]
    for (column, label), paint, mark in zip(names.items(), paints, "osD^vP*X"):
        axis.plot(table[column], y, mark, ms=6, color=paint, label=label)
    axis.set_yticks(y, [numbers.name(place) for place in table.index])
    axis.grid(axis="y")
    axis.grid(axis="x", visible=True)
    axis.set_ylim(-0.6, len(table) - 0.4)


def legend(figure, axis, columns=2):
    """The legend above the panels."""
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, ncols=columns, loc="outside upper left", fontsize="medium")
