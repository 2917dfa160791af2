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

from tqdm import tqdm

import thesis_utils as method
from thesis_utils import runs
from thesis_utils.errors import Diverged, InputError
from thesis_utils.runs import run as folders
from thesis_utils.runs.config import ACCURACY_GRID, CHOICES, GRID, UNTUNED
from thesis_utils.runs.train import partly_trained

VARIED = ("dataset", "activation", "entropy_factor", "seed", "architecture")  # what the grid sets
FIXED = ("profile", *VARIED, *UNTUNED)  # what is no option of a sweep
SHORT = 30  # epochs: does the width of `thesis` matter where it is trained no better than `half`?
ALONE = threading.Lock()  # a Dask worker may have several threads, but torch's seed is the process'


def grid(profile=None, **overrides):
    """The configurations behind the book, those it needs most first; `overrides` replace values of the profile."""
    base = runs.configure(profile, **overrides)
    if base.profile == "demo":
        cells = [(base.dataset, *cell, 0) for cell in (*GRID, ("softmax", 0.0))]
    else:
        first = (GRID[1], GRID[0], GRID[2])  # log-softmax without entropy loss before all others
        cells = [
            *((dataset, *cell, 0) for dataset in ("cifar10", "cifar100") for cell in first),
            *(("cifar10", *cell, 1) for cell in first),
            *(("cifar10", *cell, 0) for cell in reversed(ACCURACY_GRID) if cell not in GRID),
            *(("cifar10", *cell, 2) for cell in first),
        ]
    if base.profile == "compact":
        others = [name for name in CHOICES["architecture"] if name != base.architecture]
        cells += [("cifar10", *cell, seed, other) for seed in (0, 1) for other in others for cell in first[:2]]
    configs = [runs.configure(base.profile, **overrides, **dict(zip(VARIED, cell))) for cell in cells]
    if base.profile == "thesis" and overrides.get("epochs") is None:
        short = overrides | {"epochs": SHORT, "dataset": "cifar10"}
        configs += [runs.configure("thesis", **short, activation=cell[0]) for cell in first[:2]]
    return configs


def fine_tunings(config):
    """What the book fine-tunes from a configuration: CIFAR-10's ReLU and log-softmax networks, lambda 0, one seed."""
    kind = (config.dataset, config.architecture, config.seed, config.fine_tuning)
    plain = kind == ("cifar10", "resnet34", 0, "none") and (config.activation, config.entropy_factor) in GRID[:2]
    short = config.profile == "thesis" and config.epochs == SHORT
    return list(runs.fine_tunings(config).values()) if plain and not short else []


def status(config):
    """How far a configuration is, in words."""
    run = runs.find(config)
    if run is None:
        return "partly trained" if partly_trained(config) else "not begun"
    if run.recorded:
        return "recorded"
    missing = [name for name in runs.OUT_DISTRIBUTIONS[config.dataset] if name not in run.rows(folders.METRICS)]
    if has_baselines(config) and not run.rows(folders.BASELINES):
        missing.append("baselines")
    return f"your own, not scored: {', '.join(missing)}" if missing else "your own"


def has_baselines(config):
    return config.fine_tuning == "none" and config.architecture == "resnet34"


def complete(config):
    """Trains and scores a configuration, skipping what is there; returns a sentence for each set left out."""
    run = runs.get(config)
    if run.recorded:
        return []
    left_out = []
    for name in runs.OUT_DISTRIBUTIONS[config.dataset]:
        try:
            run.metrics(name)
        except InputError as error:
            left_out.append(f"left out {name}: {error}")
    if not (has_baselines(config) and run.has_weights and method.data.present(config.dataset)):
        return left_out
    there = [one for one in run.out_distributions() if one in run.rows(folders.BASELINES) or method.data.present(one)]
    if there:
        try:
            run.baselines(*there)
        except InputError as error:
            left_out.append(f"left out baselines: {error}")
    return left_out


def attempt(config):
    """[(configuration, sentences, whether it failed)] of a network and of what is fine-tuned from it.

    One failure must not stop the others; its traceback is kept. Fine-tuning belongs to its network's task: two tasks
    must not train the same network. Images that are not there are a failure of the network only.
    """
    outcomes = []
    for one in (config, *fine_tunings(config)):
        log = folders.OWN / f"{one.name}.failed.txt"
        try:
            with ALONE:
                outcomes.append((one, complete(one), False))
            log.unlink(missing_ok=True)
        except Exception as error:
            if one is not config and isinstance(error, InputError):
                outcomes.append((one, [f"left out: {error}"], False))
                continue
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(traceback.format_exc())
            outcomes.append((one, [f"{sentence(error)} (the traceback is in {log})"], True))
            if one is config:
                break
    return outcomes


def sentence(error):
    return str(error) if isinstance(error, (InputError, Diverged)) else f"{type(error).__name__}: {error}"


def workers(jobs, scheduler):
    """A Dask client: of a scheduler's workers or, without one, of `jobs` processes that share this machine's cores."""
    if jobs < 1:
        raise InputError(f"jobs must be at least 1, not {jobs}")
    try:
        from dask.system import CPU_COUNT
        from distributed import Client
    except ImportError:
        raise InputError("a sweep needs distributed, here and on all workers: pip install distributed") from None
    if scheduler:
        try:
            return Client(scheduler)
        except (OSError, ValueError) as error:
            raise InputError(f"no Dask scheduler answers at {scheduler}; start one with: dask scheduler") from error
    environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", max(CPU_COUNT // jobs, 1))}  # Dask's own is 1
    if jobs > 1:
        environment["TQDM_DISABLE"] = "1"  # bars of several would overwrite each other
    return Client(  # without a limit of memory: Dask would pause a worker for what torch needs
        n_workers=jobs, threads_per_worker=1, memory_limit=0, dashboard_address=None, env=environment
    )


def outcomes_of(configs, client):
    """Yields what `attempt` returns, as it comes."""
    from distributed import KilledWorker, as_completed

    tasks = {
        client.submit(attempt, config, key=config.name, priority=-place): config for place, config in enumerate(configs)
    }
    for task in as_completed(tasks):
        try:
            yield from task.result()
        except KilledWorker:
            why = "its worker was killed again and again, perhaps for want of memory: try fewer jobs"
            yield tasks[task], [why], True
        except Exception as error:  # Dask's own: a lost scheduler, say
            yield tasks[task], [sentence(error)], True


def sweep(configs, jobs=1, scheduler=None):
    """Completes all configurations and says how it went; returns the number of those that failed."""
    folders.need_to_write(folders.OWN)
    failed = []
    with workers(jobs, scheduler) as client, tqdm(None, "sweep", len(configs), unit=" runs") as bar:
        for config, sentences, failure in outcomes_of(configs, client):
            if failure:
                failed.append((config, *sentences))
            bar.update(config.fine_tuning == "none")
            bar.write("\n  ".join([f"{config.name}: {'failed' if failure else 'finished'}", *sentences]))
    for config, error in failed:
        scores = "score --baselines" if has_baselines(config) else "score"
        again = runs.command(config, scores if runs.find(config) else "train")
        print(f"failed: {config.name}: {error}\n  to repeat it: {again}", file=sys.stderr)
    return len(failed)
