"""A new training: it works in a hidden folder beside its place in `runs/`, which is renamed when it is complete.

The folder's configuration and provenance are there before the first step.
"""

import dataclasses
import hashlib
import json
import os
import platform
from datetime import date
from importlib.metadata import version

import thesis_utils as method  # `method.data` is loaded, and torch with it, when first asked for
from thesis_utils.errors import InputError
from thesis_utils.files import beside
from thesis_utils.runs import run as folders
from thesis_utils.runs.config import command
from thesis_utils.runs.run import find, is_of, locked, opened, write_json


def get(config):
    """The run of a configuration: the user's own, else the recorded one, else a new training."""
    return find(config) or train_run(config)


def unfinished(config):
    """The folder of a training that is not finished yet."""
    return folders.OWN / f".{config.name}.partial"


def partly_trained(config):
    return (unfinished(config) / "training.pt").exists()


def origin(config, device):
    """Where the numbers of a training that begins now will have come from: the content of provenance.json."""
    import numpy as np
    import torch

    images = method.data.load(config.dataset, "train")
    held_out = len(method.data.hold_out(images)[1])
    name = f"{config.dataset} train"
    sets = {name: {"images": len(images), "of which calibration": held_out, "sha256": images.checksum}}
    if config.outliers:
        outliers = method.data.load(config.outliers, "train")
        sets[f"{config.outliers} train"] = {"images": len(outliers), "sha256": outliers.checksum}
    threads = torch.get_num_threads()
    cpu = f"CPU, {threads} thread{'s' * (threads > 1)}"
    return {
        "code": folders.CODE,
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "precision": method.training.precision_on(device, config.precision),
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "scikit-learn": version("scikit-learn"),
        },
        "seed": config.seed,
        "data": sets,
    } | ({"base": config.base.name} if config.outliers else {})  # fmt: skip


def begin(config, device):
    """The folder to train in, begun now or before; refuses one of another configuration, and leaves it as it is."""
    partial = unfinished(config)
    for folder in (folders.OWN / config.name, partial):
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
            write_json(partial / "provenance.json", provenance)
    elif partial.exists():
        write_json(partial / "provenance.json", now)
    else:
        new = beside(partial)
        new.mkdir()
        write_json(new / "config.json", dataclasses.asdict(config))
        write_json(new / "provenance.json", now)
        os.replace(new, partial)
    return partial


def train_run(config):
    """Trains a configuration into `runs/`, going on where an earlier training was interrupted."""
    import torch

    folders.need_to_write(folders.OWN)
    device, trained = method.training.best_device(), None
    if config.fine_tuning != "none":
        method.data.load(config.outliers, "train")  # before a training that would be in vain
        base = get(config.base)
        if not base.has_weights:
            again = command(base.config)
            raise InputError(f"{base.config.name} is recorded without the weights to fine-tune from; train it: {again}")
        base.training_images()  # refuses others than it was trained on
        trained = torch.load(base.folder / "checkpoint.pt", map_location=device, weights_only=True)["model"]
    target = folders.OWN / config.name
    with locked(target):
        if not is_of(target, config):  # another process may have finished it
            partial = begin(config, device)
            finish(partial, *method.training.train(config, partial, device, trained))
            for litter in partial.glob(".*.partial"):
                litter.unlink()
            os.replace(partial, target)
        (target / "training.pt").unlink(missing_ok=True)  # after the renaming: a kill in between costs no epoch
    return opened(target)


def finish(partial, model, normalise, history, seconds):
    """Writes what a finished training leaves; the folder is complete then.

    Kernels are kept in half precision, half the size; the network that is scored is the kept one. A digest of the
    weights is noted: it tells whether what was measured on a run was measured on the weights that it has now.
    """
    import torch

    weights = {key: (x.half() if x.dim() > 1 else x).cpu() for key, x in model.state_dict().items()}
    torch.save({"model": weights, "normalisation": dataclasses.asdict(normalise)}, partial / "checkpoint.pt")
    provenance = json.loads((partial / "provenance.json").read_text())
    provenance |= {
        "wall_seconds": round(seconds),
        "parameters": sum(p.numel() for p in model.parameters()),
        "weights": hashlib.sha256((partial / "checkpoint.pt").read_bytes()).hexdigest()[:12],
    }
    write_json(partial / "provenance.json", provenance)
    history.to_csv(partial / "history.csv", index=False)
