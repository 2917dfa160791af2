"""ODIN's step, read at inner layers: results/odin_inside.csv.

    THESIS_DATA=... python -m experiments.odin_inside        # five minutes on two CPU cores

ODIN (Liang et al. 2018) moves an image a small step along the sign of a gradient that raises the confidence of its
predicted class, in-distribution images more than others. Does the step help min of MiSP at inner layers too? A row is
one layer, or MiSP at the final layer ("fc"), and one size of the step (`variant`, of the pixels' range): AUROC in the
better direction. Networks: ReLU and log-softmax at lambda 0, CIFAR-10, profile compact, one seed; 2,000 images of each
set, at random.
"""

import torch
from torch.nn import functional as F
from tqdm import tqdm

from experiments.misp import NETWORKS, misp_everywhere, sets
from experiments.recording import on_cpu, record, recorded
from thesis_utils import metrics, runs, scorers
from thesis_utils.baselines import TEMPERATURE
from thesis_utils.evaluation import BATCH
from thesis_utils.runs.config import OLDER

EPSILONS = (0.0, 0.0005, 0.001, 0.002, 0.004)  # of the pixels' range


def readings(model, normalise, pixels, what):
    """{(epsilon, layer): min of MiSP (N,)} of uint8 images; "fc" is MiSP of the logits."""
    found = {}
    for batch in tqdm(pixels.split(BATCH), what, mininterval=5):
        inputs = normalise(batch)

        def confidence(images):
            logits = model(images) / TEMPERATURE
            return -F.cross_entropy(logits, logits.argmax(1), reduction="sum")

        step = scorers.ascent(confidence, inputs, normalise.std)
        for epsilon in EPSILONS:
            for layer, score in misp_everywhere(model, inputs + epsilon * step).items():
                found.setdefault((epsilon, layer), []).append(score)
    return {key: torch.cat(scores) for key, scores in found.items()}


def measure(run):
    """Rows of results/odin_inside.csv."""
    model, normalise = on_cpu(run).network
    found = {name: readings(model, normalise, x, name) for name, x in sets(run.config.dataset).items()}
    known, *others = found
    for name in others:
        for (epsilon, layer), scores in found[name].items():
            place = {"run": run.config.name, "set": name, "layer": layer, "variant": epsilon, "metric": "auroc"}
            yield place | {"value": metrics.best_direction(found[known][epsilon, layer], scores)}


if __name__ == "__main__":
    for activation in NETWORKS:
        run = runs.get(runs.configure("compact", activation=activation, **OLDER))
        if not recorded("odin_inside", {"run": run.config.name}):
            record("odin_inside", ["run", "set", "layer", "variant", "metric"], measure(run))
