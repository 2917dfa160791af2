"""Training: one loop for all activations, resumable to the letter.

    model, normalise, history, seconds = train(config, folder)

Every epoch draws its order and its augmentation from a generator seeded by (seed, epoch), and ends by
writing `folder/training.pt`; an interrupted training goes on from there and, on a CPU, ends with the
same history as an uninterrupted one.

The recipe is the configuration's: optimizer, one cycle of the learning rate (Smith 2018), a clipped gradient, images
that may be small at first (Howard 2018). Fine-tuning is the same loop from a trained network on, with outliers.
"""

import time

import pandas as pd
import torch
from torch.nn import functional as F
from tqdm import tqdm

from thesis_utils import data, graphs
from thesis_utils.architectures import ARCHITECTURES
from thesis_utils.errors import Diverged, InputError
from thesis_utils.evaluation import float32
from thesis_utils.files import replace
from thesis_utils.losses import FINE_TUNING, entropy_loss
from thesis_utils.muon import Muon

CHECK_EVERY = 20  # steps between two looks at the loss; on a GPU, for which looking would wait, an epoch's
NEVER = 2**62


def best_device():
    """A CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision_on(device, wanted):
    """The forward pass' precision: the wanted one, but float32 for bfloat16 on a CPU without instructions for it.

    Such a CPU would emulate bfloat16, which takes ten times as long as float32.
    """
    if wanted == "bfloat16" and torch.device(device).type == "cpu":
        able = torch.cpu.get_capabilities()
        if not any(able.get(instructions) for instructions in ("avx512_bf16", "amx_bf16", "bf16")):  # the last: ARM
            return "float32"
    return wanted


def autocast(device, wanted):
    """The context for a forward pass on a device (torch.device) in `precision_on` it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision_on(device, wanted) == "bfloat16")


@float32()
def accuracy(model, images, normalise, batch_size=500):
    """Share of images (0 to 1) whose label is the largest logit, in evaluation mode."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        hits = [
            (model(normalise(pixels)).argmax(1) == labels).sum()
            for pixels, labels in data.batches(images, batch_size, device)
        ]
    return float(sum(hits)) / len(images)


def size_at(sizes, progress):
    """The one of `sizes` (pixels) whose turn is at `progress`, the share (0 to 1) of steps done: each lasts as long."""
    return sizes[int(progress * len(sizes))]


def resized(images, size):
    """Images (N, C, H, W) at a size in pixels, with antialiasing."""
    if size == images.shape[-1]:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def optimizers_of(config, model, learning_rate):
    """What steps the network: SGD with Nesterov momentum, AdamW, or Muon for the convolutions and SGD for the rest.

    Weight decay spares BatchNorm's parameters if `decay_norms` is false, and Muon's kernels, whose norm is fixed.
    """
    of_norms, kernels = {False: [], True: []}, []
    for module in model.modules():
        if config.optimizer == "muon" and isinstance(module, torch.nn.Conv2d):
            kernels.extend(module.parameters(recurse=False))
        else:
            of_norms[isinstance(module, torch.nn.BatchNorm2d)].extend(module.parameters(recurse=False))
    decays = {False: config.weight_decay, True: config.weight_decay * config.decay_norms}
    groups = [{"params": of_norms[norm], "weight_decay": decays[norm]} for norm in of_norms]
    if config.optimizer == "adamw":
        return [torch.optim.AdamW(groups, learning_rate, fused=True)]
    if config.optimizer == "sgd":
        return [torch.optim.SGD(groups, learning_rate, momentum=0.9, nesterov=True, fused=True)]
    rest = learning_rate * config.rest_rate
    return [Muon(kernels, learning_rate), torch.optim.SGD(groups, rest, momentum=0.9, nesterov=True, fused=True)]


def one_cycle(config, optimizer, steps):
    """One cycle of the learning rate up to the optimizer's and down to zero.

    For SGD alone and AdamW the momentum (AdamW's first beta) runs through a cycle too, 0.95 to 0.85 and back, as is
    OneCycleLR's default; beside Muon it stays.
    """
    rate = optimizer.param_groups[0]["lr"]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, cycle_momentum=config.optimizer != "muon")


def resumed(path, device, precision, images):
    """The state in `path`, or None; an InputError where it was begun in another precision or on other images."""
    if not path.exists():
        return None
    state = torch.load(path, map_location=device, weights_only=True)
    if (begun := state.get("precision")) != precision:
        raise InputError(
            f"the training in {path.parent} was begun in {begun} and would go on in {precision} here; let it go on "
            f"on a machine that computes in {begun}, or train another network with --precision float32"
        )
    if state["images"] != images:
        raise InputError(
            f"the training in {path.parent} was begun on other images of the same name; put those back, or move that "
            "folder away to train anew"
        )
    return state


def planned(config, count, others, generator, epoch):
    """What an epoch's steps see, each a row: images (S, B) of `count`, how `data.shift` moves them (S, 3, B + O), and
    in a fine-tuning the outliers (S, O) of `others`."""
    order = torch.randperm(count, generator=generator).split(config.batch_size)[: count // config.batch_size]
    wanted = config.batch_size * config.outliers_per_image
    first = torch.randint(2, (count,), generator=torch.Generator().manual_seed(config.seed))
    drawn, strangers = [], []
    for chosen in order:
        if wanted:
            strangers.append(torch.randint(others, (wanted,), generator=generator))
        drawn.append(data.draw(config.batch_size + wanted, generator, config.flip))
        if config.alternating_flip:
            drawn[-1][2, : len(chosen)] = (first[chosen] + epoch) % 2
    return [torch.stack(part) for part in (order, drawn, strangers) if part]


class Step:
    """A training's step: forward, backward and the optimizers'; on a GPU, for Muon, replayed.

    `begin` starts an epoch, `run` does a step. `sums` are the steps' cross-entropy, entropy loss and accuracy since,
    summed; `first_bad` is the first of them whose loss or gradient is not finite, if there is one, counted from 0.
    """

    def __init__(self, config, model, normalise, optimizers, images, outliers=None):
        device = next(model.parameters()).device
        self.config, self.model, self.normalise, self.optimizers = config, model, normalise, optimizers
        self.pixels, self.labels = images.pixels.to(device), images.labels.to(device)
        self.outliers = None if outliers is None else outliers.pixels.to(device)
        self.sums, self.done = torch.zeros(3, device=device), torch.zeros((), dtype=torch.long, device=device)
        self.first_bad = torch.zeros_like(self.done)
        self.run = self.once
        if device.type == "cuda" and config.optimizer == "muon":  # others' momenta have a cycle, which no graph sees
            self.run = graphs.Replayed(self.once, optimizers)

    def begin(self):
        self.sums.zero_()
        self.done.zero_()
        self.first_bad.fill_(NEVER)

    def once(self, size, chosen, drawn, strangers=None):
        """On the chosen images (B,) and outliers (O,), moved as drawn (3, B + O), of `size` pixels."""
        config, model, labels = self.config, self.model, self.labels[chosen]
        seen = self.pixels[chosen]
        if strangers is not None:
            seen = torch.cat([seen, self.outliers[strangers]])
        inputs = resized(self.normalise(data.shift(seen, drawn)), size)
        with autocast(inputs.device, config.precision):
            logits, layers = model.forward_layers(inputs)
        logits, outlier_logits = logits.float().tensor_split([len(chosen)])
        cross_entropy = loss = F.cross_entropy(logits, labels)
        entropy = torch.zeros_like(loss)
        if config.entropy_factor:
            maps = [z[: len(chosen)] for z in model.log_probs(layers).values()]
            entropy = entropy_loss(maps, config.entropy_reduction)
            loss = cross_entropy + config.entropy_factor * entropy
        if strangers is not None:
            loss = loss + FINE_TUNING[config.fine_tuning](logits, outlier_logits)
        model.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        with autocast(inputs.device, config.precision):  # of Muon's products
            for optimizer in self.optimizers:
                optimizer.step()
        hits = (logits.argmax(1) == labels).float().mean()
        self.sums.add_(torch.stack([cross_entropy.detach(), entropy.detach(), hits]))
        bad = ~(loss.detach() + norm).isfinite()
        self.first_bad.copy_(torch.where(bad, self.first_bad.minimum(self.done), self.first_bad))
        self.done.add_(1)


@float32(benchmark=True)
def train(config, folder, device=None, trained=None, after_epoch=None):
    """Trains the network of `config` (a `runs.Config`), or goes on from `folder/training.pt`.

    To fine-tune, `trained` is the network's state to start from. Returns (model, normalisation, history, wall
    seconds). The history has one row an epoch: the means over its steps of cross-entropy (nats), entropy loss (nats,
    before lambda) and accuracy, and the calibration accuracy. `after_epoch` is called with the epoch, the model (in
    evaluation mode), the normalisation and the calibration accuracy, once the epoch's checkpoint is written.
    Raises Diverged at a loss or gradient that is not finite, naming the step; the last good checkpoint stays.
    """
    device = torch.device(device) if device else best_device()
    whole = data.load(config.dataset, "train")
    images, held_out = data.hold_out(whole)
    if len(images.labels.unique()) < 2:
        raise InputError(f"{config.dataset} has images of one class only; training a classifier needs at least two")
    if not len(held_out):
        raise InputError(f"{config.dataset} has {len(whole)} training images; a fifth is held out, so it needs five")
    if len(images) < config.batch_size:
        raise InputError(f"batch_size must be at most the {len(images)} training images of {config.dataset}")
    normalise = data.Normalisation.of(images)
    torch.manual_seed(config.seed)
    model = ARCHITECTURES[config.architecture](len(images.classes), config.width, config.activation, config.padding)
    model = model.to(device, memory_format=torch.channels_last)
    epochs, learning_rate, sizes = config.epochs, config.learning_rate, config.image_sizes
    outliers, checksums = None, whole.checksum
    if config.fine_tuning != "none":
        model.load_state_dict(trained)
        outliers = data.load(config.outliers, "train")
        checksums += outliers.checksum
        epochs, learning_rate, sizes = config.tuning_epochs, config.tuning_rate, (data.SIZE,)
    optimizers = optimizers_of(config, model, learning_rate)
    steps = len(images) // config.batch_size
    schedules = [one_cycle(config, optimizer, epochs * steps) for optimizer in optimizers]

    path, history, seconds = folder / "training.pt", [], 0.0
    parts = {"model": model}
    for optimizer, schedule in zip(optimizers, schedules):
        kind = type(optimizer).__name__
        parts |= {f"{kind} optimizer": optimizer, f"{kind} schedule": schedule}
    origin = {"precision": precision_on(device, config.precision), "images": checksums}
    if state := resumed(path, device, **origin):
        for name, part in parts.items():
            part.load_state_dict(state[name])
        history, seconds = state["history"], state["seconds"]
    folder.mkdir(parents=True, exist_ok=True)

    step = Step(config, model, normalise, optimizers, images, outliers)
    check_every = steps if device.type == "cuda" else CHECK_EVERY
    for epoch in range(len(history) + 1, epochs + 1):
        started = time.perf_counter()
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        plan = planned(config, len(images), len(outliers or ()), generator, epoch)
        plan = zip(*(part.to(device) for part in plan))
        model.train()
        step.begin()
        bar = tqdm(plan, f"{config.name} epoch {epoch}/{epochs}", steps, mininterval=2)
        for number, (chosen, drawn, *strangers) in enumerate(bar, 1):
            size = size_at(sizes, ((epoch - 1) * steps + number - 1) / (epochs * steps))
            step.run(size, chosen, drawn, *strangers)
            for schedule in schedules:
                schedule.step()
            if number % check_every == 0 or number == steps:
                if step.first_bad < number:
                    bar.close()
                    kept = f"the checkpoint of epoch {epoch - 1} is kept in {path}" if history else "no epoch was done"
                    where = f"step {int(step.first_bad) + 1} of epoch {epoch}"
                    raise Diverged(
                        f"training diverged: the loss is not finite at {where}; {kept}; try a lower learning_rate or "
                        "entropy_factor"
                    )
                means = (step.sums / number).tolist()
                bar.set_postfix_str(f"loss {means[0]:.3f} accuracy {means[2]:.3f}", refresh=False)
        row = dict(zip(("cross_entropy", "entropy", "train_accuracy"), means))
        row["calibration_accuracy"] = accuracy(model, held_out, normalise)
        history.append({"epoch": epoch, **row})
        seconds += time.perf_counter() - started
        state = {name: part.state_dict() for name, part in parts.items()} | origin
        state |= {"history": history, "seconds": seconds}
        replace(path, lambda partial, state=state: torch.save(state, partial))
        if after_epoch:
            after_epoch(epoch, model, normalise, row["calibration_accuracy"])
    return model, normalise, pd.DataFrame(history), seconds
