"""The thesis' own numbers, so that they stand beside ours: typed from its slides, the plots' values read off.

`thesis_tables.csv` has one line per number of the slides' tables (percent), `thesis_figures.json` the plots.
"""

import json
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
TABLES = pd.read_csv(HERE / "thesis_tables.csv", keep_default_na=False)
FIGURES = json.loads((HERE / "thesis_figures.json").read_text())
STANDS_FOR = {"places9_resize": "lsun"}  # where a plot of ours shows the thesis' LSUN beside another set, it says so


def value(dataset, activation, entropy_factor, ood, method):
    """(value in percent, note) of a table cell, or None where the thesis has none.

    `method` is accuracy (with `ood` "test"), msp, misp, mahalanobis_ensemble or best_aggregation.
    """
    rows = TABLES[
        TABLES.dataset.eq(dataset)
        & TABLES.activation.eq(activation)
        & TABLES.entropy_factor.eq(entropy_factor)
        & TABLES.ood.eq(ood)
        & TABLES.method.eq(method)
    ]
    return None if rows.empty else (rows.value.iloc[0], rows.note.iloc[0])


def curve(series, ood):
    """AUROC (percent) of the 16 layers in a bar chart of slides 25, 26 and 33, or None where the thesis has none."""
    return FIGURES["slide_25_26_33"][series].get(ood)


def mixtures(near, far):
    """AUROC (percent) against the five mixtures of slide 34, {layer: values}; empty but for CIFAR-100 and SVHN."""
    if (near, far) != ("cifar100", "svhn"):
        return {}
    return {name: values for name, values in FIGURES["slide_34"].items() if name in ("layer1.2", "layer3.1", "MiSP@FC")}
