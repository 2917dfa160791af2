"""What a run is made of: one frozen configuration, and the profiles that fill it.

    config = configure("compact", dataset="cifar10", activation="log_softmax", entropy_factor=0.01)

A profile only overrides what differs from `Config`'s defaults; an unknown key is refused. Nothing here needs
torch: CHOICES are names, and a test holds them to what the method offers.
"""

import dataclasses
import hashlib
import json
import math
import os
import shlex
from dataclasses import dataclass

from thesis_utils.errors import InputError

GRID = (("relu", 0.0), ("log_softmax", 0.0), ("log_softmax", 0.01))  # the networks of the thesis: activation, lambda
ACCURACY_GRID = (("relu", 0.0), ("softmax", 0.0), *(("log_softmax", f) for f in (0.0, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1)))
SIZE = 32  # the images' height and width in pixels

MUON = dict(optimizer="muon", learning_rate=0.02, weight_decay=5e-4, padding="mean", sizes="16-24-32")
OLDER = dict(optimizer="sgd", learning_rate=0.2, padding="zero")  # in place of these, for what is recorded by it
PROFILES = {
    "demo": dict(dataset="digits_0_4", width=8, epochs=8, batch_size=32, flip=False, precision="float32"),
    "compact": dict(width=16, epochs=10, **MUON),
    "half": dict(width=32, epochs=20, **MUON),
    "thesis": dict(width=64, epochs=60, **MUON),
}
OUT_DISTRIBUTIONS = {
    "digits_0_4": ("digits_5_9", "photo_patches", "noise"),
    "cifar10": ("cifar100", "svhn", "lsun", "places9_resize", "places9_fix"),
    "cifar100": ("cifar10", "svhn", "lsun", "places9_resize", "places9_fix"),
}
OUTLIERS = {"digits_0_4": "photo_patches"}  # to fine-tune on; all others: tinyimagenet32_subset
NEAR_AND_FAR = {  # all others: CIFAR-100, SVHN
    "digits_0_4": ("digits_5_9", "noise"), "cifar100": ("cifar10", "svhn"), "svhn": ("cifar100", "cifar10"),
}  # fmt: skip

CHOICES = {
    "profile": tuple(PROFILES),
    "architecture": ("resnet34", "wide_resnet28", "densenet22"),
    "activation": ("relu", "softmax", "log_softmax"),
    "entropy_reduction": ("mean", "sum"),
    "optimizer": ("adamw", "sgd", "muon"),
    "precision": ("bfloat16", "float32"),
    "padding": ("zero", "mean"),
    "fine_tuning": ("none", "outlier_exposure", "energy"),
}
FINE_TUNING = CHOICES["fine_tuning"][1:]
# all other whole numbers: 0. An image alone has no BatchNorm on maps of one pixel. Below a width of 8, oneDNN's
# backward pass hangs or crashes on a CPU that has AVX2 only
LEAST = {"width": 8, "epochs": 1, "batch_size": 2}
ABOVE_ZERO = ("learning_rate", "clip_norm", "rest_rate")


def check(name, kind, value):
    """Raises an InputError that says what would do, unless the field of this name and type may have this value."""
    if name in CHOICES:
        good, wanted = value in CHOICES[name], f"one of {', '.join(CHOICES[name])}"
    elif kind is bool:
        good, wanted = type(value) is bool, "true or false"
    elif kind is int:
        least = LEAST.get(name, 0)
        good, wanted = type(value) is int and least <= value < 2**31, f"a whole number from {least} to {2**31 - 1}"
    elif kind is float and name in ABOVE_ZERO:
        good, wanted = isinstance(value, float) and 0 < value < math.inf, "a number above 0"
    elif kind is float:
        good, wanted = isinstance(value, float) and 0 <= value < math.inf, "a number, at least 0"
    elif name == "sizes":
        parts = value.split("-") if isinstance(value, str) else [""]
        good = parts[-1] == str(SIZE) and all(part.isdecimal() and 8 <= int(part) <= SIZE for part in parts)
        wanted = f"pixels of the training's images, at least 8, the last {SIZE}: 16-24-32"
    else:
        good = isinstance(value, str) and not {"/", "\0"} & {*value} and (value != "" or name == "outliers")
        wanted = "the name of a data set" + ", or empty" * (name == "outliers")
    if not good:
        raise InputError(f"{name} must be {wanted}, not {value!r}")


@dataclass(frozen=True)
class Config:
    """All that a training depends on, but for its images and the precision that the processor allows.

    Learning rates follow one cycle up to `learning_rate` and down to 0. `sizes` are the images' pixels, each for an
    equal share of the steps. Muon's rate is that of the convolutions; all else has `rest_rate` times it. `flip` mirrors
    by chance, `alternating_flip` an image in every other epoch (airbench94). The last five: what a fine-tuning adds.
    """

    profile: str = "compact"
    dataset: str = "cifar10"
    architecture: str = "resnet34"
    activation: str = "log_softmax"
    entropy_factor: float = 0.0
    entropy_reduction: str = "mean"
    seed: int = 0
    width: int = 16
    epochs: int = 6
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    decay_norms: bool = True
    clip_norm: float = 1.0
    flip: bool = True
    precision: str = "bfloat16"
    padding: str = "zero"
    rest_rate: float = 5.0
    alternating_flip: bool = False
    sizes: str = "32"
    fine_tuning: str = "none"
    outliers: str = ""
    outliers_per_image: int = 0
    tuning_epochs: int = 0
    tuning_rate: float = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is float and type(value) is int:
                value = float(value)  # 0 and 0.0: one name
                object.__setattr__(self, field.name, value)
            check(field.name, field.type, value)
        if self.entropy_factor and self.entropy_reduction == "sum" and len(self.image_sizes) > 1:
            raise InputError(
                "a sum over pixels weighs small images less, so that a training whose images grow would change the "
                f"entropy_factor on the way; set sizes to {SIZE}, or entropy_reduction to mean"
            )
        if self.entropy_factor and self.activation != "log_softmax":
            raise InputError(
                f"an entropy_factor of {self.entropy_factor} needs activation log_softmax, not {self.activation}: "
                "the entropy loss acts on maps of log-probabilities"
            )
        given = [getattr(self, name) != default for name, default in UNTUNED.items()]
        if any(given) and not all(given):
            raise InputError(
                f"fine_tuning ({' or '.join(FINE_TUNING)}), outliers (an outlier set by name), outliers_per_image, "
                "tuning_epochs and tuning_rate go together: give all of them, or none"
            )

    @property
    def image_sizes(self):
        """The images' sizes in pixels, in the order of the training: `"16-24-32"` as (16, 24, 32)."""
        return tuple(int(size) for size in self.sizes.split("-"))

    @property
    def base(self):
        """The configuration of the network that a fine-tuning starts from."""
        return dataclasses.replace(self, **UNTUNED)

    @property
    def name(self):
        """A folder name: what people vary, then six digits of a hash over all fields."""
        values = {key: value for key, value in vars(self).items() if value != ADDED.get(key)}
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]
        factor = f"-el{self.entropy_factor:g}" if self.activation == "log_softmax" else ""
        tuned = "" if self.fine_tuning == "none" else f"-{self.fine_tuning}"
        kind = "" if self.architecture == "resnet34" else f"{self.architecture}-"
        return f"{self.profile}-{self.dataset}-{kind}{self.activation}{factor}{tuned}-seed{self.seed}-{digest}"


FIELDS = tuple(field.name for field in dataclasses.fields(Config))
ADDED = {"padding": "zero", "rest_rate": 5.0, "alternating_flip": False}  # later than runs, with what those had
UNTUNED = {name: getattr(Config, name) for name in FIELDS[-5:]}


def near_and_far(dataset):
    """The out-distributions most and least like a data set, of those that everybody uses."""
    return NEAR_AND_FAR.get(dataset, ("cifar100", "svhn"))


def configure(profile=None, **overrides):
    """The profile's configuration with some of its values overridden; None stands for the profile's own value.

    Without a profile: the one named by the environment variable THESIS_PROFILE, else "half". An unknown profile or
    key is an InputError. What a `fine_tuning` does not override: the usual outliers, two to an image, a sixth of the
    epochs (at least one) and a tenth of the learning rate.
    """
    overrides = {key: value for key, value in overrides.items() if value is not None}
    profile = profile or os.environ.get("THESIS_PROFILE") or "half"
    if profile not in PROFILES:
        raise InputError(f"unknown profile {profile!r}; choose from {', '.join(PROFILES)}")
    if unknown := sorted({*overrides} - {*FIELDS}):
        raise InputError(f"unknown configuration key {unknown[0]!r}; there are {', '.join(sorted(FIELDS))}")
    values = {"profile": profile, **PROFILES[profile], **overrides}
    if values.get("fine_tuning", "none") != "none":
        base = Config(**{key: value for key, value in values.items() if key not in UNTUNED})
        values = {
            "outliers": OUTLIERS.get(base.dataset, "tinyimagenet32_subset"),
            "outliers_per_image": 2,
            "tuning_epochs": max(base.epochs // 6, 1),
            "tuning_rate": base.learning_rate / 10,
        } | values
    return Config(**values)


def fine_tunings(config):
    """{method: configuration} of what is fine-tuned from a configuration, with the usual outliers."""
    values = {key: value for key, value in vars(config).items() if key not in UNTUNED}
    return {method: configure(**values, fine_tuning=method) for method in FINE_TUNING}


def command(config, verb="train"):
    """The shell command that trains a configuration, or else: it names what differs from what it would get unsaid."""
    said = {}
    for key in ("activation", "sizes", "fine_tuning", *FIELDS[1:]):  # these come with, or exclude, others
        if getattr(config, key) != getattr(configure(config.profile, **said), key):
            said[key] = getattr(config, key)
    words = [f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in said.items()]
    return " ".join([f"python -m thesis_utils {verb} --profile {config.profile}", *words])
