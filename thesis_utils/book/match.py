"""Slide 28 on equal terms: layer and direction of min of MiSP, chosen by what the ensemble too may look at.

Under `held_out` they are those with the highest AUROC of calibration images against another out-distribution, under
`none` against adversarial images and under `distorted` against distorted ones (`experiments/match.py`, networks with
weights only); under `oracle` on the tested images themselves, as in the thesis.
"""

from functools import partial

import numpy as np
import pandas as pd

from thesis_utils import metrics, runs
from thesis_utils.book import claims, tables, verdict
from thesis_utils.book.experiments import experiment
from thesis_utils.book.formatting import MISSING, NONE, by_network, model_label
from thesis_utils.models import LAYERS

SCORES = [f"{layer}/min_of_misp" for layer in LAYERS]
AGAINST = {"none": "FGSM", "distorted": "distorted"}
PROTOCOLS = {
    "oracle": "the tested set, as in the thesis",
    "held_out": "another set",
    "none": "adversarial images",
    "distorted": "distorted images",
}


def areas(known, unknown):
    """AUROC (a share) of minus the score at each layer: a Series."""
    return pd.Series({score: metrics.auroc(-known[score], -unknown[score]) for score in SCORES})


def choice(found):
    """(score, direction) of AUROCs of minus the score: the layer farthest from one half, -1 if above it, else +1."""
    score = (found - 0.5).abs().idxmax()
    return score, -1 if found[score] >= 0.5 else 1


def chosen(run, ood, protocol):
    """(score, direction) under a protocol; None where there is nothing to choose by, or no image's score of a layer."""
    if not {*SCORES} <= {*run.scores(ood)}:
        return None
    if protocol in AGAINST:
        rows = experiment("match")
        rows = rows[rows.run.eq(run.config.name) & rows.against.eq(AGAINST[protocol])] if len(rows) else rows
        return choice(pd.Series(rows.auroc.to_numpy(), rows.layer + "/min_of_misp")) if len(rows) else None
    if protocol == "oracle":
        return choice(areas(run.scores(run.config.dataset), run.scores(ood)))
    other = run.held_out(ood)
    there = other in run.out_distributions() and "calibration" in run.scored()
    return choice(areas(run.scores("calibration"), run.scores(other))) if there else None


def confidences(run, ood, score, direction):
    return [direction * run.scores(name)[score] for name in (run.config.dataset, ood)]


def result(run, ood, protocol):
    """The metrics of min of MiSP as chosen under a protocol, a Series named by the choice; None: nothing to choose by.

    The name has the layer and an arrow: up where high scores are called out-of-distribution, down where low ones are.
    """
    if not (found := chosen(run, ood, protocol)):
        return None
    values = metrics.summary(*confidences(run, ood, *found))
    return pd.Series(values, name=f"{found[0].split('/')[0]} {'↓' if found[1] > 0 else '↑'}")


def against_ensemble(run, ood, protocol):
    """Min of MiSP as chosen under a protocol minus the ensemble fitted under `none`, on the same images, in points."""
    if not (found := chosen(run, ood, protocol)):
        return None
    ensemble = confidences(run, ood, "ensemble/mahalanobis_none", 1)
    return 100 * np.array(metrics.delong_difference(confidences(run, ood, *found), ensemble))


def table(profile=None, dataset=None):
    """AUROC in percent of the ensemble and of min of MiSP by what each was chosen on, over the recorded seeds.

    The ensemble on the fewer images of `baselines.csv`. Several seeds: their mean, the lowest and the highest.
    """
    rows = {}
    for network, found in tables.grid(profile, dataset, get=runs.seeds).items():
        for ood in found[0].out_distributions() if found else []:
            models = [run for run in found if ood in run.out_distributions()]
            ensembles = [run.baselines(ood).query("method == 'mahalanobis' and not preprocessing")
                         for run in models if run.compared([ood])]  # fmt: skip
            row = {("ensemble", PROTOCOLS[protocol]): [rows[rows.protocol.eq(protocol)].squeeze() for rows in ensembles]
                   for protocol in ("none", "held_out")}  # fmt: skip
            row |= {("min of MiSP", words): [one for run in models if (one := result(run, ood, protocol)) is not None]
                    for protocol, words in PROTOCOLS.items()}  # fmt: skip
            rows[model_label(*network), ood] = {place: told(found) for place, found in row.items()}
    return by_network(rows)


def judged(profile=None, dataset="cifar10"):
    """The claim of slide 28 under each protocol: its verdict by `verdict.decide`, and where it holds."""
    found, rows = claims.gather(profile), {}
    for protocol, words in PROTOCOLS.items():
        compare = partial(against_ensemble, protocol=protocol)
        cells = claims.against_ensemble(dataset, compare)(found)
        decided, why, counted = verdict.decide(claims.NO_WORSE, cells)
        ours = verdict.extent(cell.ours for cell in counted if cell.ours is not None) or MISSING
        rows[words] = {"verdict": decided, "ours": ours, "why": why}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer and direction chosen on")


def told(results):
    """The mean AUROC of one number a seed, the lowest and the highest, and what was chosen."""
    if not results:
        return NONE
    found = [100 * one.auroc for one in results]
    spread = f"[{min(found):.1f}\N{WORD JOINER}–\N{WORD JOINER}{max(found):.1f}]"
    places = dict.fromkeys(one.name for one in results if isinstance(one.name, str))
    return "\n".join([f"{np.mean(found):.2f}", *[spread] * (len(found) > 1), *places])
