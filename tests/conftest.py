import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded: threads that wait must not starve others
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thesis_utils import data, evaluation
from thesis_utils.models import resnet34

ROOT = Path(__file__).resolve().parent.parent
DEPTHS = {"resnet34": 16, "wide_resnet28": 12, "densenet22": 18}  # layers that are read


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A temporary folder of all of pytest's workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def shell(shared):
    """shell(words, cwd=..., **environment) runs a command as a user would, with runs of its own and no THESIS_DATA."""
    kept = {key: value for key, value in os.environ.items() if key not in ("THESIS_DATA", "THESIS_PROFILE")}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    base = {**kept, "THESIS_RUNS": str(shared / "runs"), "PATH": path}

    def run(words, cwd=ROOT, check=True, **environment):
        done = subprocess.run(
            words, cwd=cwd, env=base | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(map(str, words))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done

    run.env = base
    return run


@pytest.fixture(scope="session")
def trained(shell, shared):
    """A folder of runs with the demo's network, trained and no more: to copy."""
    home = shared / "trained"
    shell([sys.executable, "-m", "thesis_utils", "train", "--profile", "demo"], THESIS_RUNS=str(home))
    return home


@pytest.fixture(scope="session")
def scorer():
    """Of a small log-softmax network that nobody has trained, fitted on the digits."""
    torch.manual_seed(0)
    fit, calibration = data.hold_out(data.load("digits_0_4", "train"))
    return evaluation.Scorer(resnet34(5, 2).eval(), data.Normalisation.of(fit)).fit(fit, calibration)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An empty folder of runs, for this process and those that it starts."""
    home = tmp_path / "runs"
    monkeypatch.setattr("thesis_utils.runs.run.OWN", home)
    monkeypatch.setenv("THESIS_RUNS", str(home))
    monkeypatch.setenv("TQDM_DISABLE", "")  # so that what a sweep of several jobs sets is put back
    return home


def images(count=2):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def interrupted(monkeypatch, after):
    """The step of that number, of all trainings from now on, raises what Ctrl-C raises."""
    steps, shift = [], data.shift

    def step(*arguments):
        steps.append(None)
        if len(steps) == after:
            raise KeyboardInterrupt
        return shift(*arguments)

    monkeypatch.setattr(data, "shift", step)
