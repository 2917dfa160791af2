"""ODIN's step, read at inner layers: results/odin_inside.csv.

    THESIS_DATA=... python -m experiments.odin_inside        # five minutes on two CPU cores

ODIN (Liang et al. 2018) moves an image a small step along the sign of a gradient that raises the confidence of its
predicted class, in-distribution images more than others. Does the step help min of MiSP at inner layers too? A row is
one layer, or MiSP at the final layer ("fc"), and one size of the step: AUROC in the better direction. Networks: ReLU
and log-softmax at lambda 0, CIFAR-10, profile compact, one seed; 2,000 images of each set, at random.
"""

import torch
from torch.nn import functional as F
from tqdm import tqdm

from experiments.misp import NETWORKS, either_way, misp_everywhere, sets
from experiments.recording import add
from thesis_utils import runs, scorers
from thesis_utils.baselines import TEMPERATURE
from thesis_utils.evaluation import BATCH

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
    model, normalise = run.network
    known, *others = {name: readings(model, normalise, x, name) for name, x in sets(run.config.dataset).items()}.items()
    for name, scores in others:
        for (epsilon, layer), score in scores.items():
            auroc = either_way(known[1][epsilon, layer], score)
            yield {"run": run.config.name, "ood": name, "epsilon": epsilon, "layer": layer, "auroc": auroc}


if __name__ == "__main__":
    for activation in NETWORKS:
        add("odin_inside.csv", runs.get(runs.configure("compact", activation=activation)), measure)
