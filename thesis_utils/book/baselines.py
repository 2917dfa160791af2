"""Every method on the same networks, beside the literature: the tables of the chapter on baselines."""

import pandas as pd

from thesis_utils import runs
from thesis_utils.book import thesis
from thesis_utils.book.formatting import MISSING, NONE, UNSCORED, by_network, interval, model_label, score_label
from thesis_utils.book.tables import AREA, best_score, scored

PROTOCOLS = {
    "oracle": "tuned on the tested set",
    "held_out": "tuned on another set",
    "none": "tuned on adversarial images",
}
TUNED = {"ODIN without a step": ("odin", False, "none")} | {
    f"{name}, {words}": (method, preprocessing, protocol)
    for method, preprocessing, name in (
        ("odin", True, "ODIN"),
        ("mahalanobis", False, "Mahalanobis ensemble"),
        ("mahalanobis", True, "Mahalanobis ensemble with preprocessing"),
    )
    for protocol, words in PROTOCOLS.items()
}
AS_IN_THE_PAPERS = {  # the rows that are made as the numbers of the literature were
    "MSP": "msp", "energy": "energy", "ODIN, tuned on the tested set": "odin",
    "Mahalanobis ensemble with preprocessing, tuned on the tested set": "mahalanobis",
    "Outlier Exposure (MSP)": "outlier_exposure", "energy fine-tuning (energy)": "energy_fine_tuning",
}  # fmt: skip
FINE_TUNED = {"outlier_exposure": ("Outlier Exposure", "fc/msp"), "energy": ("energy fine-tuning", "fc/energy")}
PAPERS = {"svhn": "svhn", "lsun": "lsun_resize"}  # the literature's name of a set of ours


def fine_tuned(run):
    """{method: run} of the networks fine-tuned from `run` with the usual outliers; None where there is none."""
    return {method: runs.find(config) for method, config in runs.fine_tunings(run.config).items()}


def networks(models):
    """The runs of {(activation, lambda): run}, each followed by what is fine-tuned from it."""
    return [one for run in models.values() if run for one in (run, *fine_tuned(run).values())]


def summarised(row):
    """AUROC with its interval, then FPR95, in percent."""
    return f"{interval(*100 * row[AREA])}\nFPR95 {100 * row.fpr95:.1f}"


def table(run, oods=None):
    """Every method on one network: AUROC with its interval, FPR95 below; ResNet-34's numbers in the literature beside.

    Untuned scores and fine-tuned networks: all test images, one direction for all. "Best layer" is an oracle in layer
    and direction. Tuned methods: the fewer images of `baselines.csv`, none of which was tuned on.
    """
    if run is None:
        return by_network({})
    oods, rows = oods or run.out_distributions(), {}
    if compared := run.compared(oods):
        run.baselines(*compared)  # at once: they share the images to tune on
    for ood in oods:
        column = {score_label(score): summarised(row) for score, row in scored(run, ood, "fc/.*").iterrows()}
        for name in ("mahalanobis", "min_of_misp"):
            top = best_score(run, ood, f"layer.*/{name}")
            column[f"{score_label(name)}, best layer (oracle)"] = f"{summarised(top)}\n{top.name.split('/')[0]}"
        column |= tuned(run, ood)
        for method, other in fine_tuned(run).items():
            name, score = FINE_TUNED[method]
            cell = UNSCORED if other else MISSING
            if other and ood in other.out_distributions():
                cell = summarised(scored(other, ood, score).iloc[0])
            column[f"{name} ({score_label(score)})"] = cell
        rows[ood, "ours"] = column
        if run.config.dataset == "cifar10" and ood in PAPERS:
            quoted = thesis.LITERATURE.query("network == 'ResNet-34' and ood == @PAPERS[@ood]")
            values = quoted.set_index("method").value
            rows[ood, "papers"] = {name: values.get(AS_IN_THE_PAPERS.get(name), NONE) for name in column}
    return pd.DataFrame(rows)


def tuned(run, ood):
    """{method and protocol: cell} of ODIN and the ensemble, with the epsilon that was chosen."""
    if not run.compared([ood]):
        return dict.fromkeys(TUNED, UNSCORED)
    found = run.baselines(ood).set_index(["method", "preprocessing", "protocol"])
    rows = {name: found.loc[key].squeeze() for name, key in TUNED.items()}
    return {name: summarised(row) + (f"\nε = {row.epsilon:g}" if row.name[1] else "") for name, row in rows.items()}


def tested_on(run):
    """One sentence for a caption: on how many images the tuned methods were tuned and tested."""
    oods = run.compared(run.out_distributions()) if run else []
    if not oods:
        return ""
    row = run.baselines(oods[0]).query("protocol != 'grid'").iloc[0]
    return (
        f"ODIN and the ensemble: tuned on {row.n_tuning:,} calibration images and as many others, tested on "
        f"{row.n_id:,} in-distribution images and at most {run.baselines(*oods).n_ood.max():,} of each other set."
    )


def fine_tuning(models):
    """Test accuracy in percent of networks ({(activation, lambda): run}) before and after fine-tuning on outliers."""
    rows = {}
    for cell, run in models.items():
        found = [run, *(fine_tuned(run).values() if run else [None] * len(FINE_TUNED))]
        rows[model_label(*cell)] = [f"{100 * one.accuracy():.2f}" if one else MISSING for one in found]
    columns = ["before", *(name for name, _ in FINE_TUNED.values())]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("network")


def literature():
    """Slide 13: AUROC in percent that the thesis quotes from the literature, in-distribution CIFAR-10."""
    quoted = thesis.LITERATURE.assign(cell=thesis.LITERATURE.value + thesis.LITERATURE.note)
    wide = quoted.pivot(index=["network", "ood", "source"], columns="method", values="cell").fillna(NONE)
    names = {"msp": "MSP", "odin": "ODIN", "mahalanobis": "Mahalanobis", "energy": "energy",
             "outlier_exposure": "Outlier Exposure", "energy_fine_tuning": "energy fine-tuning"}  # fmt: skip
    return wide[list(names)].rename(columns=names).rename_axis(columns=None)
