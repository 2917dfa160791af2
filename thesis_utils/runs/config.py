"""What a run is made of: one frozen configuration, and the profiles that fill it.

    config = configure("compact", dataset="cifar10", activation="log_softmax", entropy_factor=0.01)

A profile and RECIPES only override what differs from `Config`'s defaults; an unknown key is refused.
"""

import dataclasses
import hashlib
import json
import os
import shlex
from dataclasses import dataclass

from thesis_utils import data
from thesis_utils.architectures import ARCHITECTURES
from thesis_utils.errors import InputError
from thesis_utils.losses import FINE_TUNING, REDUCTIONS
from thesis_utils.models import ACTIVATIONS, PADDINGS

GRID = (("relu", 0.0), ("log_softmax", 0.0), ("log_softmax", 0.01))  # the networks of the thesis: activation, lambda
ACCURACY_GRID = (("relu", 0.0), ("softmax", 0.0), *(("log_softmax", f) for f in (0.0, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1)))
NARROWEST = 8  # below, oneDNN's backward pass hangs or crashes on a CPU that has AVX2 only

SGD = dict(optimizer="sgd", learning_rate=0.2, weight_decay=5e-4, batch_size=128)
PROFILES = {
    "demo": dict(dataset="digits_0_4", width=8, epochs=8, batch_size=32, flip=False, precision="float32"),
    "compact": dict(width=16, epochs=10, sizes="16-24-32", **SGD),
    "half": dict(width=32, epochs=20, sizes="16-24-32", **SGD),
    "thesis": dict(width=64, epochs=60, sizes="16-24-32", **SGD),
}
RECIPES = {"softmax": dict(optimizer="adamw", learning_rate=1e-2, weight_decay=0.05)}  # where others fail
OUT_DISTRIBUTIONS = {
    "digits_0_4": ("digits_5_9", "photo_patches", "noise"),
    "cifar10": ("cifar100", "svhn", "lsun", "places9_resize", "places9_fix"),
    "cifar100": ("cifar10", "svhn", "lsun", "places9_resize", "places9_fix"),
}
OUTLIERS = {"digits_0_4": "photo_patches"}  # to fine-tune on; all others: tinyimagenet32_subset
NEAR_AND_FAR = {  # all others: CIFAR-100, SVHN
    "digits_0_4": ("digits_5_9", "noise"), "cifar100": ("cifar10", "svhn"), "svhn": ("cifar100", "cifar10"),
}  # fmt: skip
COMPARED = {"demo": (60, 100)}  # images to tune and to test baselines on; all others: 500 and 1,000 of each set


def field(default, rule, wanted):
    """A field of `Config`: its default, what a value must fulfil, and that in words."""
    return dataclasses.field(default=default, metadata={"rule": rule, "wanted": wanted})


def one_of(default, *choices):
    return field(default, lambda value: value in choices, "one of " + ", ".join(choices))


def whole(default, least):
    return field(default, lambda value: type(value) is int and value >= least, f"a whole number, at least {least}")


def number(default, above=None):
    inside = (lambda value: value >= 0) if above is None else (lambda value: value > above)
    wanted = "a number, at least 0" if above is None else f"a number above {above}"
    return field(default, lambda value: isinstance(value, float) and inside(value) and value < float("inf"), wanted)


def yes_or_no(default):
    return field(default, lambda value: type(value) is bool, "true or false")


def is_name(value):
    return isinstance(value, str) and value != "" and "/" not in value


def sizes(text):
    """`"16-24-32"` as (16, 24, 32)."""
    return tuple(int(size) for size in text.split("-"))


def are_sizes(text):
    parts = text.split("-") if isinstance(text, str) else []
    return parts[-1:] == [str(data.SIZE)] and all(part.isdecimal() and 8 <= int(part) <= data.SIZE for part in parts)


@dataclass(frozen=True)
class Config:
    """All that a training depends on, but for its images and the precision that the processor allows.

    Learning rates follow one cycle up to `learning_rate` and down to 0. `sizes` are the images' pixels, each for an
    equal share of the steps. Muon's rate is that of the convolutions; all other parameters have `rest_rate` times it.
    The last five fields belong together: what a fine-tuning adds to its network's own.
    """

    profile: str = one_of("compact", *PROFILES)
    dataset: str = field("cifar10", is_name, "the name of a data set")
    architecture: str = one_of("resnet34", *ARCHITECTURES)
    activation: str = one_of("log_softmax", *ACTIVATIONS)
    entropy_factor: float = number(0.0)
    entropy_reduction: str = one_of("mean", *REDUCTIONS)
    seed: int = whole(0, least=0)
    width: int = whole(16, least=NARROWEST)
    epochs: int = whole(6, least=1)
    batch_size: int = whole(128, least=1)
    optimizer: str = one_of("adamw", "adamw", "sgd", "muon")
    learning_rate: float = number(2e-3, above=0)
    weight_decay: float = number(0.05)
    decay_norms: bool = yes_or_no(True)
    clip_norm: float = number(1.0, above=0)
    flip: bool = yes_or_no(True)
    precision: str = one_of("bfloat16", "bfloat16", "float32")
    padding: str = one_of("zero", *PADDINGS)
    rest_rate: float = number(5.0, above=0)
    sizes: str = field("32", are_sizes, f"pixels of the training's images, at least 8, the last {data.SIZE}: 16-24-32")
    fine_tuning: str = one_of("none", "none", *FINE_TUNING)
    outliers: str = field("", lambda value: value == "" or is_name(value), "the name of a data set, or empty")
    outliers_per_image: int = whole(0, least=0)
    tuning_epochs: int = whole(0, least=0)
    tuning_rate: float = number(0.0)

    def __post_init__(self):
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if one.type is float and type(value) is int:
                value = float(value)  # 0 and 0.0: one name
                object.__setattr__(self, one.name, value)
            if not one.metadata["rule"](value):
                raise InputError(f"{one.name} must be {one.metadata['wanted']}, not {value!r}")
        if self.entropy_factor and self.entropy_reduction == "sum" and len(self.image_sizes) > 1:
            raise InputError(
                "a sum over pixels weighs small images less, so that a training whose images grow would change the "
                f"entropy_factor on the way; set sizes to {data.SIZE}, or entropy_reduction to mean"
            )
        if self.entropy_factor and self.activation != "log_softmax":
            raise InputError(
                f"an entropy_factor of {self.entropy_factor} needs activation log_softmax, not {self.activation}: "
                "the entropy loss acts on maps of log-probabilities"
            )
        if len({self.fine_tuning == "none", *(not getattr(self, key) for key in UNTUNED if key != "fine_tuning")}) > 1:
            raise InputError(
                f"fine_tuning ({' or '.join(FINE_TUNING)}), outliers (an outlier set by name), outliers_per_image, "
                "tuning_epochs and tuning_rate go together: give all of them, or none"
            )

    @property
    def image_sizes(self):
        """The images' sizes in pixels, in the order of the training."""
        return sizes(self.sizes)

    @property
    def base(self):
        """The configuration of the network that a fine-tuning starts from."""
        return dataclasses.replace(self, **UNTUNED)

    @property
    def name(self):
        """A folder name: what people vary, then six digits of a hash over all fields."""
        values = dataclasses.asdict(self)
        for key, value in ADDED.items():
            if values[key] == value:
                del values[key]
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]
        factor = f"-el{self.entropy_factor:g}" if self.activation == "log_softmax" else ""
        tuned = "" if self.fine_tuning == "none" else f"-{self.fine_tuning}"
        kind = "" if self.architecture == "resnet34" else f"{self.architecture}-"
        return f"{self.profile}-{self.dataset}-{kind}{self.activation}{factor}{tuned}-seed{self.seed}-{digest}"


ADDED = {"padding": "zero", "rest_rate": 5.0}  # since the first runs were recorded, with the values that those had
UNTUNED = {one.name: one.default for one in dataclasses.fields(Config)[-5:]}


def near_and_far(dataset):
    return NEAR_AND_FAR.get(dataset, ("cifar100", "svhn"))


def compared_images(profile):
    """(to tune on, to test on): how many images of each set a profile's baselines take at most."""
    return COMPARED.get(profile, (500, 1000))


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
    fields = {one.name for one in dataclasses.fields(Config)}
    unknown = sorted(set(overrides) - fields)
    if unknown:
        raise InputError(f"unknown configuration key {unknown[0]!r}; there are {', '.join(sorted(fields))}")
    recipe = RECIPES.get(overrides.get("activation"), {})
    values = {"profile": profile, **PROFILES[profile], **recipe, **overrides}
    if values.get("fine_tuning", "none") != "none":
        base = Config(**{key: value for key, value in values.items() if key not in UNTUNED})
        values = {
            "outliers": OUTLIERS.get(base.dataset, "tinyimagenet32_subset"),
            "outliers_per_image": 2,
            "tuning_epochs": max(base.epochs // 6, 1),
            "tuning_rate": base.learning_rate / 10,
            **values,
        }
    return Config(**values)


def fine_tunings(config):
    """{method: configuration} of what is fine-tuned from a configuration, with the usual outliers."""
    values = {key: value for key, value in vars(config).items() if key not in UNTUNED}
    return {method: configure(**values, fine_tuning=method) for method in FINE_TUNING}


def command(config):
    """The shell command that trains a configuration."""
    chosen = {"activation": config.activation, "fine_tuning": config.fine_tuning}
    values = dataclasses.asdict(config)
    varied = {key: value for key, value in chosen.items() if value != getattr(Config, key)}
    recipe = configure(config.profile, **{key: values[key] for key in ("dataset", "epochs", "learning_rate")}, **chosen)
    plain = configure(config.profile, activation=config.activation)
    for key, value in values.items():
        if value != getattr(recipe if key in UNTUNED else plain, key):
            varied[key] = value
    words = [f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in varied.items()]
    return " ".join([f"python -m thesis_utils train --profile {config.profile}", *words])
