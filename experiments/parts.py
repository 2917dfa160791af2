"""What should a detector consist of? Chosen here, on distorted in-distribution images, before any other set was seen.

    THESIS_DATA=... python -m experiments.parts        # ten minutes on two CPU cores

A row of results/parts.csv is one variant of `Detector` for one network: AUROC of one half of the calibration images
against one kind (`set`) of their distorted versions; parts and references come from the other half and from training
images. No test image and no other data set is looked at. Each variant differs from the chosen one in one respect.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from experiments.distortions import distorted
from experiments.recording import record, recorded
from thesis_utils import Detector, data, detector, metrics, runs, scorers

NETWORKS = {
    "demo, log-softmax": ("demo", "log_softmax"),
    "demo, ReLU": ("demo", "relu"),
    "compact, log-softmax": ("compact", "log_softmax"),
}
TRAINING_IMAGES = 10_000
MAX_OF_MSP, MIN_OF_MISP = 0, 1  # places of a layer's early readings


@dataclass
class Choice:
    """Of what a detector is made; by default as `Detector` is."""

    early_layers: float = detector.EARLY  # share of the layers
    early_without: int | None = None  # a reading that is set to its median
    early_two_sided: bool = True  # else a high MSP, a low MiSP are confident
    early_least: bool = False  # else the sum of the readings
    features_sum: bool = False  # else the least of the layers
    features_two_sided: bool = True  # else a small distance is no reason for doubt
    centred: bool = True  # the neighbours' directions
    logits: str = "energy"
    tail: bool = True  # below the reference's lowest tenth log p goes on; else ranks only
    parts: tuple = detector.PARTS
    least_p: bool = False  # else the product of the parts' p-values


VARIANTS = {
    "as chosen": Choice(),
    "early: min of MiSP only": Choice(early_without=MAX_OF_MSP),
    "early: max of MSP only": Choice(early_without=MIN_OF_MISP),
    "early: one-sided": Choice(early_two_sided=False),
    "early: the least of its readings": Choice(early_least=True),
    "early: the first layer": Choice(early_layers=0.01),
    "early: all layers": Choice(early_layers=1.0),
    "features: the sum over layers": Choice(features_sum=True),
    "features: one-sided": Choice(features_two_sided=False),
    "neighbours: not centred": Choice(centred=False),
    "logits: MSP": Choice(logits="msp"),
    "logits: MiSP": Choice(logits="misp"),
    "p-values: ranks only": Choice(tail=False),
    "without early": Choice(parts=("features", "neighbours", "logits")),
    "without features": Choice(parts=("early", "neighbours", "logits")),
    "without neighbours": Choice(parts=("early", "features", "logits")),
    "without logits": Choice(parts=("early", "features", "neighbours")),
    "the least p instead of their product": Choice(least_p=True),
}


class Variant(Detector):
    """A detector made as `choice` says; all of the calibration images it is given are its parts' reference."""

    def __init__(self, choice, *network):
        super().__init__(*network)
        self.choice = choice

    @property
    def early(self):
        return self.model.layers[: max(1, round(self.choice.early_layers * len(self.model.layers)))]

    def read(self, logits, layers):
        found = super().read(logits, layers)
        if self.choice.logits == "msp":
            found["logits"] = scorers.msp(logits)[:, None]
        if self.choice.logits == "misp":
            found["logits"] = -scorers.misp(logits)[:, None]
        return found

    def directions(self, x):
        return super().directions(x) if self.choice.centred else F.normalize(x.double(), dim=1).float()

    def calibrate(self, readings):
        return super().calibrate(readings.repeat_interleave(2, 0))

    def standardised(self, readings):
        early, features, *others = ((readings - self.median) / self.deviation).split(self.sizes, 1)
        signs = early.new_tensor([1.0, -1.0]).repeat(early.shape[1] // 2)  # of max of MSP and min of MiSP
        early = -early.abs() if self.choice.early_two_sided else early * signs
        if self.choice.early_without is not None:
            early[:, self.choice.early_without :: 2] = 0
        features = -features.abs() if self.choice.features_two_sided else features
        return torch.cat([early, features, *others], 1)

    def confidences(self, readings):
        early, features, *others = self.standardised(readings).split(self.sizes, 1)
        early = early.amin(1, keepdim=True) if self.choice.early_least else early.sum(1, keepdim=True)
        features = features.sum(1, keepdim=True) if self.choice.features_sum else features.amin(1, keepdim=True)
        return torch.cat([early, features, *others], 1)

    def log_p(self, confidences):
        log_p = super().log_p(confidences) if self.choice.tail else detector.shares(self.reference, confidences).log()
        log_p = log_p[:, [detector.PARTS.index(part) for part in self.choice.parts]]
        return log_p.amin(1, keepdim=True) if self.choice.least_p else log_p


def measure(choice, run):
    """{kind of distortion: AUROC} of a choice for one network."""
    images, held_out = data.hold_out(run.training_images())
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    reference, known = held_out.subset(slice(0, None, 2)), held_out.pixels[1::2]
    one = Variant(choice, *run.network).fit(images.subset(order[:TRAINING_IMAGES]), reference)
    inside = one.score(known)
    return {kind: metrics.auroc(inside, one.score(pixels)) for kind, pixels in distorted(known).items()}


if __name__ == "__main__":
    for network, (profile, activation) in NETWORKS.items():
        run = runs.get(runs.configure(profile, activation=activation))
        for variant, choice in VARIANTS.items():
            row = {"network": network, "variant": variant, "metric": "auroc"}
            if not recorded("parts", row):
                found = measure(choice, run)
                rows = [row | {"set": kind, "value": value} for kind, value in found.items()]
                record("parts", ["network", "set", "variant", "metric"], rows)
