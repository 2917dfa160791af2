"""How an experiment's rows come into `results/`: variant by variant, or run by run."""

import csv

import pandas as pd

from thesis_utils.files import replace
from thesis_utils.runs import run as store


def record(name, columns, variants, measure):
    """Appends one row a variant to results/NAME; an interrupted experiment goes on where it stopped."""
    path = store.RECORDED / name
    done = len(pd.read_csv(path)) if path.exists() else 0
    with path.open("a", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        if not done:
            rows.writerow(columns)
        for variant in variants[done:]:
            rows.writerow((*variant, *(f"{value:.4g}" for value in measure(*variant))))
            file.flush()


def add(name, run, measure):
    """Adds a run's rows to results/NAME, unless they are there and of the weights that it has now.

    Rows of runs that are gone are taken out. The column `weights` is a run's `identity`, where it has one.
    """
    path = store.RECORDED / name
    known = pd.read_csv(path, dtype={"weights": str}) if path.exists() else pd.DataFrame({"run": []})
    if "weights" not in known:
        known = known.assign(weights="")
    known["weights"] = known.weights.fillna("")
    known = known.loc[[any((home / one).exists() for home in (store.OWN, store.RECORDED)) for one in known.run]]
    mine = known.run.eq(run.config.name)
    if not (mine & known.weights.eq(run.identity)).any():
        known = pd.concat([known[~mine], pd.DataFrame(measure(run)).assign(weights=run.identity)])
        if known.weights.eq("").all():
            known = known.drop(columns="weights")
        replace(path, lambda partial: known.to_csv(partial, index=False, float_format="%.5g"))


def rows_of(name):
    """The rows of results/NAME, as far as they are recorded."""
    path = store.RECORDED / name
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def recorded(name, key):
    """Whether results/NAME has a row with these values."""
    known = rows_of(name)
    return not known.empty and bool((known[[*key]] == pd.Series(key)).all(axis=1).any())


def replace_rows(name, keys, rows):
    """Puts rows (dicts) into results/NAME, each in place of the one that has the same values in the columns `keys`."""
    path = store.RECORDED / name
    with store.locked(path):
        table = pd.concat([rows_of(name), pd.DataFrame(rows)]).drop_duplicates(keys, keep="last")
        replace(path, lambda partial: table.to_csv(partial, index=False, float_format="%.4g"))
