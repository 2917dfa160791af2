"""Why does MiSP tell more than MSP? results/misp_*.csv.

    THESIS_DATA=... python -m experiments.misp            # ten minutes on two CPU cores for each of two networks
    THESIS_DATA=... python -m experiments.misp epochs     # two trainings of the profile compact

misp_agreement.csv  in every run with weights, within each set, Spearman's rank correlation of MiSP with the score
                    `metric`, and of ASP with energy; all as confidences
misp_logits.csv     AUROC of the score `metric` of the logits as they are, and divided by their norm (LogitNorm, Wei et
                    al. 2022, here at scoring time) times the calibration images' mean norm
misp_maps.csv       where and in which channel each layer's min of MiSP is, and whether the logsumexp ranks as it does
misp_epochs.csv     AUROC of the final layer's scores after each epoch (`variant`) of a training; calibration accuracy

The last three: ReLU and log-softmax at lambda 0, profile compact by the older recipe, one seed; 2,000 images of each
set, at random.
"""

import sys

import torch
from scipy.stats import rankdata, spearmanr
from torch.nn import functional as F
from tqdm import tqdm

from experiments.recording import on_cpu, record, recorded
from thesis_utils import baselines, data, metrics, runs, scorers
from thesis_utils.evaluation import BATCH
from thesis_utils.models import channel_log_softmax
from thesis_utils.runs import run as store
from thesis_utils.runs.config import GRID, OLDER
from thesis_utils.training import train

NETWORKS = ("log_softmax", "relu")
COUNT = 2000  # images of each set
SCORES = {  # all as confidences
    "MSP": scorers.msp,
    "MiSP": lambda logits: -scorers.misp(logits),
    "ASP": lambda logits: -scorers.asp(logits),
    "max logit": scorers.max_logit,
    "energy": scorers.energy,
    "norm": lambda logits: logits.norm(dim=1),
    "range": lambda logits: logits.amax(1) - logits.amin(1),
}


def networks(dataset):
    """Every run of the thesis' three networks on a data set that has its weights."""
    found = []
    for profile in ("compact", "half", "thesis"):
        for activation, factor in GRID:
            config = runs.configure(profile, dataset=dataset, activation=activation, entropy_factor=factor)
            found += [run for run in runs.seeds(config) if run.has_weights]
    return found


def sets(dataset):
    """{name: uint8 images}: the in-distribution's test images first, then those of the out-distributions."""
    names = (dataset, *(name for name in runs.OUT_DISTRIBUTIONS[dataset] if data.present(name)))
    return {name: baselines.shuffled(data.load(name)).subset(slice(COUNT)).pixels for name in names}


@torch.inference_mode()
def logits_of(model, normalise, pixels):
    device = next(model.parameters()).device  # a training's may be a GPU
    return torch.cat([model(normalise(batch.to(device))).cpu() for batch in pixels.split(BATCH)])


@torch.inference_mode()
def misp_everywhere(model, inputs):
    """{layer: min of MiSP, "fc": MiSP of the logits}, each (N,), of normalised images."""
    logits, layers = model.forward_layers(inputs)
    return {layer: z.amin((1, 2, 3)) for layer, z in model.log_probs(layers).items()} | {"fc": scorers.misp(logits)}


def areas(logits, **same):
    """A row an out-distribution and score, its AUROC, from {set: logits}, the in-distribution first."""
    known, *others = logits
    for name in others:
        for score, function in SCORES.items():
            pair = (function(logits[one]).double().numpy() for one in (known, name))
            yield same | {"set": name, "metric": score, "value": metrics.auroc(*pair)}


def logit_scores(run):
    """Rows of misp_logits.csv."""
    model, normalise = on_cpu(run).network
    found = {name: logits_of(model, normalise, pixels) for name, pixels in sets(run.config.dataset).items()}
    length = logits_of(model, normalise, run.images("calibration").pixels).norm(dim=1).mean()
    scaled = {name: length * F.normalize(z) for name, z in found.items()}
    name = run.config.name
    return [*areas(found, run=name, variant="as they are"), *areas(scaled, run=name, variant="of one norm")]


def agreement(run):
    """Rows of misp_agreement.csv."""
    for name in (run.config.dataset, *run.out_distributions()):
        scores = run.scores(name)
        ranks = {score: scorers.sign(f"fc/{score}") * scores[f"fc/{score}"]
                 for score in ("misp", "msp", "asp", "max_logit", "energy")}  # fmt: skip
        row = {"run": run.config.name, "set": name}
        for score in ("msp", "asp", "max_logit", "energy"):
            yield row | {"metric": score, "value": spearmanr(ranks["misp"], ranks[score]).statistic}
        yield row | {"metric": "asp with energy", "value": spearmanr(ranks["asp"], ranks["energy"]).statistic}


def contrast(pixels, size):
    """Standard deviation of the grey levels around each of size x size places of images (N, 32, 32, 3): (N, size^2).

    Over 5 x 5 pixels, mirrored at the border, then averaged over the pixels that a place of the map stands for.
    """
    grey = F.pad(pixels.float().mean(3)[:, None], [2] * 4, mode="reflect")
    variance = F.avg_pool2d(grey**2, 5, 1) - F.avg_pool2d(grey, 5, 1) ** 2
    return F.adaptive_avg_pool2d(variance.clamp_min(0).sqrt(), size).flatten(1)


@torch.inference_mode()
def minima(model, normalise, pixels, what):
    """Of each layer's min of MiSP: {layer: {quantity: (N,)}}.

    `misp` the score, `energy` minus the largest logsumexp of the layer's output among the pixels, `zero` whether a
    channel of the output is 0 at the pixel of the minimum, `channel` which one the minimum is, `border` whether the
    pixel lies at the map's border, `contrast` the share of the map's pixels around which the image has less contrast,
    `inner` the score without the map's outer eighth on each side (of 4 x 4 pixels: without the outermost).
    """
    found = {layer: [] for layer in model.layers}
    for batch in tqdm(pixels.split(BATCH), what, mininterval=5):
        _, layers = model.forward_layers(normalise(batch))
        for layer in model.layers:
            x = layers[layer].flatten(2)
            size = layers[layer].shape[-1]
            misp, channel = channel_log_softmax(layers[layer]).min(1)
            edge = max(size // 8, 1)
            inner = misp[:, edge : size - edge, edge : size - edge].amin((1, 2))
            misp, channel = misp.flatten(1), channel.flatten(1)
            score, place = misp.min(1)
            each, row, column = torch.arange(len(place)), place // size, place % size
            local = contrast(batch, size).numpy()
            ranks = (rankdata(local, axis=1) - 0.5) / local.shape[1]
            found[layer].append({
                "misp": score, "inner": inner, "energy": -x.logsumexp(1).amax(1),
                "zero": x[each, :, place].eq(0).any(1),
                "channel": channel[each, place],
                "border": (row % (size - 1) == 0) | (column % (size - 1) == 0),
                "contrast": torch.from_numpy(ranks)[each, place],
            })  # fmt: skip
    return {layer: {key: torch.cat([one[key] for one in rows]) for key in rows[0]} for layer, rows in found.items()}


def maps(run):
    """Rows of misp_maps.csv; AUROCs are in the better direction."""
    model, normalise = on_cpu(run).network
    found = {name: minima(model, normalise, pixels, name) for name, pixels in sets(run.config.dataset).items()}
    known = found[run.config.dataset]
    for name, layers in found.items():
        for layer, one in layers.items():
            shares = one["channel"].bincount().double() / len(one["channel"])
            size = round(32 / 2 ** (int(layer[5]) - 1))
            values = {quantity: one[quantity].double().mean() for quantity in ("zero", "border", "contrast")}
            values["commonest_channel"] = shares.max()
            values["border_of_map"] = 1 - (size - 2) ** 2 / size**2
            values["rank_correlation"] = spearmanr(one["misp"], one["energy"]).statistic
            if name != run.config.dataset:
                for metric, score in {"auroc": "misp", "auroc_energy": "energy", "auroc_inner": "inner"}.items():
                    values[metric] = metrics.best_direction(known[layer][score], one[score])
            for metric, value in values.items():
                row = {"run": run.config.name, "set": name, "layer": layer}
                yield row | {"metric": metric, "value": float(value)}


def epochs(config):
    """Trains a configuration anew and records, after each epoch, its rows of misp_epochs.csv."""
    images = sets(config.dataset)

    def note(epoch, model, normalise, accuracy):
        found = {name: logits_of(model, normalise, pixels) for name, pixels in images.items()}
        row = {"run": config.name, "variant": epoch}
        reached = row | {"set": "calibration", "metric": "accuracy", "value": accuracy}
        record("misp_epochs", ["run", "set", "variant", "metric"], [*areas(found, **row), reached])

    train(config, store.OWN / f".epochs-{config.name}", after_epoch=note)


if __name__ == "__main__":
    if sys.argv[1:] == ["epochs"]:
        for activation in NETWORKS:
            epochs(runs.configure("compact", activation=activation, **OLDER))
        sys.exit()
    for run in [*networks("cifar10"), *networks("cifar100")]:
        if not recorded("misp_agreement", {"run": run.config.name}):
            record("misp_agreement", ["run", "set", "metric"], agreement(run))
    for activation in NETWORKS:
        run = runs.get(runs.configure("compact", activation=activation, **OLDER))
        if not recorded("misp_logits", {"run": run.config.name}):
            record("misp_logits", ["run", "set", "variant", "metric"], logit_scores(run))
            record("misp_maps", ["run", "set", "layer", "metric"], maps(run))
