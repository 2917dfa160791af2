"""Drawings of the method, no numbers of runs in them: the block with its activation, and the nine aggregations."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch.nn import functional as F

from thesis_utils import scorers
from thesis_utils.book.formatting import score_label
from thesis_utils.book.plots import BLUE, GREY, SKY, VERMILION

INK = "#333333"


def canvas(width, height):
    """A figure whose one axis counts in tenths of an inch and shows nothing of itself."""
    figure, axis = plt.subplots(figsize=(width / 10, height / 10))
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axis.axis("off")
    return figure, axis


def box(axis, x, y, text, width=12, height=4, paint="white", ink=INK):
    """A box with its centre at (x, y)."""
    axis.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, "round,pad=0,rounding_size=0.6",
                                  fc=paint, ec=ink, lw=1.2))  # fmt: skip
    axis.text(x, y, text, ha="center", va="center", fontsize=9, color="white" if paint == BLUE else INK)


def arrow(axis, start, end):
    look = dict(arrowstyle="-|>", mutation_scale=10, color=INK, lw=1.2, shrinkA=0, shrinkB=0)
    axis.add_patch(FancyArrowPatch(start, end, **look))


def block():
    """Slides 5 and 6: a residual block with its activation after the skip connection, and what that does at a pixel."""
    figure, axis = canvas(92, 26)
    y, top = 14, 21
    axis.text(2, y, "$x$", ha="center", va="center", fontsize=11)
    for start, center, text in ((3.5, 14, "conv–BN"), (19, 26.5, "ReLU"), (31.5, 39, "conv–BN")):
        box(axis, center, y, text, 10)
        arrow(axis, (start, y), (center - 5, y))
    arrow(axis, (44, y), (47.4, y))
    axis.text(26.5, y - 4.5, "$F(x)$", ha="center", va="center", fontsize=10)
    axis.plot([5.5, 5.5, 49], [y, top, top], color=INK, lw=1.2)
    arrow(axis, (49, top), (49, y + 1.6))
    axis.text(26.5, top + 1.7, "skip connection", ha="center", va="center", fontsize=9)
    axis.add_patch(plt.Circle((49, y), 1.6, fc="white", ec=INK, lw=1.2))
    axis.text(49, y, "+", ha="center", va="center", fontsize=12)
    arrow(axis, (50.6, y), (54, y))
    axis.text(52.2, y + 1.4, "$u$", ha="center", fontsize=10)
    box(axis, 61.5, y, "activation $a$", 15, 5, BLUE, BLUE)
    arrow(axis, (69, y), (73, y))
    for k, text in enumerate(("ReLU (baseline)", "softmax over channels", "log-softmax over channels")):
        axis.text(61.5, y - 5 - 2.6 * k, text, ha="center", fontsize=9, color=VERMILION if k == 2 else INK)
    for k in range(5):  # a map: one parallelogram a channel
        x = 75 + 2.4 * k
        corners = [(x, y - 5), (x + 3.2, y - 2), (x + 3.2, y + 7), (x, y + 4)]
        axis.add_patch(plt.Polygon(corners, fc="#dcebf5" if k % 2 else SKY, ec=INK, lw=0.8))
    axis.plot(76.6 + 2.4 * np.arange(5), np.full(5, y + 1), "s-", color=VERMILION, ms=4, lw=1)
    axis.text(81.5, y + 8.6, "map $z$: $C$ channels, $H\\times W$ pixels", ha="center", fontsize=9)
    axis.text(81.5, y - 7.8, "at every pixel a distribution", ha="center", fontsize=9, color=VERMILION)
    axis.text(81.5, y - 10.4, "over the channels: $\\sum_c\\, e^{z_c} = 1$", ha="center", fontsize=9, color=VERMILION)
    return figure


def example(channels=4, size=4):
    """A small map of log-probabilities (C, H, W), whatever the numbers."""
    return F.log_softmax(2 * torch.randn(channels, size, size, generator=torch.Generator().manual_seed(3)), 0)


def aggregations():
    """Slides 16 to 18: from a map by a reduction of the channels, then of the pixels, to nine scores; one at `fc`."""
    z = example()
    scores = dict(zip(scorers.AGGREGATIONS, scorers.aggregate(z[None])[0].tolist()))
    reduced = {"msp": z.amax(0), "misp": z.amin(0), "asp": z.mean(0)}
    figure = plt.figure(figsize=(9.2, 5.6), layout="none")
    looks = dict(cmap="cividis", vmin=z.min().item(), vmax=0)

    def picture(values, left, bottom, side, title, size=6):
        axis = figure.add_axes([left, bottom, side, side * 9.2 / 5.6])
        axis.imshow(values, **looks)
        for (row, column), value in np.ndenumerate(values.double().numpy()):
            axis.text(column, row, f"{round(value, 1) + 0:.1f}", ha="center", va="center", fontsize=size,
                      color="black" if value > looks["vmin"] / 2 else "white")  # fmt: skip
        axis.set_title(title, fontsize=9, fontweight="normal")
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)

    for k, channel in enumerate(z):
        picture(channel, 0.02, 0.735 - 0.235 * k, 0.105, f"channel {k + 1}")
    formulas = {"msp": r"MSP: $\max_c z_c$", "misp": r"MiSP: $\min_c z_c$", "asp": r"ASP: mean$_c\, z_c$"}
    for k, (name, formula) in enumerate(formulas.items()):
        bottom = 0.665 - 0.29 * k
        picture(reduced[name], 0.33, bottom, 0.13, formula, 7)
        figure.text(0.245, bottom + 0.107, "→", ha="center", va="center", fontsize=16, color=INK)
        for row, spatial in enumerate(("max", "min", "avg")):
            score, y = f"{spatial}_of_{name}", bottom + 0.18 - 0.073 * row
            paint = VERMILION if score == "min_of_misp" else INK
            figure.text(0.53, y, "→", ha="center", va="center", fontsize=12, color=GREY)
            figure.text(0.57, y, score_label(score), va="center", fontsize=10, color=paint)
            figure.text(0.78, y, f"{scores[score]:.2f}", va="center", ha="right", fontsize=10, color=paint)
    for left, text in (0.07, "a layer's map $z$"), (0.395, "1. channels, at each pixel"), (0.67, "2. pixels"):
        figure.text(left, 0.985, text, ha="center", va="top", fontsize=10, fontweight="bold")
    figure.text(0.815, 0.37, "At the final layer\nthere is one pixel:\nMSP, MiSP and ASP\nof the logits,\n3 scores.",
                va="center", fontsize=10, color=INK)  # fmt: skip
    figure.text(0.815, 0.75, "Nine scores\na layer,\nsixteen layers.", va="center", fontsize=10, color=INK)
    return figure
