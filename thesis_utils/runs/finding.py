"""The run of a configuration: your own, else the recorded one, else a new training.

    run = get(configure("compact", activation="relu"))

A training works in a hidden folder beside its place in `runs/`; its configuration and provenance are there before the
first step, and the folder is renamed when it is complete.
"""

import dataclasses
import json
import os
import platform
from contextlib import suppress
from datetime import date
from functools import lru_cache

import numpy as np
import sklearn
import torch

from thesis_utils import data
from thesis_utils.errors import InputError
from thesis_utils.files import beside
from thesis_utils.runs import store
from thesis_utils.runs.config import command
from thesis_utils.runs.run import Run
from thesis_utils.training import best_device, precision_on, train

SEEDS = range(10)  # looked for; most are not recorded


def find(config, own_only=False):
    """The user's own run of a configuration, else the recorded one, else None."""
    for home in (store.OWN,) if own_only else (store.OWN, store.RECORDED):
        if is_of(home / config.name, config):
            return opened(home / config.name)
    return None


def is_of(folder, config):
    """Whether a folder's config.json is this configuration, neither another one nor another version's."""
    try:
        return store.read_config(folder) == config
    except InputError:
        return False


def opened(folder):
    """One `Run` a folder, so that what it computes is computed once; another one where the folder was made anew."""
    stat = (folder / "config.json").stat()
    return opened_once(folder, stat.st_ino, stat.st_mtime_ns)


@lru_cache
def opened_once(folder, *_):
    return Run(folder)


def everything():
    """All runs: your own, then those recorded ones of which there is none of your own; unreadable folders left out."""
    paths = {}
    for home in (store.RECORDED, store.OWN):
        for path in sorted(home.glob("[!.]*/config.json")):
            with suppress(InputError):
                if is_of(path.parent, store.read_config(path.parent)):
                    paths[path.parent.name] = path.parent
    return [opened(path) for path in paths.values()]


def by_name(name):
    """The run whose folder has this name, your own or the recorded one."""
    for home in (store.OWN, store.RECORDED):
        if (home / name / "config.json").exists():
            return opened(home / name)
    raise InputError(f"there is no run {name}")


def seeds(config):
    """The runs of a configuration with whatever seed, in the order of their seeds."""
    found = (find(dataclasses.replace(config, seed=seed)) for seed in SEEDS)
    return [run for run in found if run]


def epochs(config):
    """The numbers of epochs at which a run of a configuration is there, and the configuration's own, ascending."""
    found = {config.epochs}
    for home in (store.OWN, store.RECORDED):
        for path in home.glob(f"{config.profile}-{config.dataset}-*/config.json"):
            with suppress(InputError):
                other = store.read_config(path.parent)
                if dataclasses.replace(other, epochs=config.epochs, seed=config.seed) == config:
                    found.add(other.epochs)
    return sorted(found)


def get(config):
    """The run of a configuration: the user's own, else the recorded one, else a new training."""
    return find(config) or train_run(config)


def unfinished(config):
    """The folder of a training that is not finished yet."""
    return store.OWN / f".{config.name}.partial"


def partly_trained(config):
    return (unfinished(config) / "training.pt").exists()


def device_name(device):
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {(count := torch.get_num_threads())} thread{'s' * (count > 1)}"


def origin(config, device):
    """Where the numbers of a training that begins now will have come from: the content of provenance.json."""
    images = data.load(config.dataset, "train")
    held_out = len(data.hold_out(images)[1])
    sets = {
        f"{config.dataset} train": {
            "images": len(images), "of which calibration": held_out, "sha256": images.checksum
        }
    }  # fmt: skip
    if config.outliers:
        outliers = data.load(config.outliers, "train")
        sets[f"{config.outliers} train"] = {"images": len(outliers), "sha256": outliers.checksum}
    libraries = {"torch": torch, "numpy": np, "scikit-learn": sklearn}
    return {
        "code": store.CODE,
        "date": date.today().isoformat(),
        "device": device_name(device),
        "precision": precision_on(device, config.precision),
        "versions": {"python": platform.python_version()} | {name: one.__version__ for name, one in libraries.items()},
        "seed": config.seed,
        "data": sets,
    } | ({"base": config.base.name} if config.outliers else {})


def begin(config, device):
    """The folder to train in, begun now or before; refuses one of another configuration, and leaves it as it is."""
    partial = unfinished(config)
    for folder in (store.OWN / config.name, partial):
        if folder.exists() and not is_of(folder, config):
            raise InputError(
                f"{folder} does not belong to {config.name}: its config.json is missing or says otherwise; it was "
                "left as it is, move it away to train"
            )
    now = origin(config, device)
    if partly_trained(config):
        provenance = json.loads((partial / "provenance.json").read_text())
        *_, last = [provenance, *provenance.get("resumed", [])]
        entry = {key: now[key] for key in ("code", "date", "device", "versions")}
        goes_on = all(provenance[key] == now[key] for key in ("precision", "data"))  # else `train` refuses
        if goes_on and any(last[key] != entry[key] for key in ("code", "device", "versions")):
            provenance["resumed"] = [*provenance.get("resumed", []), entry]
            store.write_json(partial / "provenance.json", provenance)
    elif partial.exists():
        store.write_json(partial / "provenance.json", now)
    else:
        new = beside(partial)
        new.mkdir()
        store.write_json(new / "config.json", dataclasses.asdict(config))
        store.write_json(new / "provenance.json", now)
        os.replace(new, partial)
    return partial


def train_run(config):
    """Trains a configuration into `runs/`, going on where an earlier training was interrupted."""
    device, trained = best_device(), None
    if config.fine_tuning != "none":
        data.load(config.outliers, "train")  # before a training that would be in vain
        base = get(config.base)
        if not base.has_weights:
            again = command(base.config)
            raise InputError(f"{base.config.name} is recorded without the weights to fine-tune from; train it: {again}")
        base.training_images()  # refuses others than it was trained on
        trained = torch.load(base.folder / "checkpoint.pt", map_location=device, weights_only=True)["model"]
    target = store.OWN / config.name
    with store.locked(target):
        if not find(config, own_only=True):  # another process may have finished it
            partial = begin(config, device)
            finish(partial, *train(config, partial, device, trained))
            for litter in partial.glob(".*.partial"):
                litter.unlink()
            os.replace(partial, target)
        (target / "training.pt").unlink(missing_ok=True)  # after the renaming: a kill in between costs no epoch
    return opened(target)


def finish(partial, model, normalise, history, seconds):
    """Writes what a finished training leaves; the folder is complete then.

    Kernels are kept in half precision, half the size; the network that is scored is the kept one.
    """
    weights = {key: (x.half() if x.dim() > 1 else x).cpu() for key, x in model.state_dict().items()}
    torch.save({"model": weights, "normalisation": dataclasses.asdict(normalise)}, partial / "checkpoint.pt")
    provenance = json.loads((partial / "provenance.json").read_text())
    provenance |= {"wall_seconds": round(seconds), "parameters": sum(p.numel() for p in model.parameters())}
    store.write_json(partial / "provenance.json", provenance)
    history.to_csv(partial / "history.csv", index=False)
