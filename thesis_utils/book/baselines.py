"""Every method on the same networks, beside the literature: the tables of the chapter on baselines."""

import pandas as pd

from thesis_utils import runs
from thesis_utils.book import match, thesis
from thesis_utils.book.formatting import MISSING, NONE, UNSCORED, by_network, interval, model_label, score_label
from thesis_utils.book.tables import AREA, best_score, scored

PROTOCOLS = {  # what somebody may look at who chooses: the groups of `table`, between the first and the last
    "none": "in-distribution images, distorted by an adversarial step",
    "held_out": "one other out-distribution",
    "oracle": "the tested set: an oracle",
}
NOTHING, OUTLIERS = "nothing", "thousands of outliers, in training"
TUNED = {"ODIN": ("odin", True), "ensemble": ("mahalanobis", False), "ensemble with a step": ("mahalanobis", True)}
BEST_LAYER = ("mahalanobis", "min_of_misp")
FINE_TUNED = {"outlier_exposure": ("Outlier Exposure", "fc/msp"), "energy": ("energy fine-tuning", "fc/energy")}
PAPERS = {"svhn": "svhn", "lsun": "lsun_resize"}  # the literature's name of a set of ours


def fine_tuned(run):
    """{method: run} of the networks fine-tuned from `run` with the usual outliers; None where there is none."""
    return {method: runs.find(config) for method, config in runs.fine_tunings(run.config).items()}


def networks(models):
    """The runs of {(activation, lambda): run}, each followed by what is fine-tuned from it."""
    return [one for run in models.values() if run for one in (run, *fine_tuned(run).values())]


def results(run, ood):
    """{(what may be looked at, method): metrics (shares), named by what was chosen; or a text why there are none}.

    Untuned scores and fine-tuned networks: all test images, one direction for all. Min of MiSP with a chosen layer and
    direction (`match`): all test images. ODIN and the ensemble: the fewer images of `baselines.csv`, none of which was
    tuned on. "Best layer" is chosen on the tested images themselves.
    """
    rows = {(NOTHING, score_label(name)): row.rename("") for name, row in scored(run, ood, "fc/.*").iterrows()}
    found = run.baselines(ood).set_index(["method", "preprocessing", "protocol"]) if run.compared([ood]) else None

    def tuned(method, preprocessing, protocol):
        if found is None or (method, preprocessing, protocol) not in found.index:
            return UNSCORED
        row = found.loc[method, preprocessing, protocol].squeeze()
        return row.rename(f"ε = {row.epsilon:g}" if preprocessing else "")

    rows[NOTHING, "ODIN without a step"] = tuned("odin", False, "none")
    for protocol, group in PROTOCOLS.items():
        for name, (method, preprocessing) in TUNED.items():
            rows[group, name] = tuned(method, preprocessing, protocol)
        if protocol != "oracle":
            one = match.result(run, ood, protocol)
            rows[group, f"{score_label('min_of_misp')}, chosen layer"] = UNSCORED if one is None else one
    for name in BEST_LAYER:
        one = best_score(run, ood, f"layer.*/{name}")
        rows[group, f"{score_label(name)}, best layer"] = one.rename(one.name.split("/")[0])
    for method, other in fine_tuned(run).items():
        name, score = FINE_TUNED[method]
        there = other and ood in other.out_distributions()
        row = scored(other, ood, score).iloc[0].rename("") if there else UNSCORED if other else MISSING
        rows[OUTLIERS, f"{name} ({score_label(score)})"] = row
    return rows


def table(run, metric="auroc", oods=None):
    """Every method on one network, in percent, by what it may look at; ResNet-34's numbers in the literature beside.

    `metric` is "auroc", with its 95 % interval, or "fpr95".
    """
    if run is None:
        return by_network({})
    oods, columns = oods or run.out_distributions(), {}
    if compared := run.compared(oods):
        run.baselines(*compared)  # at once: they share the images to tune on
    for ood in oods:
        found = results(run, ood)
        columns[ood, "ours"] = {place: shown(row, metric) for place, row in found.items()}
        if run.config.dataset == "cifar10" and ood in PAPERS:
            quoted = thesis.PAPERS[thesis.PAPERS.ood.eq(PAPERS[ood])].set_index(["method", "preprocessing", "protocol"])
            values = {place_of(*place): f"{row[metric]:g}" for place, row in quoted.iterrows()}
            columns[ood, "papers"] = {place: values.get(place, NONE) for place in found}
    frame = pd.DataFrame(columns)
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["may look at", "method"])
    return frame


def place_of(method, preprocessing, protocol):
    """The row of `table` that is made as a number of the papers was."""
    if method == "msp":
        return NOTHING, score_label("fc/msp")
    return PROTOCOLS[protocol], {made: name for name, made in TUNED.items()}[method, preprocessing]


def shown(row, metric):
    """A number in percent, an AUROC with its interval, and what was chosen for it."""
    if isinstance(row, str):
        return row
    text = interval(*100 * row[AREA].astype(float)) if metric == "auroc" else f"{100 * row[metric]:.1f}"
    return f"{text}\n{row.name}".rstrip().replace(" ", "\N{NO-BREAK SPACE}")


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
