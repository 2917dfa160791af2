"""All recorded numbers as one tidy frame, in percent, the thesis' beside ours.

    table = numbers.frame()
    table.query("profile == 'half' and ood == 'svhn' and score == 'fc/misp' and reading == 'fixed_direction'")

Everything that a table or plot shows is `query`, `groupby` and `pivot` of it. Your own runs come before recorded ones.
"""

import warnings
from functools import lru_cache

import pandas as pd

from thesis_utils import runs
from thesis_utils.book import thesis
from thesis_utils.errors import InputError
from thesis_utils.runs import run as store

NETWORKS = {"relu": "ReLU", "softmax": "softmax", "log_softmax": "log-softmax"}
OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW", "muon": "Muon"}
SETS = {  # how the book writes the data sets
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN", "lsun": "LSUN", "places9_resize": "scenes resize",
    "places9_fix": "scenes fix", "digits_0_4": "digits 0–4", "digits_5_9": "digits 5–9",
    "photo_patches": "photo patches", "noise": "noise", "test": "test images",
}  # fmt: skip
AGGREGATIONS = [f"{spatial}_of_{of}" for of in ("msp", "misp", "asp") for spatial in ("max", "min", "avg")]
OF_RUN = ["run", "network", "profile", "dataset", "architecture", "activation", "factor", "fine_tuning", "width",
          "epochs", "optimizer", "seed", "usual", "older"]  # fmt: skip
PERCENT = {"auroc": "ours", "auroc_low": "low", "auroc_high": "high", "fpr95": "fpr95", "aupr_in": "aupr_in",
           "aupr_out": "aupr_out"}  # fmt: skip
CACHES = []


def cached(function):
    """`functools.lru_cache`, emptied when `main_run` brings new numbers."""
    CACHES.append(lru_cache(function))
    return CACHES[-1]


def network(activation, factor=0.0):
    """How the book names a network: ReLU, softmax, or log-softmax with its lambda."""
    return NETWORKS[activation] + (f" λ = {factor:g}" if activation == "log_softmax" else "")


def name(ood):
    """How the book names a data set, or a folder of images: by its last part."""
    return SETS.get(ood, str(ood).rstrip("/").split("/")[-1])


def of_run(run):
    """Columns OF_RUN of a run; `usual`: as its profile says; `older`: as long, with zero padding; the demo: both."""
    config = run.config
    chosen = ("dataset", "architecture", "activation", "entropy_factor", "seed", "fine_tuning")
    usual = config == runs.configure(config.profile, **{key: getattr(config, key) for key in chosen})
    older = (config.padding, config.epochs) == ("zero", runs.PROFILES[config.profile]["epochs"])
    values = {key: getattr(config, key) for key in OF_RUN[2:-2] if key != "factor"}
    names = {"run": config.name, "network": network(config.activation, config.entropy_factor)}
    return values | names | {"factor": config.entropy_factor, "usual": usual, "older": older}


def accuracy(run):
    """The row of a run's test accuracy, with the normal interval a +- 1.96 sqrt(a (1 - a) / N); none if unscored."""
    if run.config.dataset not in run.scored():
        return pd.DataFrame()
    share, count = run.accuracy(), len(run.scores(run.config.dataset))
    half = 1.96 * (share * (1 - share) / count) ** 0.5
    values = {"auroc": share, "auroc_low": max(share - half, 0), "auroc_high": min(share + half, 1)}
    return pd.DataFrame([{"ood": "test", "score": "accuracy", "reading": "", "n_id": count, **values}])


def rows(run, *oods):
    """The frame's rows of one run: of the sets that it has scored, and of `oods`, which it scores if it has not."""
    scored = [*dict.fromkeys([*run.rows(store.METRICS), *oods])]
    parts = [accuracy(run), *(run.metrics(ood) for ood in scored)]
    table = pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=["ood", "score", "reading"])])
    return table.assign(**of_run(run))


def finished(table):
    """Percent, the parts of a score's name, and the thesis' numbers: `frame` of concatenated `rows`."""
    shares = [column for column in PERCENT if column in table]
    table = table.assign(**{column: 100 * table[column] for column in shares}).rename(columns=PERCENT)
    place = table.score.astype(str).str.extract("^([^/]*)/?(.*)$")
    table["layer"], table["aggregation"] = place[0], place[1]
    table["stage"] = pd.to_numeric(table.layer.str.extract(r"^layer(\d)", expand=False)).fillna(0).astype(int)
    keys = ["dataset", "activation", "factor", "ood", "score"]
    return table.merge(thesis.by_score(), on=keys, how="left").reset_index(drop=True)


@cached
def frame():
    """All recorded numbers, one row a (run, ood, score, reading).

    run, network, profile, dataset, architecture, activation, factor (lambda), fine_tuning, width, epochs, optimizer,
    seed, usual       whose number it is; `usual`: trained as its profile says; `older`: as long, by the older recipe
    ood               the out-distribution; "test" for the score "accuracy"
    score             "fc/misp", "layer1.1/min_of_misp", ...: its parts are `layer` and `aggregation`; `stage` of the
                      layer, 1 to 4, is 0 elsewhere
    reading           one of `metrics.READINGS`; "" for the accuracy
    ours, low, high   AUROC (or accuracy) in percent with its 95 % interval over the images; fpr95, aupr_in, aupr_out
    thesis, note      the thesis' number in percent, whatever the reading, and what it says beside it
    """
    found = [pd.DataFrame(columns=["ood", "score", "reading", *PERCENT, *OF_RUN])]
    for run in runs.every():
        try:
            found.append(rows(run))
        except InputError as error:  # one damaged folder must not take the book with it
            warnings.warn(f"left out {run.config.name}: {error}", stacklevel=2)
    return finished(pd.concat(found[1:] or found, ignore_index=True))


def usual(profile=None, dataset=None, oods=None, older=False, **chosen):
    """The frame's rows of a profile's networks (None: the book's) on one in-distribution, all seeds.

    `oods`: sets or folders, scored by the networks that have their weights where that has not been done; `older`: by
    the older recipe; `chosen`: values of other columns, by default a plain ResNet-34's.
    """
    config = runs.configure(profile, dataset=dataset)
    chosen = {"architecture": "resnet34", "fine_tuning": "none"} | chosen
    table = frame()
    recipe = table.older if older else table.usual
    table = table[recipe & table.profile.eq(config.profile) & table.dataset.eq(config.dataset)]
    for column, value in chosen.items():
        table = table[table[column].eq(value)]
    if oods is None:
        return table
    missing = []
    for run_name, scored in table.groupby("run", sort=False):
        run = runs.by_name(run_name)
        new = [ood for ood in oods if ood not in set(scored.ood) and run.can_score(ood)]
        missing += [rows(run, *new).query("ood in @new")] if new else []
    table = table[table.ood.isin([*oods, "test"])]
    return pd.concat([table, finished(pd.concat(missing))], ignore_index=True) if missing else table


def over_seeds(table, *keys):
    """Means over the seeds: a row a group of `keys`, its columns mean, low, high, seeds, thesis and note.

    `low` and `high` are the lowest and the highest seed; where there is one seed, its interval over the images.
    """
    groups = table.groupby([*keys], sort=False)
    found = groups.agg(mean=("ours", "mean"), low=("ours", "min"), high=("ours", "max"), seeds=("run", "nunique"),
                       thesis=("thesis", "first"), note=("note", "first"))  # fmt: skip
    interval = groups[["low", "high"]].mean()
    one = found.seeds.eq(1)
    found.loc[one, ["low", "high"]] = interval[one]
    return found


def main_run(profile=None, dataset=None, oods=None, **chosen):
    """A profile's log-softmax network without entropy loss, or the `chosen` one: trained if it is not there.

    It is scored on `oods`, or on all sets that there are.
    """
    run = runs.get(runs.configure(profile, dataset=dataset, **chosen))
    run.metrics(*(oods or ()))
    for each in CACHES:
        each.cache_clear()
    return run


def by_image(run, oods, *scores):
    """Per-image scores of a run's in-distribution and of `oods`, {set: DataFrame}; {} where no such are recorded."""
    names = [run.config.dataset, *oods]
    found = {name: run.scores(name) for name in names} if all(run.can_score(name) for name in names) else {}
    return found if all({*scores} <= {*table} for table in found.values()) else {}


def one_of(parameter, value, choices):
    """A notebook's parameter, or an InputError that names the choices."""
    if value not in choices:
        raise InputError(f"{parameter} must be one of {', '.join(map(str, choices))}, not {value!r}")
    return value


@cached
def experiment(file):
    """The rows of results/FILE.csv, with the network of each run (OF_RUN) where they have a `run`; empty without."""
    path = store.RECORDED / f"{file}.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    if "run" not in table:
        return table
    networks = pd.DataFrame([of_run(run) for run in runs.every()])
    return table.merge(networks, on="run", suffixes=("", "_of_run"))


def by_stage(table, *keys):
    """The mean of a stage's layers, run by run: the rows of single layers become rows of stages (1 to 4)."""
    inside = table[table.stage.gt(0)]
    columns = [*dict.fromkeys(["run", "seed", *keys, "stage"])]
    return inside.groupby(columns, sort=False)[["ours", "low", "high", "thesis"]].mean().reset_index().assign(note="")
