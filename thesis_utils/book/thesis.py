"""The thesis' own numbers, so that they stand beside ours: typed from its slides, the plots' values read off.

`thesis_tables.csv` has one line per number of the slides' tables (percent), `literature.csv` those that they quote,
`thesis_figures.json` the plots. `papers.csv`, which is not the thesis', has what Lee et al. (2018) print for ResNet-34
trained on CIFAR-10, by what it was tuned on; FPR95 is 100 minus their TNR at 95 % TPR.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

LAYERS = [f"layer{stage}.{block}" for stage, count in enumerate((3, 4, 6, 3), 1) for block in range(1, count + 1)]
HERE = Path(__file__).parent
TABLES = pd.read_csv(HERE / "thesis_tables.csv", keep_default_na=False)
SCORES = {  # the score of a method of the thesis' tables; of the best aggregation several are possible
    "accuracy": "accuracy", "msp": "fc/msp", "misp": "fc/misp", "mahalanobis_ensemble": "ensemble/mahalanobis_none",
}  # fmt: skip
VALUES = {tuple(place): (number, note) for _, *place, number, note in TABLES.itertuples(index=False)}
LITERATURE = pd.read_csv(HERE / "literature.csv", dtype=str, keep_default_na=False)  # slide 13
PAPERS = pd.read_csv(HERE / "papers.csv", keep_default_na=False)
FIGURES = json.loads((HERE / "thesis_figures.json").read_text())
CURVES = {  # by network (activation, lambda): min of MiSP of a log-softmax one, Mahalanobis of the ReLU one
    ("log_softmax", 0.0): "log_softmax_el0_min_of_misp",
    ("log_softmax", 0.01): "log_softmax_el1e-2_min_of_misp",
    ("relu", 0.0): "relu_baseline_mahalanobis_per_layer",
}
STANDS_FOR = {"places9_resize": "lsun"}  # where a plot of ours shows the thesis' LSUN beside another set, it says so


def value(dataset, activation, entropy_factor, ood, method):
    """(value in percent, note) of a table cell, or None where the thesis has none.

    `method` is accuracy (with `ood` "test"), msp, misp, mahalanobis_ensemble or best_aggregation.
    """
    return VALUES.get((dataset, activation, entropy_factor, ood, method))


def by_score():
    """Its numbers of single scores, a row each: dataset, activation, factor, ood, score, thesis (percent), note.

    From the tables, and at the 16 layers read off the plots of slides 25, 26 and 33.
    """
    table = TABLES[TABLES.method.isin(SCORES)]
    table = table.assign(score=table.method.map(SCORES), factor=table.entropy_factor, thesis=table.value)
    table = table.drop_duplicates(["dataset", "activation", "factor", "ood", "score"])
    rows = []
    for (activation, factor), name in CURVES.items():
        aggregation = "mahalanobis" if activation == "relu" else "min_of_misp"
        for ood, values in FIGURES["slide_25_26_33"][name].items():
            for layer, value in zip(LAYERS, values):
                rows.append(("cifar10", activation, factor, ood, f"{layer}/{aggregation}", value, ""))
    columns = ["dataset", "activation", "factor", "ood", "score", "thesis", "note"]
    return pd.concat([table[columns], pd.DataFrame(rows, columns=columns)], ignore_index=True)


def best_cell(config, ood):
    """(aggregation, layer) that the thesis names as its best for such a network (slides 28, 36), or None."""
    found = value(config.dataset, config.activation, config.entropy_factor, name_of(ood), "best_aggregation")
    *words, layer = found[1].split() if found else [None]
    return ("_".join(words).lower(), layer) if words else None


def name_of(ood):
    """The thesis' data set to compare one of ours with: itself, or LSUN for the scenes that stand in for it."""
    return STANDS_FOR.get(ood, ood)


def curve(network, ood, dataset="cifar10"):
    """AUROC (percent) at the 16 layers (16,), slides 25, 26 and 33; None where the thesis has none (CIFAR-10 only)."""
    found = FIGURES["slide_25_26_33"][CURVES[network]].get(name_of(ood)) if dataset == "cifar10" else None
    return found and np.array(found)


def histogram(ood, dataset):
    """What the thesis' histogram of min of MiSP at layer1.2 shows (slide 30), in words; None where it has none."""
    found = FIGURES["slide_30"].get(name_of(ood)) if dataset == "cifar10" else None
    if not found:
        return None
    known, unknown = found["in_distribution_mode"], found["out_distribution_mode"]
    return (
        f"thesis: CIFAR-10 around {known:g},\n{name_of(ood).upper()} {'above' if unknown > known else 'below'}, "
        f"around {unknown:g};\nAUROC {found['auroc']:.2f} %"
    )
