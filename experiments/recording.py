"""How an experiment's rows come into `results/`: by key, so that an interrupted experiment goes on where it stopped.

    if not recorded("match", {"run": run.config.name}):
        record("match", ["run", "against", "layer", "metric"], rows)

One format: experiments that measure recorded runs have the columns run, set, layer, variant, metric and value (a share,
0 to 1, or what `metric` says), those of them that tell their rows apart; experiments that train have a row a training.
"""

import pandas as pd

from thesis_utils import runs
from thesis_utils.files import replace
from thesis_utils.runs import run as store


def on_cpu(run):
    """A run whose network computes on the CPU, where the experiments' arrays are."""
    run.network[0].cpu()
    return run


def rows_of(name):
    """The rows of results/NAME.csv, as far as they are recorded."""
    path = store.RECORDED / f"{name}.csv"
    return pd.read_csv(path, dtype={"weights": str}) if path.exists() else pd.DataFrame()


def recorded(name, key):
    """Whether results/NAME.csv has a row with these values, {column: value}; of a run, on its weights of now."""
    known = rows_of(name)
    if "run" in key and not known.empty:
        key = key | {"weights": runs.by_name(key["run"]).identity}
        known["weights"] = known.weights.fillna("") if "weights" in known else ""
    return not known.empty and bool((known[[*key]] == pd.Series(key)).all(axis=1).any())


def record(name, keys, rows):
    """Puts rows (dicts) into results/NAME.csv, each in place of the one that has the same values in the columns `keys`.

    Rows of runs that are gone are taken out. The column `weights` is a run's `identity`, where it has one.
    """
    path = store.RECORDED / f"{name}.csv"
    rows = pd.DataFrame(rows)
    if "run" in rows:
        weights = rows.run.map({one: runs.by_name(one).identity for one in set(rows.run)})
        rows = rows.assign(weights=weights) if weights.any() else rows
    with store.locked(path):
        table = pd.concat([rows_of(name), rows]).drop_duplicates(keys, keep="last")
        if "run" in table:
            there = {one: any((home / one).exists() for home in (store.OWN, store.RECORDED)) for one in set(table.run)}
            table = table[table.run.map(there)]
        replace(path, lambda partial: table.to_csv(partial, index=False, float_format="%.5g"))
