import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded: threads that wait must not starve others

import subprocess
import sys
from pathlib import Path

import pytest

from thesis_utils import data

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shell(tmp_path_factory):
    """shell(words, cwd=..., **environment) runs a command as a user would, with runs of its own and no THESIS_DATA."""
    kept = {key: value for key, value in os.environ.items() if key not in ("THESIS_DATA", "THESIS_PROFILE")}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    base = {**kept, "THESIS_RUNS": str(tmp_path_factory.mktemp("runs")), "PATH": path}

    def run(words, cwd=ROOT, check=True, **environment):
        done = subprocess.run(
            words, cwd=cwd, env=base | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(map(str, words))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done

    run.env = base
    return run


def interrupted(monkeypatch, after):
    """The step of that number, of all trainings from now on, raises what Ctrl-C raises."""
    steps, shift = [], data.shift

    def step(*arguments):
        steps.append(None)
        if len(steps) == after:
            raise KeyboardInterrupt
        return shift(*arguments)

    monkeypatch.setattr(data, "shift", step)
