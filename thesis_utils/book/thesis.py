"""The thesis' own numbers, so that they stand beside ours: typed from its slides, the plots' values read off.

`thesis_tables.csv` has one line per number of the slides' tables (percent), `literature.csv` those that they quote,
`thesis_figures.json` the plots.
"""

import json
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
TABLES = pd.read_csv(HERE / "thesis_tables.csv", keep_default_na=False)
LITERATURE = pd.read_csv(HERE / "literature.csv", dtype=str, keep_default_na=False)  # slide 13
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


def name_of(ood):
    """The thesis' data set to compare one of ours with: itself, or LSUN for the scenes that stand in for it."""
    return STANDS_FOR.get(ood, ood)


def curve(series, ood, dataset):
    """AUROC (percent) at the 16 layers, slides 25, 26 and 33; None where the thesis has none (CIFAR-10 only)."""
    return FIGURES["slide_25_26_33"][series].get(name_of(ood)) if dataset == "cifar10" else None


def final(ood):
    """AUROC (percent) of MiSP at the final layer, the last point of slide 27."""
    return FIGURES["slide_27"]["misp_fc"][name_of(ood)]


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


def mixtures(near, far):
    """AUROC (percent) against the five mixtures of slide 34, {layer: values}; empty but for CIFAR-100 and SVHN."""
    if (near, far) != ("cifar100", "svhn"):
        return {}
    return {name: values for name, values in FIGURES["slide_34"].items() if name in ("layer1.2", "layer3.1", "MiSP@FC")}
