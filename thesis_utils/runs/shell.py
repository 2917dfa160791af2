"""Train, score and record runs from a shell, one by one or in a sweep; look through a folder of images.

python -m thesis_utils train --profile compact --entropy-factor 0.01
python -m thesis_utils score --profile compact --entropy-factor 0.01 --ood svhn cifar100
python -m thesis_utils record --profile compact --entropy-factor 0.01 --weights
python -m thesis_utils sweep --profile compact --list
python -m thesis_utils detect my_photos/ --alpha 0.05
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from thesis_utils import runs
from thesis_utils.errors import Diverged, InputError
from thesis_utils.files import replace
from thesis_utils.runs import publish, sweep
from thesis_utils.runs import run as folders
from thesis_utils.runs.config import FIELDS


def boolean(text):
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, not {text!r}")
    return text.lower() == "true"


def configuration(*left_out):
    """A parser of the configuration's fields, but for some."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--profile", choices=runs.PROFILES, help="default: $THESIS_PROFILE, else half")
    for field in dataclasses.fields(runs.Config)[1:]:
        if field.name not in left_out:
            kind = boolean if field.type is bool else field.type
            option = f"--{field.name.replace('_', '-')}"
            parser.add_argument(option, type=kind, help=f"{kind.__name__}; default: the profile's")
    return parser


def parser():
    top = argparse.ArgumentParser(prog="python -m thesis_utils", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(dest="command", required=True)
    shared = configuration()
    commands.add_parser("train", parents=[shared], help="train a network into runs/, or resume it")
    score = commands.add_parser("score", parents=[shared], help="score data sets or folders with a trained network")
    score.add_argument("--ood", nargs="+", metavar="NAME", help="data sets or folders; default: all that can be had")
    score.add_argument("--baselines", action="store_true", help="also ODIN and the ensemble under three protocols")
    record = commands.add_parser("record", parents=[shared], help="copy a scored run from runs/ into results/")
    record.add_argument("--weights", action="store_true", help="record the weights, and all score columns, too")
    look = commands.add_parser("detect", parents=[shared], help="tell which images of a folder are out-of-distribution")
    look.add_argument("folder", help="images of any kind, also in folders within")
    look.add_argument("--alpha", type=float, default=0.05, help="share of false alarms to allow; default: 0.05")
    look.add_argument("--output", type=Path, default="detected.csv", help="CSV, a row an image; default: detected.csv")
    recipe = configuration(*sweep.FIXED)
    all_runs = commands.add_parser("sweep", parents=[recipe], help="train and score every run of the book")
    how = all_runs.add_mutually_exclusive_group()
    how.add_argument("--list", action="store_true", dest="listing", help="only say how far each run is")
    how.add_argument("--jobs", type=int, default=1, metavar="N", help="how many at once on this machine; default: 1")
    how.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="on the workers of this Dask scheduler instead")
    return top


def train(config):
    run = runs.train_run(config)
    print(f"{run}: {run.folder}, calibration accuracy {run.history.calibration_accuracy.iloc[-1]:.4f}")


def score(run, ood, baselines):
    """Scores the named data sets; without names, all usual out-distributions, saying which cannot be had."""
    for name in ood or runs.OUT_DISTRIBUTIONS.get(run.config.dataset, ()):
        try:
            table = run.metrics(name)
        except InputError as error:
            if ood:
                raise
            print(f"left out {name}: {error}")
            continue
        final = table[table.score.eq("fc/misp") & table.reading.eq("fixed_direction")].iloc[0]
        best = table.loc[table[table.reading.eq("best_direction")].auroc.idxmax()]
        print(f"{name}: AUROC {final.auroc:.4f} (fc/misp), {best.auroc:.4f} ({best.score}, best of all: an oracle)")
    kept = "nothing was written: a recorded run stays as it is" if run.recorded else run.folder / folders.METRICS
    print(f"accuracy {run.accuracy():.4f}; {kept}")
    if baselines:
        rows = run.baselines(*(ood or ())).query("protocol != 'grid'")
        shown = ["ood", "method", "protocol", "preprocessing", "epsilon", "auroc", "fpr95"]
        print(rows[shown].to_string(index=False))


def record(run, weights):
    if run.recorded:
        raise InputError(f"{run.config.name} is not in runs/, only recorded already; nothing to do")
    print(publish.record(run, weights).folder)


def detect(run, folder, alpha, output):
    """Writes a CSV, one row an image of a folder, and prints how many are called out-of-distribution."""
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is not a folder; name one that holds images")
    if output.is_dir() or not output.parent.is_dir():
        raise InputError(f"{output} cannot be written; give --output a file name in a folder that exists")
    if not run.has_weights:
        raise InputError(f"{run.config.name} is recorded without its weights; train it: {runs.command(run.config)}")
    from thesis_utils.detector import PARTS

    table = run.detect(folder, alpha)[["path", "p_value", "outlier", "given_away_by", *PARTS]]
    as_text = dict(index=False, float_format="%.6g", errors="surrogateescape")
    try:
        replace(output, lambda unfinished: table.to_csv(unfinished, **as_text))
    except OSError as error:
        raise InputError(f"{output} cannot be written ({error.strerror}); give another one to --output") from None
    print(f"{table.outlier.sum()} of {len(table)} images called out-of-distribution at alpha = {alpha:g}: {output}")


def all_runs(fields, listing, jobs, scheduler):
    """All runs of a profile, or only how far each of them is."""
    configs = sweep.grid(**fields)
    if listing:
        for config in configs:
            for one in (config, *sweep.fine_tunings(config)):
                print(f"{one.name}: {sweep.status(one)}")
    elif sweep.sweep(configs, jobs, scheduler):
        sys.exit(1)


def main(arguments=None):
    options = vars(parser().parse_args(arguments))
    command = options.pop("command")
    fields = {name: options.pop(name) for name in FIELDS if name in options}
    try:
        if command == "sweep":
            all_runs(fields, **options)
            return
        config = runs.configure(**fields)
        if command == "train":
            train(config)
            return
        run = runs.find(config)
        if run is None:
            raise InputError(f"no run {config.name} yet; train it: {runs.command(config)}")
        {"score": score, "record": record, "detect": detect}[command](run, **options)
    except (InputError, Diverged) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from the last finished epoch or data set")
