"""A verdict on every claim and every number of the thesis, computed from whatever runs there are.

`decide` turns a claim's cells into a verdict, `judge` does so for a number of the thesis' tables. The chapter has both
rules in words.
"""

import numpy as np
import pandas as pd

from thesis_utils import runs
from thesis_utils.book import tables, thesis
from thesis_utils.book.claims import ABOVE, CLAIMS, COMPARABLE, NO_WORSE, SETS, gather, ours_of, short
from thesis_utils.book.differences import spanned
from thesis_utils.book.formatting import MISSING, NONE, UNSCORED, interval, model_label, thesis_number

REPRODUCED, NOT_REPRODUCED, UNDECIDED = VERDICTS = "reproduced", "not reproduced", "cannot be decided at this scale"
HOLDS, FAILS, OPEN, ALONE, ABSENT = "Holds", "Against it", "Open", "One seed of each", "Not recorded yet"
MARGIN = 1.0  # points: how far from the thesis' number still counts as the same


def made_by(profile=None):
    return tables.made_by([run for found in gather(profile).values() for run in found])


# --- claims -----------------------------------------------------------------------------------------


def bounds(kind, cells):
    """Between which two numbers a claim wants its differences.

    "Comparable" and "no worse" reach as far as the largest difference that the thesis itself calls so, and MARGIN more.
    """
    if kind == ABOVE:
        return 0.0, np.inf
    theirs = np.array([cell.thesis for cell in cells])
    if kind == NO_WORSE:
        return min(np.nanmin(theirs), 0.0) - MARGIN, np.inf
    margin = np.nanmax(np.abs(theirs)) + MARGIN
    return -margin, margin


def outcome(ours, least, most):
    """What one cell says: it holds or fails with its whole interval, or it is open."""
    if ours is None:
        return ABSENT
    _, low, high = ours
    if np.isinf(low):
        return ALONE
    return HOLDS if least < low and high < most else FAILS if high < least or most < low else OPEN


def decide(kind, cells):
    """(verdict, why, the counted cells) of a claim.

    Counted are the cells in which the thesis' own numbers show the claim. It is reproduced if it holds in all of them,
    not reproduced if it fails in one, and undecided otherwise.
    """
    least, most = bounds(kind, cells)
    counted = [cell for cell in cells if cell.thesis is None or least < cell.thesis < most]
    outcomes = [outcome(cell.ours, least, most) for cell in counted]
    if set(outcomes) <= {ABSENT}:
        return UNDECIDED, MISSING, counted
    stand_ins = sorted({cell.ood for cell in counted} & set(thesis.STANDS_FOR))
    named = "".join(f" ({name} for {thesis.STANDS_FOR[name].upper()})" for name in stand_ins)
    sentences = [f"Holds in {outcomes.count(HOLDS)} of {len(counted)}{named}"]
    for word in (FAILS, OPEN, ALONE, ABSENT):
        if where := [cell for cell, found in zip(counted, outcomes) if found == word]:
            sentences.append(f"{word}: {places(where, word in (FAILS, OPEN))}")
    if left := [cell for cell in cells if cell not in counted]:
        sentences.append(f"Not counted: {places(left, False)}")
    verdict = NOT_REPRODUCED if FAILS in outcomes else REPRODUCED if set(outcomes) == {HOLDS} else UNDECIDED
    return verdict, ".\n".join(sentences) + ".", counted


def places(cells, values):
    """Some cells by network, if wished with our difference: "ReLU: svhn -20.3; λ = 0: svhn -23.9"."""
    sets = {}
    for cell in cells:
        sets.setdefault(whole(cell.network), []).append(f"{cell.ood} {cell.ours[0]:+.1f}" if values else cell.ood)
    return "; ".join(f"{network}: {', '.join(found)}" for network, found in sets.items())


def whole(text):
    """A text that is not broken into lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def extent(vectors):
    """The lowest and the highest of differences, each with its interval, if it has one."""
    texts = []
    for value, *ends in sorted(map(tuple, vectors)):
        interval = "\n({:+.1f} to {:+.1f})".format(*ends) if np.isfinite(ends).any() else ""
        texts.append(f"{value:+.1f}{interval}")
    return whole("\nto ".join(dict.fromkeys([*texts[:1], *texts[-1:]])))


def claims(profile=None):
    """The thesis' claims in the order of its slides: what its own numbers say, what ours, and the verdict."""
    found, rows = gather(profile), []
    for claim in CLAIMS:
        cells = claim.cells(found)
        verdict, why, counted = decide(claim.kind, cells)
        least, most = bounds(claim.kind, cells)
        wanted = {ABOVE: "above 0", NO_WORSE: f"at least {least:+.1f}", COMPARABLE: f"within ±{most:.1f}"}[claim.kind]
        theirs = [[cell.thesis] for cell in counted if cell.thesis is not None and not np.isnan(cell.thesis)]
        rows.append({
            "slides": claim.slides,
            "the thesis says": f"{claim.says}\nTested: {claim.tested_as}, {wanted}",
            "verdict": verdict,
            "thesis": extent(theirs) or "in words",
            "ours": extent(cell.ours for cell in counted if cell.ours is not None) or MISSING,
            "why": why,
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("slides")


# --- numbers ----------------------------------------------------------------------------------------

LABELS = {method: label for label, (method, _) in tables.METHODS.items()}
READINGS = {"accuracy": "", "best aggregation": "best_direction"}  # all others: fixed_direction


def measured(profile=None):
    """{(in-distribution, network, out-distribution, method): our number, spanned over the seeds}, in percent."""
    found = pd.concat(tables.tidy(profile, dataset, cells=tables.ACCURACY_GRID) for dataset in SETS)
    as_in_the_thesis = found.method.map(READINGS).fillna("fixed_direction")
    found = found[found.reading.eq(as_in_the_thesis) & found.ours.notna()]
    keys = ["in-distribution", "network", "out-distribution", "method"]
    return {key: spanned(rows[["ours", "low", "high"]]) for key, rows in found.groupby(keys)}


def same(value, vector):
    return vector[1] - MARGIN <= value <= vector[2] + MARGIN


def judge(row, ours, name, accuracy, profile):
    """(verdict, why) of a number of the thesis' tables, from ours (value, low, high) on the set `name`.

    `accuracy` is the same of the network's test accuracy, ours minus the thesis'. Decided only by networks whose
    accuracy lies within MARGIN of the thesis', on the same images. Reproduced: the number lies within MARGIN of our
    interval. Not reproduced: it does not, and the profile is `thesis`.
    """
    if ours is None:
        return UNDECIDED, NONE
    off = f"{ours[0] - row.value:+.1f} points"
    if row.note == "misprint":
        return UNDECIDED, "a misprint of the thesis"
    if name != row.ood:
        return UNDECIDED, f"{off}, on other images"
    if not same(0, accuracy) and row.method != "accuracy":
        return UNDECIDED, f"{off}, but the network's accuracy is off by {accuracy[0]:+.1f}"
    if same(row.value, ours):
        return REPRODUCED, off
    return (NOT_REPRODUCED, off) if profile == "thesis" else (UNDECIDED, f"{off}, by a smaller network")


def numbers(profile=None):
    """Every number of the thesis' tables beside ours."""
    found, rows, profile = measured(profile), {}, runs.configure(profile).profile
    for row in thesis.TABLES.sort_values("slide", kind="stable").itertuples():
        network = (row.activation, row.entropy_factor)
        place, what = (row.dataset, model_label(*network)), LABELS[row.method]
        names = ours_of(row.ood)
        name = next((name for name in names if (*place, name, what) in found), names[-1])
        ours, accuracy = found.get((*place, name, what)), found.get((*place, "test", "accuracy"))
        theirs = thesis.value(row.dataset, *network, "test", "accuracy")[0]
        verdict, why = judge(row, ours, name, None if accuracy is None else accuracy - theirs, profile)
        if row.method != "accuracy":
            what += f", {row.ood}" + ("" if name == row.ood else f"\n(ours: {name})")
        rows[row.slide, f"{row.dataset}, {whole(short(network))}", what] = {
            "verdict": verdict,
            "thesis": thesis_number(row.value, row.note),
            "ours": (MISSING if accuracy is None else UNSCORED) if ours is None else interval(*ours),
            "why": why,
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(rows, names=["slide", "trained on, network", "number"])
    return frame


def summary(**frames):
    """How many lines of each table have which verdict."""
    counts = {name: frame.verdict.value_counts().reindex(VERDICTS, fill_value=0) for name, frame in frames.items()}
    return pd.DataFrame(counts).T.assign(**{"in all": [len(frame) for frame in frames.values()]})
