"""What the chapters on baselines, on the verdict and on other methods share: tuned baselines, choices on equal terms.

`results/RUN/baselines.csv.gz` has ODIN and the Mahalanobis ensemble, tuned under three protocols; `results/match.csv`
the AUROC of min of MiSP, layer by layer, of calibration images against distorted ones.
"""

import pandas as pd

from thesis_utils import runs
from thesis_utils.book import numbers
from thesis_utils.runs import run as folders

CHOSEN_ON = {  # on what somebody chooses a layer and a direction
    "oracle": "the tested set (oracle)", "held_out": "another set", "FGSM": "adversarial images",
    "distorted": "distorted images",
}  # fmt: skip


@numbers.cached
def tuned():
    """All recorded baselines, a row a (run, ood, method, preprocessing, protocol), percent, with the run's columns."""
    found = []
    for run in runs.every():
        found += [table.assign(**numbers.of_run(run)) for table in run.rows(folders.BASELINES).values()]
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["run", "ood", "protocol"])
    shares = [column for column in numbers.PERCENT if column in table]
    return table.assign(**{column: 100 * table[column] for column in shares}).rename(columns=numbers.PERCENT)


def choose(areas):
    """(layer, turned): where the fixed-direction AUROC (percent, by layer) is farthest from one half."""
    layer = (areas - 50).abs().idxmax()
    return layer, bool(areas[layer] < 50)


@numbers.cached
def layerwise(run, ood):
    """AUROC (percent) of min of MiSP in the fixed direction at each layer of a run: a Series, empty if unscored."""
    table = numbers.frame()
    rows = table[table.run.eq(run) & table.ood.eq(ood) & table.aggregation.eq("min_of_misp")
                 & table.reading.eq("fixed_direction") & table.stage.gt(0)]  # fmt: skip
    return rows.set_index("layer").ours


def chosen(run, ood, dataset, how):
    """(layer, turned, AUROC in percent) of min of MiSP, layer and direction chosen as `how` says; None: nothing to see.

    `how` is a key of CHOSEN_ON. High scores are out-of-distribution, and low ones where `turned`. `held_out` chooses by
    the in-distribution's test images against those of the far set, or of the near one where the far one is tested.
    """
    tested = layerwise(run, ood)
    near, far = runs.near_and_far(dataset)
    if how in ("FGSM", "distorted"):
        rows = numbers.experiment("match")
        rows = rows[rows.run.eq(run) & rows.variant.eq(how)] if len(rows) else rows
        seen = 100 * rows.set_index("layer").value if len(rows) else pd.Series(dtype=float)
    else:
        seen = tested if how == "oracle" else layerwise(run, near if ood == far else far)
    if seen.empty or tested.empty:
        return None
    layer, turned = choose(seen)
    return layer, turned, 100 - tested[layer] if turned else tested[layer]


@numbers.cached
def equal_choices(dataset="cifar10", network=numbers.network("log_softmax"), older=False):
    """Min of MiSP as chosen, and the ensemble, a row a (run, ood, how), AUROCs in percent; `older`: as `numbers.usual`.

    Columns run, width, ood, how (in words), layer, turned, chosen (AUROC), ensemble (AUROC, the ensemble fitted on
    adversarial images), place ("layer1.1 ↑").
    """
    table = numbers.frame().query("dataset == @dataset and network == @network and fine_tuning == 'none' and "
                                  "architecture == 'resnet34'")  # fmt: skip
    table = table[table.older if older else table.usual]
    ensembles = table[table.score.eq("ensemble/mahalanobis_none") & table.reading.eq("fixed_direction")]
    rows = []
    for row in ensembles.itertuples():
        for how, words in CHOSEN_ON.items():
            found = chosen(row.run, row.ood, dataset, how)
            if found:
                place = f"{found[0]} {'↓' if found[1] else '↑'}"
                rows.append((row.run, row.width, row.ood, words, *found, row.ours, place))
    columns = ["run", "width", "ood", "how", "layer", "turned", "chosen", "ensemble", "place"]
    return pd.DataFrame(rows, columns=columns)
