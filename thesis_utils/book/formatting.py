"""How the book writes things: networks, scores, and numbers with their intervals, in percent."""

import numpy as np
import pandas as pd

MISSING = "not recorded yet"
UNSCORED = "not scored"  # the run is there, but has no scores of that set
NONE = "–"


def model_label(activation, entropy_factor=0.0):
    """How the book names a network: ReLU, softmax or log-softmax with its lambda."""
    if activation == "log_softmax":
        return f"log-softmax, λ = {entropy_factor:g}"
    return {"relu": "ReLU", "softmax": "softmax"}[activation]


def label(run):
    tuned = "" if run.config.fine_tuning == "none" else f", {run.config.fine_tuning.replace('_', ' ')}"
    return model_label(run.config.activation, run.config.entropy_factor) + tuned


def score_label(name):
    """`min_of_misp` or `layer1.2/min_of_misp` as the slides write it: min of MiSP, min of MiSP layer1.2."""
    *layer, score = name.split("/")
    names = {"msp": "MSP", "misp": "MiSP", "asp": "ASP", "mahalanobis": "Mahalanobis"}
    place = [name for name in layer if name != "fc"]
    return " ".join([*(names.get(word, word) for word in score.split("_")), *place])


def interval(value, low, high):
    """A number with its 95 % interval below."""
    return f"{value:.2f}\n({low:.1f}\N{WORD JOINER}–\N{WORD JOINER}{high:.1f})"


def over_seeds(values, sign=""):
    """What stands below one seed's number where there are more: "[mean: lowest–highest]".

    With `sign` "+" the numbers are differences, and have theirs.
    """
    if len(values) < 2:
        return ""
    to = " to " if sign else "\N{WORD JOINER}–\N{WORD JOINER}"
    mean, low, high = (f"{value:{sign}.1f}" for value in (np.mean(values), min(values), max(values)))
    return f"\n[{mean}:\N{NO-BREAK SPACE}{low}{to}{high}]"


def thesis_number(value, note="", sign=""):
    """A number of the thesis with its note below; nan: it has none."""
    return NONE if np.isnan(value) else f"{value:{sign}.2f}" + (f"\n({note})" if note else "")


def absent(seed):
    """What stands where a number of ours is missing: there is no run (`seed` is missing too), or it has no scores."""
    return MISSING if pd.isna(seed) else UNSCORED


def with_seeds(values, sign=""):
    """One seed's number, and below it what it is `over_seeds`."""
    return f"{values[0]:{sign}.1f}" + over_seeds(values, sign)


def ranged(values, digits=1):
    """One seed's number, and below it the range of all seeds where there are more: "[lowest–highest]"."""
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return f"{values[0]:.{digits}f}" + (f"\n[{low}\N{WORD JOINER}–\N{WORD JOINER}{high}]" if len(values) > 1 else "")


def not_recorded():
    """The table that stands where nothing is recorded."""
    return pd.DataFrame({"": [MISSING]})


def by_network(rows):
    """{(network, out-distribution): {column or (column, column): text}} as a DataFrame; without rows it says so."""
    if not rows:
        return not_recorded()
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(rows, names=["network", "out-distribution"])
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame
