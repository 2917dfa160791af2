import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shell(tmp_path_factory):
    """Runs a command as a user would, with runs of its own and without THESIS_DATA: shell(words, cwd=..., **environment)."""
    own = tmp_path_factory.mktemp("runs")

    def run(words, cwd=ROOT, check=True, **environment):
        env = {key: value for key, value in os.environ.items() if key not in ("THESIS_DATA", "THESIS_PROFILE")}
        env |= {"THESIS_RUNS": str(own), "PATH": f"{Path(sys.executable).parent}:{env['PATH']}", **environment}
        done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
        if check and done.returncode:
            pytest.fail(f"{' '.join(map(str, words))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done

    run.runs = own
    return run
