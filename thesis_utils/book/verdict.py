"""A verdict on every claim and every number of the thesis, computed from whatever runs there are.

`decide` turns a claim's cells into a verdict, `judge` does so for a number of the thesis' tables. The chapter has both
rules in words. What the thesis says of LSUN is judged on each of `claims.SCENES`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from thesis_utils import runs
from thesis_utils.book import tables, thesis
from thesis_utils.book.claims import ABOVE, CLAIMS, COMPARABLE, NO_WORSE, SCENES, SETS, Claim, gather, ours_of, short
from thesis_utils.book.differences import area, layers, spanned
from thesis_utils.book.formatting import (
    MISSING,
    NONE,
    UNSCORED,
    by_network,
    interval,
    model_label,
    thesis_number,
)
from thesis_utils.models import LAYERS

REPRODUCED, NOT_REPRODUCED, UNDECIDED = VERDICTS = "reproduced", "not reproduced", "cannot be decided at this scale"
HOLDS, FAILS, OPEN, ALONE, ABSENT = "Holds", "Against it", "Open", "One seed of each", "Not recorded yet"
RESIZE, FIX = SCENES
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


def counts(cell, least, most):
    """Whether the thesis' own number shows the claim in this cell; where it has said so in words, it does."""
    return cell.thesis is None or least < cell.thesis < most


def decide(kind, cells, doubt=""):
    """(verdict, why, the counted cells) of a claim.

    Counted are the cells in which the thesis' own numbers show the claim. It is reproduced if it holds in all of them,
    not reproduced if it fails in one, and undecided otherwise, or where there is a `doubt`.
    """
    least, most = bounds(kind, cells)
    counted = [cell for cell in cells if counts(cell, least, most)]
    outcomes = [outcome(cell.ours, least, most) for cell in counted]
    if set(outcomes) <= {ABSENT}:
        return UNDECIDED, MISSING, counted
    sentences = [f"Holds in {outcomes.count(HOLDS)} of {len(counted)}"]
    for word in (FAILS, OPEN, ALONE, ABSENT):
        if where := [cell for cell, found in zip(counted, outcomes) if found == word]:
            sentences.append(f"{word}: {places(where, word in (FAILS, OPEN))}")
    if left := [cell for cell in cells if cell not in counted]:
        sentences.append(f"Not counted: {places(left, False)}")
    verdict = NOT_REPRODUCED if FAILS in outcomes else REPRODUCED if set(outcomes) == {HOLDS} else UNDECIDED
    return UNDECIDED if doubt else verdict, ".\n".join(sentences) + ".", counted


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


@dataclass(frozen=True)
class Line:
    """A claim as judged: with each of SCENES in LSUN's place (verdict, why, the counted cells), and on all cells."""

    claim: Claim
    cells: list
    least: float
    most: float
    on: dict  # {RESIZE: (verdict, why, counted), FIX: the same}
    doubt: str

    verdict = property(lambda self: self.on[RESIZE][0])
    counted = property(lambda self: [cell for cell in self.cells if counts(cell, self.least, self.most)])

    def outcome(self, cell):
        return outcome(cell.ours, self.least, self.most)


def judged(claim, found):
    cells, doubt = claim.cells(found), claim.doubt(found)
    others = {RESIZE: FIX, FIX: RESIZE}
    on = {scenes: decide(claim.kind, [cell for cell in cells if cell.ood != other], doubt)
          for scenes, other in others.items()}  # fmt: skip
    return Line(claim, cells, *bounds(claim.kind, cells), on, doubt)


def lines(profile=None):
    """The thesis' claims in the order of its slides, judged."""
    found = gather(profile)
    return [judged(claim, found) for claim in CLAIMS]


def claims(lines):
    """The claims in words: what the thesis' own numbers say, what ours, and the verdict."""
    rows = []
    for line in lines:
        claim, cells = line.claim, line.counted
        wanted = {
            ABOVE: "above 0", NO_WORSE: f"at least {line.least:+.1f}", COMPARABLE: f"within ±{line.most:.1f}"
        }[claim.kind]  # fmt: skip
        theirs = [[cell.thesis] for cell in cells if cell.thesis is not None and not np.isnan(cell.thesis)]
        (resize, why, _), (fix, other, _) = line.on.values()
        rows.append({
            "slides": claim.slides,
            "the thesis says": f"{claim.says}\nTested: {claim.tested_as}, {wanted}",
            "verdict": resize if fix == resize else f"{RESIZE}: {resize}\n{FIX}: {fix}",
            "thesis": extent(theirs) or "in words",
            "ours": extent(cell.ours for cell in cells if cell.ours is not None) or MISSING,
            "why": "\n".join([f"{line.doubt}."] * bool(line.doubt) + [why] + [f"With {FIX}: {other}"] * (other != why)),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("slides")


def parted(lines):
    """Where the two sets in LSUN's place say something else: the counted cells whose outcomes differ."""
    rows = {}
    for line in (line for line in lines if not line.doubt):
        shown = [cell for cell in line.counted if cell.ood in SCENES and cell.ours is not None]
        cells = {(cell.network, cell.ood): cell for cell in shown}
        for network in dict.fromkeys(network for network, _ in cells):
            both = [cells[network, name] for name in SCENES if (network, name) in cells]
            if len({line.outcome(cell) for cell in both}) > 1:
                rows[line.claim.slides, line.claim.tested_as, whole(network)] = {
                    cell.ood: f"{line.outcome(cell)}\n{extent([cell.ours])}" for cell in both
                }
    if not rows:
        return pd.DataFrame({"": ["nowhere"]})
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(rows, names=["slides", "tested", "network"])
    return frame


def named(lines):
    """The claims by verdict, with `places9_resize` in LSUN's place, in the thesis' words: Markdown."""
    found = []
    for word in VERDICTS:
        claims = [line.claim for line in lines if line.verdict == word]
        found += [f"- **{word.capitalize()}**" + ("" if claims else ": none")]
        found += [f"  - {claim.says} (slide{'s' * (',' in claim.slides)} {claim.slides})" for claim in claims]
    return "\n".join(found)


def own_result(lines):
    """What the claim that is one of design gives in our networks: Markdown."""
    (line,) = [line for line in lines if "of design" in line.doubt]
    cells = [
        f"{extent([cell.ours])} on `{cell.ood}`".replace("\n", " ") for cell in line.cells if cell.ours is not None
    ]
    return f"{line.claim.tested_as.removeprefix('our reading: ')}, in points: {', '.join(cells) or MISSING}."


def moved(profile=None):
    """How far a network's seeds lie apart, AUROC in points: at the final layer, and min of MiSP at the others."""
    rows, finals = {}, {"MSP": "fc/msp", "MiSP": "fc/misp"}
    for (_, *network), models in gather(profile).items():
        for ood in models[0].out_distributions() if len(models) > 1 else []:
            seeds = [run for run in models if ood in run.out_distributions()]
            fc = {name: np.array([area(run, ood, score) for run in seeds]) for name, score in finals.items()}
            inner = np.ptp([layers(run, ood)[:, 0] for run in seeds], axis=0)
            rows[model_label(*network), ood] = {
                ("", "seeds"): str(len(seeds)),
                **{("final layer", name): f"{np.ptp(found[:, 0]):.1f}" for name, found in fc.items()},
                ("min of MiSP", "middle"): f"{np.median(inner):.1f}",
                ("min of MiSP", "widest"): f"{inner.max():.1f}, {LAYERS[inner.argmax()]}",
                ("DeLong", "interval"): f"{np.diff(fc['MiSP'][:, 1:]).mean():.1f}",
            }
    return by_network(rows)


# --- numbers ----------------------------------------------------------------------------------------

LABELS = {method: label for label, (method, _) in tables.METHODS.items()}
INACCURATE = "the network's accuracy is off"
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
    if row.note == "misprint":
        return UNDECIDED, "a misprint of the thesis"
    if name != row.ood:
        return UNDECIDED, "on other images"
    if not same(0, accuracy) and row.method != "accuracy":
        return UNDECIDED, f"{INACCURATE} by {accuracy[0]:+.1f}"
    if same(row.value, ours):
        return REPRODUCED, "within the margin"
    return (NOT_REPRODUCED, "beyond the margin") if profile == "thesis" else (UNDECIDED, "by a smaller network")


def numbers(profile=None):
    """Every number of the thesis' tables beside ours.

    Ours of a profile, or else of the profile in which such a network comes nearest to the thesis' accuracy.
    """
    found, rows = {one: measured(one) for one in ([profile] if profile else runs.PROFILES)}, {}
    for row in thesis.TABLES.sort_values("slide", kind="stable").itertuples():
        network = (row.activation, row.entropy_factor)
        place, what = (row.dataset, model_label(*network)), LABELS[row.method]
        theirs = thesis.value(row.dataset, *network, "test", "accuracy")[0]
        off = {one: ours[*place, "test", "accuracy"] - theirs for one, ours in found.items()
               if (*place, "test", "accuracy") in ours}  # fmt: skip
        nearest = min(off, key=lambda one: abs(off[one][0]), default=None)
        names, values = ours_of(row.ood)[:2], found.get(nearest, {})
        name = next((name for name in names if (*place, name, what) in values), names[-1])
        ours = values.get((*place, name, what))
        verdict, why = judge(row, ours, name, off.get(nearest), nearest)
        if row.method != "accuracy":
            what += f", {row.ood}" + ("" if name == row.ood else f"\n(ours: {name})")
        rows[row.slide, f"{row.dataset}, {whole(short(network))}", what] = {
            "verdict": verdict,
            "thesis": thesis_number(row.value, row.note),
            "ours": (UNSCORED if nearest else MISSING) if ours is None else interval(*ours),
            "profile": nearest or NONE,
            "ours − thesis": NONE if ours is None or row.note == "misprint" else f"{ours[0] - row.value:+.1f}",
            "why": why,
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(rows, names=["slide", "trained on, network", "number"])
    return frame


def by_table(numbers):
    """The numbers in short, a line a slide: how many have which verdict, how far ours are off, and why undecided."""
    off, rows = pd.to_numeric(numbers["ours − thesis"], errors="coerce"), {}
    for slide, table in numbers.groupby(level="slide"):
        distance = off[table.index].dropna()
        why = table.why[table.verdict.eq(UNDECIDED)].str.replace(f"{INACCURATE}.*", INACCURATE, regex=True)
        reasons = [f"{count} × {reason}" for reason, count in why.replace(NONE, MISSING).value_counts().items()]
        rows[slide] = {"numbers": len(table)} | dict(table.verdict.value_counts().reindex(VERDICTS, fill_value=0)) | {
            "ours − thesis": NONE if distance.empty else whole(f"{distance.min():+.1f} to {distance.max():+.1f}"),
            "median": NONE if distance.empty else f"{distance.median():+.1f}",
            "why undecided": "\n".join(reasons) or NONE,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("slide")


def summary(lines, numbers):
    """How many claims, with each of the two sets in LSUN's place, and how many numbers have which verdict."""
    found = {f"claims, {scenes} for LSUN": pd.Series([line.on[scenes][0] for line in lines]) for scenes in SCENES}
    found["numbers"] = numbers.verdict
    frame = pd.DataFrame({name: each.value_counts().reindex(VERDICTS, fill_value=0) for name, each in found.items()})
    return frame.T.assign(**{"in all": [len(each) for each in found.values()]})


def in_short(lines, numbers):
    """The same in a sentence or two, and which claims the two sets tell apart: Markdown."""
    table, number = summary(lines, numbers), numbers.verdict.value_counts().reindex(VERDICTS, fill_value=0)
    first, second = (", ".join(f"**{table.loc[row, word]}** {word}" for word in VERDICTS) for row in table.index[:2])
    moved = [line.claim.says for line in lines if line.on[FIX][0] != line.verdict]
    text = f"Of the thesis' {len(lines)} claims, with `{RESIZE}` in LSUN's place: {first}. With `{FIX}`: {second}"
    text += f" (another verdict: {'; '.join(moved)}). " if moved else ". No verdict differs. "
    ours = ", ".join(f"**{number[word]}** {word}" for word in VERDICTS)
    return f"{text}Of its {len(numbers)} numbers: {ours}."


def by_profile():
    """The verdict on each claim (with RESIZE in LSUN's place) in the networks of each recorded profile."""
    configs = [runs.configure(one) for one in runs.PROFILES if any(gather(one).values())]
    verdicts = {
        f"{one.profile}\nwidth {one.width}, {one.epochs} epochs": [line.verdict for line in lines(one.profile)]
        for one in configs
    }
    return pd.DataFrame(verdicts, pd.Index([claim.says for claim in CLAIMS], name="claim")).replace(UNDECIDED, NONE)


def turned(table):
    """Which claims of `by_profile` are reproduced in one profile and not reproduced in another: Markdown."""
    both = table[table.eq(REPRODUCED).any(axis=1) & table.eq(NOT_REPRODUCED).any(axis=1)]
    counts = [f"{(table[name] == REPRODUCED).sum()} and {(table[name] == NOT_REPRODUCED).sum()} ({name.split()[0]})"
              for name in table]  # fmt: skip
    said = "; ".join(both.index) if len(both) else "none"
    return f"Reproduced and not reproduced: {', '.join(counts)}. Reproduced in one profile and not in another: {said}."
