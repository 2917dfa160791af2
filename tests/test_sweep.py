"""The sweep: what is in it, what it skips, and that nothing that fails or is killed stops it."""

import itertools
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import distributed  # noqa: F401 - its defaults must be there before one of them is set
import pytest

from thesis_utils import runs
from thesis_utils.errors import InputError
from thesis_utils.runs import config as networks
from thesis_utils.runs import run as store
from thesis_utils.runs import sweep
from thesis_utils.runs import train as trains
from thesis_utils.runs.shell import main

TINY = dict(width=8, epochs=1)
QUICK = dict(width=8, architecture="wide_resnet28")  # of which no baselines are computed


@pytest.mark.parametrize("profile", ["compact", "half", "thesis"])
def test_the_grid_is_what_the_book_shows(profile):
    everything = sweep.grid(profile)
    configs = [config for config in everything if config.architecture == "resnet34"]
    others = {(c.architecture, c.activation, c.entropy_factor, c.seed) for c in everything[len(configs) :]}
    kinds = itertools.product(("wide_resnet28", "densenet22"), ("relu", "log_softmax"), [0.0], (0, 1))
    assert others == (set(kinds) if profile == "compact" else set())
    cells = [(c.dataset, c.activation, c.entropy_factor, c.seed) for c in configs]
    assert {*cells[:6]} == {(dataset, *cell, 0) for dataset in ("cifar10", "cifar100") for cell in networks.GRID}
    assert {*cells[6:9]} == {("cifar10", *cell, 1) for cell in networks.GRID}
    assert set(cells) == {
        *(("cifar10", *cell, 0) for cell in networks.ACCURACY_GRID),
        *(("cifar100", *cell, 0) for cell in networks.GRID),
        *(("cifar10", *cell, seed) for cell in networks.GRID for seed in (1, 2)),
    }
    short = [(c.activation, c.entropy_factor, c.epochs) for c in configs if c.epochs != runs.configure(profile).epochs]
    assert short == ([("log_softmax", 0.0, 30), ("relu", 0.0, 30)] if profile == "thesis" else [])
    assert len({config.name for config in configs}) == len(configs) == 17 + len(short)
    assert {config.profile for config in configs} == {profile}


def test_every_recorded_run_is_in_the_grid():
    grid = [config for profile in runs.PROFILES for config in sweep.grid(profile)]
    adamw = networks.OLDER | dict(optimizer="adamw", learning_rate=0.01, weight_decay=0.05)  # of softmax networks
    for older in (networks.OLDER, adamw):
        grid += [config for profile in ("compact", "half", "thesis") for config in sweep.grid(profile, **older)]
    tuned = [one for config in grid for one in sweep.fine_tunings(config)]
    names = {one.name for one in (*grid, *tuned)}
    assert {path.parent.name for path in store.RECORDED.glob("*/config.json")} <= names


def test_what_is_finished_is_skipped(own, monkeypatch):
    monkeypatch.setitem(runs.OUT_DISTRIBUTIONS, "digits_0_4", ("digits_5_9",))
    config, recorded = runs.configure("demo", **TINY), runs.configure("compact")
    assert sweep.status(config) == "not begun" and sweep.status(recorded) == "recorded"
    run = runs.train_run(config)
    assert sweep.status(config) == "your own, not scored: digits_5_9, baselines"
    assert sweep.complete(config) == [] and sweep.status(config) == "your own"
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    store.opened_once.cache_clear()  # as in another process
    monkeypatch.setattr(sweep, "fine_tunings", lambda config: [])  # those of the recorded run may not be recorded
    monkeypatch.setattr(trains, "train_run", lambda config: pytest.fail("trains what is there"))
    monkeypatch.setattr(runs.Run, "scores", lambda *_: pytest.fail("scores what is scored"))
    assert [sweep.attempt(one) for one in (config, recorded)] == [[(config, [], False)], [(recorded, [], False)]]
    assert before == {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}


def test_the_list_trains_nothing(own, capsys):
    first, second = sweep.grid("demo")[:2]
    runs.unfinished(first).mkdir(parents=True)
    (runs.unfinished(first) / "training.pt").touch()
    main(["sweep", "--profile", "demo", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{first.name}: partly trained", f"{second.name}: not begun"] and len(lines) == 4
    assert len(list(own.iterdir())) == 1


def test_one_failure_does_not_stop_the_others(own, monkeypatch, capsys):
    wrong = runs.configure("demo", **TINY, batch_size=10_000)
    unexpected, fine = (runs.configure("demo", **QUICK, epochs=1, seed=seed) for seed in (1, 2))
    own.mkdir()
    (own / f".{unexpected.name}.lock").mkdir()  # a folder where a file should be
    monkeypatch.setattr(sweep, "grid", lambda profile, **_: [wrong, unexpected, fine])
    with pytest.raises(SystemExit) as end:
        main(["sweep", "--profile", "demo", "--jobs", "2"])
    assert end.value.code == 1
    errors = capsys.readouterr().err
    assert f"failed: {wrong.name}: batch_size must be at most" in errors
    log = own / f"{unexpected.name}.failed.txt"
    assert f"failed: {unexpected.name}: IsADirectoryError: " in errors and f" (the traceback is in {log})\n" in errors
    assert log.read_text().startswith("Traceback") and "in train_run" in log.read_text()
    for config in (wrong, unexpected):
        assert f"to repeat it: {runs.command(config)}\n" in errors
    assert f"failed: {fine.name}" not in errors and sweep.status(fine) == "your own"
    (own / f".{unexpected.name}.lock").rmdir()
    monkeypatch.setitem(runs.OUT_DISTRIBUTIONS, "digits_0_4", ("digits_5_9",))
    assert sweep.attempt(unexpected) == [(unexpected, [], False)] and not log.exists()


def test_a_trained_run_that_fails_is_repeated_from_its_scores(own, capsys):
    config = runs.configure("demo", **TINY)
    (runs.train_run(config).folder / "checkpoint.pt").write_bytes(b"broken")
    assert sweep.sweep([config]) == 1
    again = runs.command(config).replace(" train ", " score --baselines ")
    assert f"to repeat it: {again}\n" in capsys.readouterr().err


def test_a_set_that_cannot_be_had_is_left_out_with_a_sentence(own, monkeypatch):
    monkeypatch.setitem(runs.OUT_DISTRIBUTIONS, "digits_0_4", ("svnh", "digits_5_9"))
    config = runs.configure("demo", **QUICK, epochs=1)
    (sentence,) = sweep.complete(config)
    assert sentence.startswith("left out svnh: unknown data set 'svnh'")
    assert sweep.status(config) == "your own, not scored: svnh"


def test_what_cannot_be_swept_with(monkeypatch):
    with pytest.raises(InputError, match="jobs must be at least 1, not 0"):
        sweep.sweep([], jobs=0)
    soon = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with soon, pytest.raises(InputError, match="no Dask scheduler answers at tcp://127.0.0.1:9; start one with"):
        sweep.sweep([], scheduler="tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match="pip install distributed"):
        sweep.sweep([], scheduler="tcp://127.0.0.1:9")


@pytest.fixture
def cluster(own, tmp_path):
    """A Dask scheduler's address, and its two workers as {log: process}: the commands of the README."""
    processes = {}

    def dask(role, *words):
        log = tmp_path / f"{role}.log"
        command = [sys.executable, "-m", "dask", *words, "--no-dashboard", "--scheduler-file", tmp_path / "scheduler"]
        processes[log] = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)

    dask("scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0")
    for role in ("one", "other"):
        dask(role, "worker", "--nthreads", "1", "--no-nanny", "--local-directory", tmp_path)
    scheduler = next(iter(processes))
    while not (tmp_path / "scheduler").exists():
        assert processes[scheduler].poll() is None, scheduler.read_text()
        time.sleep(0.05)
    yield (
        json.loads((tmp_path / "scheduler").read_text())["address"],
        {log: process for log, process in processes.items() if log != scheduler},
    )
    for process in processes.values():
        process.kill()
        process.wait()


def test_a_killed_worker_s_run_goes_on_elsewhere(cluster):
    """One of two Dask workers is killed with SIGKILL after its first epoch; the other one takes over at the second."""
    address, workers = cluster
    configs = [runs.configure("demo", **QUICK, epochs=3, entropy_factor=factor) for factor in (0.0, 0.01)]
    victim = configs[0]

    def kill():
        until = time.monotonic() + 300
        while not (runs.unfinished(victim) / "training.pt").exists():
            assert time.monotonic() < until, [log.read_text() for log in workers]
            time.sleep(0.02)
        log = next(log for log in workers if f"{victim.name} epoch 1/3" in log.read_text())
        workers[log].kill()
        workers[log].wait()
        return log

    with ThreadPoolExecutor() as pool:
        killed = pool.submit(kill)
        assert sweep.sweep(configs, scheduler=address) == 0
    (survivor,) = set(workers) - {killed.result()}
    for config in configs:
        assert sweep.status(config) == "your own" and list(runs.find(config).history.epoch) == [1, 2, 3]
    log = survivor.read_text()
    assert f"{victim.name} epoch 3/3" in log and f"{victim.name} epoch 1/3" not in log


def test_fine_tuning_belongs_to_its_network_s_task():
    tuned = {config: sweep.fine_tunings(config) for config in sweep.grid("compact")}
    assert {(c.activation, c.entropy_factor) for c, found in tuned.items() if found} == {*networks.GRID[:2]}
    for config, found in tuned.items():
        assert all(one.base == config for one in found)
        assert not found or [one.fine_tuning for one in found] == ["outlier_exposure", "energy"]
