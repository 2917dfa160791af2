"""Which layer, and which direction, would be chosen for min of MiSP by somebody who has no out-of-distribution image?

    THESIS_DATA=... THESIS_RUNS=... python -m experiments.match        # some minutes on one CPU core

A row of results/match.csv is one network's layer: the AUROC of minus min of MiSP (the direction that MiSP has at `fc`)
for calibration images against (`variant`) the same images after an FGSM step, which is what the protocol `none` tunes
ODIN and the ensemble on, or against their distorted versions, all kinds together. Only networks with weights can be
read; no test image and no other data set is looked at.
"""

import torch
from tqdm import tqdm

from experiments.distortions import distorted
from experiments.misp import misp_everywhere, networks
from experiments.recording import on_cpu, record, recorded
from thesis_utils import data, metrics
from thesis_utils.mahalanobis import fgsm
from thesis_utils.models import LAYERS

IMAGES, BATCH = 1000, 250


def read(model, batches):
    """Min of MiSP of normalised batches: (N, 16)."""
    return torch.cat([torch.stack([*misp_everywhere(model, inputs).values()][:-1], 1) for inputs in batches])


def measure(run):
    """The rows of results/match.csv for one run."""
    model, normalise = on_cpu(run).network
    images = data.hold_out(run.training_images())[1].subset(slice(IMAGES))
    pixels, labels = images.pixels.split(BATCH), images.labels.split(BATCH)
    known = read(model, map(normalise, pixels))
    others = {
        "FGSM": read(model, (fgsm(model, *batch, normalise) for batch in zip(pixels, labels))),
        "distorted": read(
            model, (normalise(batch) for kind in distorted(images.pixels).values() for batch in kind.split(BATCH))
        ),
    }
    for name, other in others.items():
        for k, layer in enumerate(LAYERS):
            row = {"run": run.config.name, "layer": layer, "variant": name, "metric": "auroc of minus min of MiSP"}
            yield row | {"value": metrics.auroc(-known[:, k], -other[:, k])}


if __name__ == "__main__":
    for run in tqdm([*networks("cifar10"), *networks("cifar100")], "networks"):
        if not recorded("match", {"run": run.config.name}):
            record("match", ["run", "layer", "variant"], measure(run))
