"""What the scripts in `experiments/` have recorded in `results/`, as the book shows it."""

import pandas as pd

from thesis_utils import data, runs
from thesis_utils.book import thesis
from thesis_utils.book.formatting import by_network, model_label
from thesis_utils.models import LAYERS
from thesis_utils.runs import run as store
from thesis_utils.runs.config import sizes as parsed


def experiment(name):
    """One row a training; empty where the experiment is not recorded."""
    path = store.RECORDED / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def networks(name):
    """An experiment's rows with the `network` as the book names it, from the run's configuration where it is there."""
    rows = experiment(name)
    if "run" in rows:
        rows["network"] = rows.run.map({one: network(one) for one in rows.run.unique()})
    return rows


def network(name):
    for run in runs.every():
        config = run.config
        if config.name == name:
            return f"{config.profile}: {model_label(config.activation, config.entropy_factor)}, seed {config.seed}"
    return name


def entropy_costs(models):
    """Points of accuracy that the entropy loss costs: {how it is added up, or "thesis": a Series by lambda}.

    From the short trainings of `experiments/entropy.py`, and from the runs of `models`, {(activation, lambda): run}, on
    CIFAR-10. A mean over pixels that is summed over the 16 layers is, at lambda, what a mean over the layers too is at
    16 lambda. Empty where the short trainings are not recorded.
    """
    short = experiment("entropy")
    if short.empty:
        return {}

    def costs(accuracies, zero):
        return 100 * (accuracies - zero)[accuracies.index > 0]

    zero = short[short.entropy_factor.eq(0)].accuracy.item()
    found = {
        f"{reduction}, short trainings": costs(rows.set_index("entropy_factor").accuracy, zero)
        for reduction, rows in short.groupby("entropy_reduction")
    }
    trained = {factor: run for (activation, factor), run in models.items() if activation == "log_softmax" and run}
    whole = {factor: run.accuracy() for factor, run in trained.items() if run.config.dataset == "cifar10"}
    if 0.0 in whole:
        found["mean, whole trainings"] = costs(pd.Series(whole), whole[0.0])
        found["mean over layers too"] = found["mean, whole trainings"].rename(lambda factor: len(LAYERS) * factor)
    theirs = thesis.TABLES.query("dataset == 'cifar10' and activation == 'log_softmax' and method == 'accuracy'")
    theirs = theirs.set_index("entropy_factor").value / 100
    return found | {"thesis": costs(theirs, theirs[0.0])}


def shown(name, columns):
    """An experiment's trainings, one a row, as {title: text(row)}; or a table that says that it is not recorded."""
    rows = [{title: text(row) for title, text in columns.items()} for row in experiment(name).itertuples()]
    return pd.DataFrame(rows).set_index([*columns][0]) if rows else by_network({})


def cost(row):
    """A training's cost in epochs of full-size images, by pixels: of a row with `epochs` and `sizes`."""
    sizes = parsed(str(row.sizes))
    return row.epochs * sum((size / data.SIZE) ** 2 for size in sizes) / len(sizes)


def recipe():
    """The short trainings of `experiments/recipe.py`, one a row."""
    yes = {True: "yes", False: "no"}
    return shown("recipe", {
        "network": lambda row: model_label(row.activation).split(",")[0],
        "optimizer": lambda row: f"{row.optimizer}, {row.learning_rate:g}",
        "gradient clipped": lambda row: yes[row.clipped],
        "features adjusted": lambda row: yes[row.adjusted],
        "largest loss": lambda row: f"{row.largest_loss:.2f}",
        "last loss": lambda row: f"{row.last_loss:.2f}",
        "accuracy, %": lambda row: f"{100 * row.accuracy:.1f}",
    })  # fmt: skip


def softmax():
    """The short trainings of `experiments/softmax.py`, one a row."""
    return shown("softmax", {
        "softmax network": lambda row: row.variant,
        "skip / branch": lambda row: f"{row.skip:.2f}",
        "epsilon's share, %": lambda row: f"{100 * row.epsilon:.2g}",
        "gradient, first / last": lambda row: f"{row.gradient:.2g}",
        "peak": lambda row: f"{row.peak:.2f}",
        "last loss": lambda row: f"{row.last_loss:.2f}",
        "accuracy, %": lambda row: f"{100 * row.accuracy:.1f}",
    })  # fmt: skip


def budget():
    """The trainings of `experiments/budget.py`, one a row."""
    return shown("budget", {
        "image size": lambda row: " → ".join(map(str, parsed(row.sizes))),
        "batch": lambda row: row.batch_size,
        "epochs": lambda row: row.epochs,
        "seed": lambda row: row.seed,
        "cost": lambda row: f"{cost(row):.1f}",
        "accuracy, %": lambda row: f"{100 * row.accuracy:.1f}",
    })  # fmt: skip


def search():
    """The trainings of `experiments/search.py`, one a row, as far as they are recorded."""
    return shown("search", {
        "network": lambda row: model_label(row.activation).split(",")[0],
        "optimizer": lambda row: f"{dict(adamw='AdamW', sgd='SGD', muon='Muon')[row.optimizer]}, {row.learning_rate:g}",
        "padding": lambda row: row.padding,
        "weight decay": lambda row: f"{row.weight_decay:g}{'' if row.decay_norms else ', not on BatchNorm'}",
        "batch": lambda row: row.batch_size,
        "image size": lambda row: str(row.sizes).replace("-", " → "),
        "epochs": lambda row: row.epochs,
        "seed": lambda row: row.seed,
        "cost": lambda row: f"{cost(row):.1f}",
        "accuracy, %": lambda row: f"{100 * row.accuracy:.1f}",
    })  # fmt: skip


def averaging():
    """The networks of `experiments/averaging.py`, one a row: calibration accuracy by how many epochs are averaged."""
    rows = networks("averaging")
    if rows.empty:
        return by_network({})
    table = 100 * rows.pivot(index="network", columns="epochs", values="accuracy")
    return table.map("{:.1f}".format).rename(columns=lambda count: f"last {count}" if count > 1 else "the last")
