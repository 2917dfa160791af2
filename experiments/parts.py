"""What should a detector consist of? Chosen here, on in-distribution data sets alone, before any other was looked at.

    THESIS_DATA=... THESIS_RUNS=... python -m experiments.parts        # half an hour on two CPU cores, once trained

A row of results/parts.csv is one variant of `Detector` for one network: AUROC of in-distribution images that nothing
was fitted on against one `set` of others. Those are the same images distorted; for `demo` its own out-distributions
besides; and for two networks that were trained on CIFAR-10's first six classes, training images of the other four,
which stand for all that is near. No test image of CIFAR-10 and no other data set is looked at.

The rule for parts and their weights, set before the numbers were seen: the highest mean, over the networks, of the
AUROC on the set that a variant is worst at; what differs by less than 0.3 points is level, then robustness decides.
Each variant differs from `Choice()` in what it says.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from experiments.distortions import distorted
from experiments.recording import record, recorded
from thesis_utils import Detector, data, detector, metrics, runs, scorers
from thesis_utils.files import replace
from thesis_utils.runs.config import OLDER

SIX = "cifar10_0_5"  # CIFAR-10's first six classes: an archive that `six_classes` writes
NETWORKS = {
    "demo": dict(profile="demo"),
    "width 16, six classes": dict(profile="compact", dataset=SIX),
    "width 16": dict(profile="compact"),
    "width 32": dict(profile="half", **OLDER),
}
TRAINING_IMAGES = 10_000
MAX_OF_MSP, MIN_OF_MISP = 0, 1  # places of a layer's early readings
LOGITS = {"energy": scorers.energy, "msp": scorers.msp, "misp": lambda logits: -scorers.misp(logits)}


@dataclass(frozen=True)
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
    inner: float = 1.0  # weight of early and features in Fisher's sum
    least_p: bool = False  # else the product of the parts' p-values


def without(*names, **others):
    return Choice(parts=tuple(part for part in detector.PARTS if part not in names), **others)


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
    **{f"without {part}": without(part) for part in detector.PARTS},
    **{f"early and features at weight {w}": Choice(inner=w) for w in (0.75, 0.5, 0.25)},
    **{f"without neighbours, early and features at weight {w}": without("neighbours", inner=w) for w in (0.75, 0.5)},
    **{f"without classes, early and features at weight {w}": without("classes", inner=w) for w in (0.75, 0.5)},
    "the least p instead of their product": Choice(least_p=True),
}


class Reader(Detector):
    """Reads what any variant needs, once: the extremes of all layers, and the logits."""

    early = property(lambda self: self.model.layers)

    def read(self, logits, layers):
        return super().read(logits, layers) | {"z": logits}

    def all_of(self, images, what):
        self.shape = None
        found = [*self.stream(images, what, fitting=True)]
        return {name: torch.cat([batch[name] for batch in found]) for name in found[0]}


class Variant(Detector):
    """A detector made as `choice` says from what was read; all of its calibration images are its parts' reference."""

    def __init__(self, choice, model):
        super().__init__(model)
        self.choice, self.shape, self.kind = choice, (32, 32, 3), "uint8"

    def stream(self, seen, what, fitting=False):
        logits = LOGITS[self.choice.logits](seen["z"])[:, None]
        yield seen | {"early": seen["early"][:, : 2 * len(self.early)], "logits": logits}

    @property
    def early(self):
        return self.model.layers[: max(1, round(self.choice.early_layers * len(self.model.layers)))]

    def directions(self, x):
        return super().directions(x) if self.choice.centred else F.normalize(x.double(), dim=1).float()

    def calibrate(self, readings):
        self.refer(readings)
        self.probe = True  # nothing is kept

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
        weights = log_p.new_tensor(
            [self.choice.inner if part in ("early", "features") else 1 for part in detector.PARTS]
        )
        log_p = (weights * log_p)[:, [detector.PARTS.index(part) for part in self.choice.parts]]
        return log_p.amin(1, keepdim=True) if self.choice.least_p else log_p


def six_classes():
    """Writes the archive SIX beside that of CIFAR-10 in THESIS_DATA: training images only."""
    path = data.archives()["cifar10"].with_name(f"{SIX}.npz")
    if not path.exists():
        images = data.load("cifar10", "train")
        kept = images.subset(images.labels < 6)
        arrays = {"train_images": kept.pixels, "train_labels": kept.labels, "classes": np.array(images.classes[:6])}
        replace(path, lambda partial: np.savez(open(partial, "wb"), **arrays))


def others(run, known):
    """{set: images} that should be told from the in-distribution images `known`."""
    found = distorted(known)
    if run.config.profile == "demo":
        found |= {name: data.load(name).pixels for name in runs.OUT_DISTRIBUTIONS[run.config.dataset]}
    if run.config.dataset == SIX:
        images = data.load("cifar10", "train")
        left = images.pixels[images.labels >= 6]
        found["classes left out"] = left[torch.randperm(len(left), generator=torch.Generator().manual_seed(3))[:1000]]
    return found


def read(run):
    """What all variants are made of, and tested on: the model, and {set: what was read of its images}."""
    images, held_out = data.hold_out(run.training_images())
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))[:TRAINING_IMAGES]
    sets = {"fit": images.pixels[order], "reference": held_out.pixels[::2], "known": held_out.pixels[1::2]}
    reader = Reader(*run.network)
    seen = {name: reader.all_of(pixels, name) for name, pixels in (sets | others(run, sets["known"])).items()}
    return reader.model, seen


if __name__ == "__main__":
    six_classes()
    for label, chosen in NETWORKS.items():
        for activation, kind in (("log_softmax", "log-softmax"), ("relu", "ReLU")):
            row = {"network": f"{label}, {kind}", "metric": "auroc"}
            missing = [name for name in VARIANTS if not recorded("parts", row | {"variant": name})]
            model, seen = read(runs.get(runs.configure(activation=activation, **chosen))) if missing else (None, {})
            for variant in missing:
                one = Variant(VARIANTS[variant], model).fit(seen["fit"], seen["reference"])
                inside = one.score(seen["known"])
                rows = [
                    row | {"variant": variant, "set": name, "value": metrics.auroc(inside, one.score(features))}
                    for name, features in seen.items() if name not in ("fit", "reference", "known")
                ]  # fmt: skip
                record("parts", ["network", "set", "variant", "metric"], rows)
