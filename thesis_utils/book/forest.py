"""The verdict as one picture: every claim of the thesis with the differences that it is about."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from thesis_utils.book import plots, verdict
from thesis_utils.book.claims import ELSEWHERE, SCENES

PAINT = {verdict.HOLDS: plots.BLUE, verdict.FAILS: plots.VERMILION}
INK = {verdict.REPRODUCED: plots.BLUE, verdict.NOT_REPRODUCED: plots.VERMILION, verdict.UNDECIDED: "#666666"}
LINEAR, REACH = 10, 60  # points: the axis is linear up to the one, logarithmic from there, and ends at the other
MARKS = dict(zip(SCENES, "sD"))


def plot(lines):
    """A row a claim, in the order of the slides: a line for each counted cell, ours with its interval.

    Grey: where the claim wants it. Circles: the thesis' differences. Squares and diamonds: the two sets in LSUN's
    place. Pale: differences that cannot decide their claim.
    """
    heights = [max(len(line.counted), 2) + 1.5 for line in lines]
    figure, axis = plt.subplots(figsize=(9.5, 0.105 * sum(heights) + 1.2))
    axis.set_xscale("symlog", linthresh=LINEAR, linscale=1.0)
    top = 0.0
    for k, (line, height) in enumerate(zip(lines, heights)):
        wanted = np.clip([line.least, line.most], -REACH, REACH)
        axis.fill_betweenx([top, top + height], *wanted, color="#eeeeee" if k % 2 else "#e2e2e2", lw=0)
        for at, cell in enumerate(line.counted, start=1):
            draw(axis, line, cell, top + at + 0.25)
        where = "CIFAR-100, " if line.claim.says.startswith(ELSEWHERE) else ""
        words = textwrap.fill(f"{line.claim.slides}: {where}{line.claim.tested_as}", 62, max_lines=3)
        axis.text(-0.01, top + height / 2, words, ha="right", va="center", fontsize=6.5,
                  transform=axis.get_yaxis_transform())  # fmt: skip
        verdicts = [line.on[scenes][0] for scenes in SCENES]
        axis.text(1.01, top + height / 2, short(*verdicts), ha="left", va="center", fontsize=6.5, weight="bold",
                  color=INK[verdicts[0]], transform=axis.get_yaxis_transform())  # fmt: skip
        top += height
        axis.axhline(top, color="white", lw=1.5)
    axis.axvline(0, color=plots.GREY, lw=0.8)
    ticks = [-50, -20, -10, -5, 0, 5, 10, 20, 50]
    axis.set(xlim=(-REACH, REACH), ylim=(top, 0), xlabel="difference, points")
    axis.set_xticks(ticks, [f"{tick:+d}".replace("+0", "0") for tick in ticks])
    axis.set_yticks([])
    axis.grid(True, axis="x")
    figure.legend(handles=legend(), ncols=3, fontsize="small", loc="outside upper center")
    return figure


def draw(axis, line, cell, at):
    if cell.thesis is not None:
        axis.plot(cell.thesis, at, "o", mfc="none", mec="black", ms=3.2, mew=0.6, zorder=3)
    if cell.ours is None:
        return
    value, low, high = cell.ours
    looks = {"color": PAINT.get(line.outcome(cell), plots.GREY), "alpha": 0.4 if line.doubt else 1.0}
    axis.plot(np.clip([low, high], -REACH, REACH), [at, at], lw=1.2, **looks)
    axis.plot(value, at, MARKS.get(cell.ood, "."), ms=3.4 if cell.ood in MARKS else 5.5, **looks)


def short(resize, fix):
    """The verdict, without the words that every undecided one has; both where they part."""
    names = [{verdict.UNDECIDED: "cannot be decided"}.get(one, one) for one in (resize, fix)]
    return names[0] if resize == fix else f"{names[0]};\nwith {SCENES[1]}\n{names[1]}"


def legend():
    def mark(shape, label, **looks):
        return plt.Line2D([], [], ls="", marker=shape, label=label, **{"color": plots.GREY, "ms": 5} | looks)

    return [
        mark("_", "holds", color=plots.BLUE, ms=12, mew=2),
        mark("_", "against it", color=plots.VERMILION, ms=12, mew=2),
        mark("_", "open", ms=12, mew=2),
        mark("o", "thesis", color="black", mfc="none"),
        *(mark(shape, f"ours, {name} for LSUN") for name, shape in MARKS.items()),
        mark(".", "ours, other sets", ms=8),
        plt.Rectangle((0, 0), 1, 1, color="#e2e2e2", label="where the claim wants it"),
    ]
