"""All runs that the book shows: a list of configurations, each a task that may stop and start anywhere.

    python -m thesis_utils sweep --profile demo --jobs 2
    python -m thesis_utils sweep --profile thesis --scheduler tcp://HOST:8786       # on a Dask cluster

A task trains, scores and, for some networks, fine-tunes. It skips what is there and goes on from the last epoch's
checkpoint, so that the same command finishes a sweep that was interrupted, and so that Dask may start a killed worker's
task again elsewhere.
"""

import os
import sys
import threading
import traceback
from concurrent.futures.process import BrokenProcessPool

import joblib
from tqdm import tqdm

from thesis_utils import runs
from thesis_utils.architectures import ARCHITECTURES
from thesis_utils.errors import Diverged, InputError
from thesis_utils.runs import store
from thesis_utils.runs.config import ACCURACY_GRID, GRID
from thesis_utils.runs.finding import partly_trained

ALONE = threading.Lock()  # a Dask worker may have several threads, but torch's seed is the process'


def grid(profile=None):
    """The configurations behind the book, those it needs most first."""
    base = runs.configure(profile)
    if base.profile == "demo":
        cells = [(base.dataset, *cell, 0) for cell in (*GRID, ("softmax", 0.0))]
    else:
        first = (("log_softmax", 0.0), *(cell for cell in GRID if cell != ("log_softmax", 0.0)))
        others = sorted(cell[1] for cell in ACCURACY_GRID if cell[0] == "log_softmax" and cell not in GRID)
        cells = [
            *((dataset, *cell, 0) for dataset in ("cifar10", "cifar100") for cell in first),
            *(("cifar10", *cell, 1) for cell in first),
            *(("cifar10", "log_softmax", factor, 0) for factor in reversed(others)),
            ("cifar10", "softmax", 0.0, 0),
            *(("cifar10", *cell, 2) for cell in first),
        ]
    keys = ("dataset", "activation", "entropy_factor", "seed", "architecture", "epochs")
    if base.profile == "thesis":  # does its width matter where it is trained no better than `half`?
        cells += [("cifar10", *cell, 0, base.architecture, 30) for cell in first[:2]]
    if base.profile == "compact":
        others = [name for name in ARCHITECTURES if name != base.architecture]
        cells += [("cifar10", *cell, seed, other) for seed in (0, 1) for other in others for cell in first[:2]]
    return list(dict.fromkeys(runs.configure(base.profile, **dict(zip(keys, cell))) for cell in cells))


def fine_tunings(config):
    """What the book fine-tunes from a configuration: CIFAR-10's ReLU and log-softmax networks, lambda 0, one seed."""
    tuned = [runs.configure(config.profile, dataset="cifar10", activation=cell[0]) for cell in GRID]
    return list(runs.fine_tunings(config).values()) if config in tuned else []


def status(config):
    """How far a configuration is, in words."""
    run = runs.find(config)
    if run is None:
        return "partly trained" if partly_trained(config) else "not begun"
    if run.recorded:
        return "recorded"
    missing = [name for name in runs.OUT_DISTRIBUTIONS[config.dataset] if name not in run.store.metrics]
    return f"your own, not scored: {', '.join(missing)}" if missing else "your own"


def complete(config):
    """Trains, scores and fine-tunes a configuration, skipping what is there; returns a sentence for each set left out.

    Baselines are for ResNet-34 only. Fine-tuning belongs to its network's task: two tasks must not train the same
    network.
    """
    run = runs.get(config)
    left_out = []
    for name in () if run.recorded else runs.OUT_DISTRIBUTIONS[config.dataset]:
        try:
            run.metrics(name)
        except InputError as error:
            left_out.append(f"left out {name}: {error}")
    if config.fine_tuning == "none" and config.architecture == "resnet34" and not run.recorded:
        try:
            run.baselines()
        except InputError as error:
            left_out.append(f"left out baselines: {error}")
    for tuned in fine_tunings(config):
        try:
            left_out += complete(tuned)
        except InputError as error:
            left_out.append(f"left out {tuned.name}: {error}")
    return left_out


def attempt(config):
    """(configuration, sentences, whether it failed): one failure must not stop the others; its traceback is kept."""
    log = store.OWN / f"{config.name}.failed.txt"
    try:
        with ALONE:
            left_out = complete(config)
    except Exception as error:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc())
        return config, [f"{sentence(error)} (the traceback is in {log})"], True
    log.unlink(missing_ok=True)
    return config, left_out, False


def sentence(error):
    return str(error) if isinstance(error, (InputError, Diverged)) else f"{type(error).__name__}: {error}"


def on_this_machine(configs, jobs):
    """Yields what `attempt` returns, as it comes, from `jobs` processes that share the cores (joblib divides them)."""
    if jobs < 1:
        raise InputError(f"jobs must be at least 1, not {jobs}")
    if jobs > 1:
        os.environ["TQDM_DISABLE"] = "1"  # for the processes to come: bars of several would overwrite each other
    # batch_size: the automatic one would put long trainings behind each other after a few that were skipped at once
    pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
    try:
        yield from pool(joblib.delayed(attempt)(config) for config in configs)
    except BrokenProcessPool:
        raise InputError(
            "one of the processes was killed, perhaps for want of memory: the same command goes on from the last "
            "finished epochs; try fewer jobs"
        ) from None


def on_a_cluster(configs, scheduler):
    """Yields what `attempt` returns, as it comes, from the workers of a Dask scheduler.

    Not through joblib's Dask backend: that one waits forever for a task that Dask has given up.
    """
    try:
        import distributed
    except ImportError:
        raise InputError("a sweep on a Dask cluster needs distributed here and on the workers: pip install distributed")
    try:
        client = distributed.Client(scheduler)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {scheduler}; start one with: dask scheduler") from error
    with client:
        tasks = {
            client.submit(attempt, config, key=config.name, priority=-place): config
            for place, config in enumerate(configs)
        }
        for task in distributed.as_completed(tasks):
            try:
                outcome = task.result()
            except Exception as error:  # Dask's own: workers killed again and again, a lost scheduler
                outcome = tasks[task], [sentence(error)], True
            yield outcome


def sweep(configs, jobs=1, scheduler=None):
    """Completes all configurations and says how it went; returns the number of those that failed."""
    outcomes = on_a_cluster(configs, scheduler) if scheduler else on_this_machine(configs, jobs)
    failed = []
    with tqdm(outcomes, "sweep", len(configs), unit=" runs") as bar:
        for config, sentences, failure in bar:
            if failure:
                failed.append((config, *sentences))
            bar.write("\n  ".join([f"{config.name}: {'failed' if failure else 'finished'}", *sentences]))
    for config, error in failed:
        again = runs.command(config)
        if runs.find(config):
            again = again.replace(" train ", " score --baselines ")
        print(f"failed: {config.name}: {error}\n  to repeat it: {again}", file=sys.stderr)
    return len(failed)
