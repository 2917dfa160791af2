"""Which layer, and which direction, would be chosen for min of MiSP by somebody who has no out-of-distribution image?

    THESIS_DATA=... THESIS_RUNS=... python -m experiments.match        # some minutes on one CPU core

A row of results/match.csv is one network's layer: the AUROC (a share, in the direction that MiSP has at `fc`) of min of
MiSP for calibration images against the same images after an FGSM step, which is what the protocol `none` tunes ODIN and
the ensemble on, or against their distorted versions, all kinds together. Only networks with weights can be read; no
test image and no other data set is looked at.
"""

import torch

from experiments.distortions import distorted
from experiments.misp import misp_everywhere
from experiments.recording import record
from thesis_utils import data, metrics, runs
from thesis_utils.evaluation import float32
from thesis_utils.mahalanobis import fgsm
from thesis_utils.models import LAYERS
from thesis_utils.runs.config import GRID

COLUMNS = ("run", "against", "layer", "auroc")
IMAGES, BATCH = 1000, 250
FGSM, DISTORTED = "FGSM", "distorted"


def read(model, batches):
    """Min of MiSP of normalised batches: (N, 16)."""
    return torch.cat([torch.stack([*misp_everywhere(model, inputs).values()][:-1], 1) for inputs in batches])


@float32()
def measure(run):
    """{against: AUROC at each layer (16,)}."""
    model, normalise = run.network
    images = data.hold_out(run.training_images())[1].subset(slice(IMAGES))
    pixels, labels = images.pixels.split(BATCH), images.labels.split(BATCH)
    known = read(model, map(normalise, pixels))
    others = {
        FGSM: read(model, (fgsm(model, *batch, normalise) for batch in zip(pixels, labels))),
        DISTORTED: read(model, (normalise(p) for kind in distorted(images.pixels).values() for p in kind.split(BATCH))),
    }
    return {name: [metrics.auroc(-known[:, k], -other[:, k]) for k in range(len(LAYERS))]
            for name, other in others.items()}  # fmt: skip


def networks():
    for dataset in ("cifar10", "cifar100"):
        for activation, factor in GRID:
            config = runs.configure("compact", dataset=dataset, activation=activation, entropy_factor=factor)
            yield from (run for run in runs.seeds(config) if run.has_weights)


if __name__ == "__main__":
    found, measured = {run.config.name: run for run in networks()}, {}
    variants = [(name, against, layer) for name in found for against in (FGSM, DISTORTED) for layer in LAYERS]

    def value(name, against, layer):
        if name not in measured:
            measured[name] = measure(found[name])
        return (measured[name][against][LAYERS.index(layer)],)

    record("match.csv", COLUMNS, variants, value)
