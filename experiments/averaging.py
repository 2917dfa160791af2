"""Does an average of the weights over the last epochs classify better than the last epoch's? results/averaging.csv.

    THESIS_DATA=... python -m experiments.averaging        # ten minutes on two CPU cores

Each network is trained once by the recipe of `compact`, CIFAR-10, one seed. A row is the mean of its weights after the
last epochs (Izmailov et al. 2018, but with the recipe's one cycle of the learning rate), BatchNorm's statistics
recomputed on 10,000 training images; accuracy on the calibration images. One epoch: the network as it was trained.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch.optim.swa_utils import AveragedModel, update_bn

from experiments.recording import record, recorded
from thesis_utils import data, runs
from thesis_utils.training import accuracy, train

LENGTHS, IMAGES, BATCH = (2, 3, 5), 10_000, 250


def measure(run):
    """A row a number of epochs averaged."""
    config, averages = run.config, {}

    def take(epoch, model, *_):
        for length in LENGTHS:
            if epoch == config.epochs - length + 1:
                averages[length] = AveragedModel(model)
            if length in averages:
                averages[length].update_parameters(model)

    with TemporaryDirectory() as folder:  # not to be resumed: the averages are not in a checkpoint
        model, normalise, history, _ = train(config, Path(folder), after_epoch=take)
    images, held_out = data.hold_out(run.training_images())
    device = next(model.parameters()).device
    found = {1: history.calibration_accuracy.iloc[-1]}
    for length, average in averages.items():
        batches = data.batches(images.subset(slice(IMAGES)), BATCH, device)
        update_bn((normalise(pixels) for pixels, _ in batches), average)
        found[length] = accuracy(average, held_out, normalise)
    return [{"run": config.name, "epochs": length, "metric": "accuracy", "value": found[length]} for length in found]


if __name__ == "__main__":
    for activation in ("relu", "log_softmax"):
        run = runs.find(runs.configure("compact", activation=activation))
        if not recorded("averaging", {"run": run.config.name}):
            record("averaging", ["run", "epochs"], measure(run))
