"""A run: one frozen configuration, one folder, in `runs/` (your own) or `results/` (recorded).

    config = configure("compact", dataset="cifar10", activation="log_softmax", entropy_factor=0.01)
    run = get(config)                           # your own, else the recorded one, else a new training
    run.metrics()                               # every score x data set x reading
    run.scores("svhn")                          # per-image scores

A folder holds
    config.json       the configuration         provenance.json      where every number came from
    history.csv       one line per epoch        metrics.csv          every score x data set x reading
    checkpoint.pt     weights, normalisation    scores/NAME.parquet  per-image scores
    scorer.pt         Gaussians, ensemble       baselines.csv        ODIN and ensemble under three protocols
`results/` keeps of the scores only the columns that the book's figures need, and most runs' weights not at all.
"""

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import torch

from thesis_utils import __version__, baselines, data, evaluation
from thesis_utils.errors import InputError
from thesis_utils.files import replace
from thesis_utils.losses import FINE_TUNING, REDUCTIONS
from thesis_utils.models import ACTIVATIONS, LAYERS, resnet34
from thesis_utils.training import best_device, precision_on, train

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / (os.environ.get("THESIS_RUNS") or "runs")  # a relative path counts from the repository
RECORDED = ROOT / "results"
SEEDS = range(10)  # looked for; most are not recorded
NARROWEST = 8  # below, oneDNN's backward pass hangs or crashes on a CPU that has AVX2 only


@dataclass(frozen=True)
class Config:
    """All that a training depends on. Learning rates follow one cycle up to `learning_rate` and down to 0."""

    profile: str = "compact"
    dataset: str = "cifar10"
    activation: str = "log_softmax"
    entropy_factor: float = 0.0
    entropy_reduction: str = "mean"
    seed: int = 0
    width: int = 16
    epochs: int = 6
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    flip: bool = True
    precision: str = "bfloat16"
    progressive: bool = False
    fine_tuning: str = "none"
    outliers: str = ""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.type is float and isinstance(getattr(self, field.name), int):
                object.__setattr__(self, field.name, float(getattr(self, field.name)))  # 0 and 0.0: one name

        def refuse(field, wanted):
            raise InputError(f"{field} must be {wanted}, not {getattr(self, field)!r}")

        for field, choices in {
            "activation": ACTIVATIONS,
            "entropy_reduction": REDUCTIONS,
            "precision": ("float32", "bfloat16"),
            "fine_tuning": ("none", *FINE_TUNING),
        }.items():
            if getattr(self, field) not in choices:
                refuse(field, "one of " + ", ".join(choices))
        for field, least in {"width": NARROWEST, "epochs": 1, "batch_size": 1}.items():
            if not isinstance(getattr(self, field), int) or getattr(self, field) < least:
                refuse(field, f"a whole number, at least {least}")
        if not isinstance(self.seed, int) or self.seed < 0:
            refuse("seed", "a whole number, at least 0")
        for field in ("learning_rate", "clip_norm"):
            if not 0 < getattr(self, field) < float("inf"):
                refuse(field, "a number above 0")
        for field in ("entropy_factor", "weight_decay"):
            if not 0 <= getattr(self, field) < float("inf"):
                refuse(field, "a number, at least 0")
        if self.entropy_factor and self.entropy_reduction == "sum" and self.progressive:
            raise InputError(
                "a sum over pixels weighs small images less, so that a progressive training would change the "
                "entropy_factor on the way; set progressive to false, or entropy_reduction to mean"
            )
        if self.entropy_factor and self.activation != "log_softmax":
            raise InputError(
                f"an entropy_factor of {self.entropy_factor} needs activation log_softmax, not {self.activation}: "
                "the entropy loss acts on maps of log-probabilities"
            )

        if (self.fine_tuning == "none") != (self.outliers == ""):
            raise InputError(
                "fine_tuning and outliers go together: an outlier set to fine-tune on (any by name), and "
                f"{' or '.join(FINE_TUNING)}"
            )

    @property
    def base(self):
        """The configuration of the network that a fine-tuning starts from."""
        return dataclasses.replace(self, fine_tuning="none", outliers="")

    @property
    def name(self):
        """A folder name: what people vary, then six digits of a hash over all that differs from the defaults."""
        varied = {f.name: v for f in dataclasses.fields(self) if (v := getattr(self, f.name)) != f.default}
        digest = hashlib.sha256(json.dumps(varied, sort_keys=True).encode()).hexdigest()[:6]
        factor = f"-el{self.entropy_factor:g}" if self.activation == "log_softmax" else ""
        tuned = "" if self.fine_tuning == "none" else f"-{self.fine_tuning}"
        return f"{self.profile}-{self.dataset}-{self.activation}{factor}{tuned}-seed{self.seed}-{digest}"


PROFILES = {
    "demo": dict(dataset="digits_0_4", width=8, epochs=8, batch_size=32, flip=False, precision="float32"),
    "compact": dict(width=16, epochs=10, batch_size=64, progressive=True),
    "thesis": dict(width=64, epochs=60),
}
RECIPES = {"softmax": dict(learning_rate=1e-2)}  # where an activation needs another value than the rest
OUT_DISTRIBUTIONS = {
    "digits_0_4": ("digits_5_9", "photo_patches", "noise"),
    "cifar10": ("cifar100", "svhn", "lsun", "places9_resize", "places9_fix"),
    "cifar100": ("cifar10", "svhn", "lsun", "places9_resize", "places9_fix"),
}
OUTLIERS = {"digits_0_4": "photo_patches"}  # to fine-tune on; all others: tinyimagenet32_subset
NEAR_AND_FAR = {"digits_0_4": ("digits_5_9", "noise"), "cifar100": ("cifar10", "svhn")}  # all others: CIFAR-100, SVHN


def configure(profile=None, **overrides):
    """The profile's configuration with some of its values overridden; None stands for the profile's own value.

    Without a profile: the one named by the environment variable THESIS_PROFILE, else "compact". An unknown
    profile or key is an InputError.
    """
    overrides = {key: value for key, value in overrides.items() if value is not None}
    profile = profile or os.environ.get("THESIS_PROFILE") or "compact"
    if profile not in PROFILES:
        raise InputError(f"unknown profile {profile!r}; choose from {', '.join(PROFILES)}")
    fields = {field.name for field in dataclasses.fields(Config)}
    unknown = sorted(set(overrides) - fields)
    if unknown:
        raise InputError(f"unknown configuration key {unknown[0]!r}; there are {', '.join(sorted(fields))}")
    recipe = RECIPES.get(overrides.get("activation"), {})
    values = {"profile": profile, **PROFILES[profile], **recipe, **overrides}
    if values.get("fine_tuning", "none") != "none":
        values = {"outliers": OUTLIERS.get(values.get("dataset"), "tinyimagenet32_subset"), **values}
    return Config(**values)


def fine_tunings(config):
    """{method: configuration} of what is fine-tuned from a configuration, with the usual outliers."""
    return {method: configure(**vars(config) | {"fine_tuning": method, "outliers": None}) for method in FINE_TUNING}


# --- finding, training, scoring ---------------------------------------------------------------------


class Run:
    """A finished training in its folder, with whatever scores it has."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = Config(**json.loads((self.folder / "config.json").read_text()))
        self.provenance = json.loads((self.folder / "provenance.json").read_text())
        self.history = pd.read_csv(self.folder / "history.csv")
        self.computed = {}  # per-image scores that the folder does not keep, by data set

    def __repr__(self):
        return f"Run({self.config.name}, {'recorded' if self.recorded else 'your own'})"

    @property
    def recorded(self):
        return self.folder.parent == RECORDED

    @property
    def has_weights(self):
        return (self.folder / "checkpoint.pt").exists()

    def can_score(self, name):
        """Whether `scores(name)` needs no training: the scores are there, or the weights."""
        return self.has_weights or name in self.scored()

    def held_out(self, ood):
        """What the protocol `held_out` tunes on where `ood` is tested: the far set, for that one the near."""
        near, far = NEAR_AND_FAR.get(self.config.dataset, ("cifar100", "svhn"))
        return near if ood == far else far

    def compared(self, oods):
        """Those of `oods` whose `baselines` are there or, in a run of your own, can be computed."""

        def possible(ood):
            needed = (self.config.dataset, ood, self.held_out(ood))
            return self.has_weights and not self.recorded and all(data.present(name) for name in needed)

        return [ood for ood in oods if ood in self.known_baselines or possible(ood)]

    def scored(self):
        """Names of the data sets whose per-image scores are in the folder."""
        return sorted(path.stem for path in (self.folder / "scores").glob("*.parquet"))

    def out_distributions(self):
        """Names of the out-distributions to show: the usual ones, then whatever else has been scored.

        Of the usual ones those that have been scored and, for a run of your own, those that need no download.
        """
        usual = OUT_DISTRIBUTIONS.get(self.config.dataset, ())
        scored = set(self.scored()) - {self.config.dataset, "calibration"}
        mine = set() if self.recorded else {name for name in usual if data.present(name)}
        return [*(name for name in usual if name in scored | mine), *sorted(scored - set(usual))]

    def accuracy(self):
        """Share (0 to 1) of the in-distribution test images that are classified correctly."""
        return float(self.scores(self.config.dataset)[evaluation.CORRECT].mean())

    @cached_property
    def scorer(self):
        """The trained network with its Gaussians, ready to score images; fits the Gaussians if need be."""
        if not self.has_weights:
            raise InputError(
                f"the run {self.config.name} is recorded without its weights and has scores of "
                f"{', '.join(self.scored())} only; choose one of these, or train it: {command(self.config)}"
            )
        device = best_device()
        state = torch.load(self.folder / "checkpoint.pt", map_location=device, weights_only=True)
        model = resnet34(state["model"]["fc.bias"].shape[0], self.config.width, self.config.activation)
        model.load_state_dict(state["model"])
        model = model.to(device, memory_format=torch.channels_last)
        scorer = evaluation.Scorer(model, data.Normalisation(**state["normalisation"]))
        path = self.folder / "scorer.pt"
        if path.exists():
            return scorer.restore(torch.load(path, map_location="cpu", weights_only=True))
        scorer.fit(*data.hold_out(data.load(self.config.dataset, "train")))
        replace(path, lambda partial: torch.save(scorer.state(), partial))
        return scorer

    def images(self, name):
        """The images behind a name of `scores`: "calibration", or the test images of a data set or folder."""
        if name == "calibration":
            return dataclasses.replace(data.hold_out(data.load(self.config.dataset, "train"))[1], name=name)
        return data.load(name, "test")

    def scores(self, name):
        """Per-image scores (N x columns) of "calibration" or of a data set's test images, by name or folder.

        Read from the run's folder; where it has none, computed, and kept there if the run is your own.
        """
        if name in self.scored():
            return pd.read_parquet(self.score_path(name))
        if name not in self.computed:
            images, scorer = self.images(name), self.scorer
            tables = scorer.stream(images, labelled=name in (self.config.dataset, "calibration"))
            if not self.recorded and name in {*data.names(), "calibration"}:
                evaluation.write(tables, self.score_path(name))
                self.note_data(name, images)
                return self.scores(name)
            self.computed[name] = pd.concat(tables, ignore_index=True)
        return self.computed[name]

    def score_path(self, name):
        return self.folder / "scores" / f"{name}.parquet"

    def note_data(self, name, images, how="scored by"):
        """Adds a data set's size and checksum, and the code that used it, to the provenance."""
        entry = {"images": len(images), "sha256": images.checksum()}
        self.provenance["data"][name] = self.provenance["data"].get(name, {}) | entry | {how: code_version()}
        replace(
            self.folder / "provenance.json", lambda partial: partial.write_text(json.dumps(self.provenance, indent=1))
        )

    def metrics(self, *names):
        """Metrics of every score: one row per (ood, score, reading), for all out-distributions or the named ones.

        Read from the folder's metrics.csv, and computed from the per-image scores for a set that is not in it.
        """
        return pd.concat([self.metrics_of(name) for name in self.chosen(names)], ignore_index=True)

    def chosen(self, names):
        """The named out-distributions, or else all that there are."""
        chosen = names or self.out_distributions()
        if not chosen:
            raise InputError(
                f"no out-distribution is scored for {self.config.name}; name one: "
                f"{command(self.config).replace(' train ', ' score ')} --ood NAME"
            )
        return chosen

    def metrics_of(self, name):
        if name not in self.known_metrics:
            id_scores, ood_scores = self.scores(self.config.dataset), self.scores(name)
            new = evaluation.compare(id_scores, ood_scores, self.scores("calibration"))
            self.known_metrics[name] = new.assign(ood=name)
            if not self.recorded and name in self.scored():
                kept = pd.concat([table for key, table in self.known_metrics.items() if key in self.scored()])
                replace(self.folder / "metrics.csv", lambda p: kept.to_csv(p, index=False, float_format="%.6f"))
        return self.known_metrics[name]

    @cached_property
    def known_metrics(self):
        """{data set: its rows of metrics.csv}, and whatever was computed since."""
        path = self.folder / "metrics.csv"
        return dict(list(pd.read_csv(path).groupby("ood"))) if path.exists() else {}

    def baselines(self, *names):
        """ODIN and the Mahalanobis ensemble, tuned under three protocols (`baselines.compare`), one row a result.

        For all out-distributions or the named ones; read from baselines.csv, what is not there is computed.
        """
        chosen = self.chosen(names)
        if missing := [name for name in chosen if name not in self.known_baselines]:
            others = {name: self.held_out(name) for name in missing}
            oods = {name: self.images(name) for name in {*missing, *others.values()}}
            images = (self.images(self.config.dataset), self.images("calibration"))
            counts = baselines.IMAGES.get(self.config.profile, baselines.ALL)
            for name, table in baselines.compare(self.scorer, *images, oods, others, *counts):
                self.known_baselines[name] = table
                if not self.recorded and name in data.names():
                    self.note_data(name, oods[name], "compared by")
                    path = self.folder / "baselines.csv"
                    kept = [pd.read_csv(path)] if path.exists() else []
                    table = pd.concat([*kept, table])
                    replace(path, lambda p, table=table: table.to_csv(p, index=False, float_format="%.6g"))
        return pd.concat([self.known_baselines[name] for name in chosen], ignore_index=True)

    @cached_property
    def known_baselines(self):
        """{data set: its rows of baselines.csv}, and whatever was computed since."""
        path = self.folder / "baselines.csv"
        return dict(list(pd.read_csv(path).groupby("ood"))) if path.exists() else {}

    def record(self, weights=False):
        """Copies the run into `results/`: its metrics, the columns that figures need and, if asked for, its weights."""
        self.metrics()
        target = RECORDED / self.config.name
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "scores").mkdir(parents=True)
        kept = [
            "config.json",
            "provenance.json",
            "history.csv",
            "metrics.csv",
            "baselines.csv",
            *["checkpoint.pt", "scorer.pt"] * weights,
        ]
        for name in kept:
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, partial / name)
        columns = FIGURES if self.config.fine_tuning == "none" else FINE_TUNED_FIGURES
        for name in self.scored():
            table = self.scores(name)
            if not (weights and name in (self.config.dataset, "calibration")):
                table = table[[column for column in columns if column in table]]
            evaluation.write([table.apply(shorten)], partial / "scores" / f"{name}.parquet")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        opened.cache_clear()
        return Run(target)


FIGURES = (*(f"{layer}/min_of_misp" for layer in LAYERS), *evaluation.FINAL, evaluation.ENSEMBLE, evaluation.CORRECT)
FINE_TUNED_FIGURES = (*evaluation.FINAL, evaluation.CORRECT)


def shorten(column):
    """A float32 column rounded to 16 significant bits (relative error 2^-16), so that it packs into two thirds."""
    bits = column.to_numpy(np.float32).view(np.uint32).astype(np.uint64)
    return pd.Series(((bits + 0x80) & 0xFFFFFF00).astype(np.uint32).view(np.float32))


def command(config):
    """The shell command that trains a configuration."""
    base = configure(config.profile, activation=config.activation)
    varied = {key: value for key, value in dataclasses.asdict(config).items() if value != getattr(base, key)}
    if config.activation != Config.activation:
        varied = {"activation": config.activation, **varied}
    words = [f"--{key.replace('_', '-')} {value}" for key, value in varied.items()]
    return " ".join([f"python -m thesis_utils train --profile {config.profile}", *words])


def code_version():
    """The package's version and, in a git checkout, the commit, with a + where files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True
    )
    return f"{__version__} {described.stdout.strip()}".strip()


def device_name(device):
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {(count := torch.get_num_threads())} thread{'s' * (count > 1)}"


def find(config, homes=(OWN, RECORDED)):
    """The user's own run of a configuration, else the recorded one, else None."""
    for home in homes:
        if (home / config.name / "config.json").exists() and (run := opened(home / config.name)).config == config:
            return run
    return None


@lru_cache
def opened(folder):
    """One `Run` a folder, so that what it computes is computed once."""
    return Run(folder)


def seeds(config):
    """The runs of a configuration with whatever seed, in the order of their seeds."""
    found = (find(dataclasses.replace(config, seed=seed)) for seed in SEEDS)
    return [run for run in found if run]


def get(config):
    """The run of a configuration: the user's own, else the recorded one, else a new training."""
    return find(config) or train_run(config)


def unfinished(config):
    """The folder of a training that is not finished yet."""
    return OWN / f".{config.name}.partial"


def train_run(config):
    """Trains a configuration into `runs/`, going on where an earlier training was interrupted."""
    target, partial = OWN / config.name, unfinished(config)
    partial.mkdir(parents=True, exist_ok=True)
    started = partial / "code"
    if not (partial / "training.pt").exists():
        started.write_text(code_version())
    device, trained = best_device(), None
    if config.fine_tuning != "none":
        data.load(config.outliers, "train")  # before a training that would be in vain
        base = get(config.base)
        if not base.has_weights:
            again = command(base.config)
            raise InputError(f"{base.config.name} is recorded without the weights to fine-tune from; train it: {again}")
        trained = torch.load(base.folder / "checkpoint.pt", map_location=device, weights_only=True)["model"]
    model, normalise, history, seconds = train(config, partial, device, trained)
    images = data.load(config.dataset, "train")
    provenance = {
        "code": started.read_text(),
        "date": date.today().isoformat(),
        "device": device_name(device),
        "precision": precision_on(device, config.precision),
        "wall_seconds": round(seconds),
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "seed": config.seed,
        "data": {
            f"{config.dataset} train": {
                "images": len(images),
                "of which calibration": len(data.hold_out(images)[1]),
                "sha256": images.checksum(),
            }
        },
    }
    if config.outliers:
        outliers = data.load(config.outliers, "train")
        provenance["base"] = base.config.name
        provenance["data"][f"{config.outliers} train"] = {"images": len(outliers), "sha256": outliers.checksum()}
    weights = {key: value.cpu() for key, value in model.state_dict().items()}
    torch.save({"model": weights, "normalisation": dataclasses.asdict(normalise)}, partial / "checkpoint.pt")
    history.to_csv(partial / "history.csv", index=False)
    (partial / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=1))
    (partial / "provenance.json").write_text(json.dumps(provenance, indent=1))
    (partial / "training.pt").unlink()
    started.unlink()
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    opened.cache_clear()
    return opened(target)
