"""The soak run (`make soak`), cut short: commands that are killed and resumed end as if nobody had killed them."""

import subprocess
import sys
from pathlib import Path


def test_killed_commands_resume_to_the_same_weights_verdicts_and_rows():
    script = Path(__file__).parent / "soak.py"
    run = subprocess.run(
        [sys.executable, str(script), "--kills", "3", "--commands", "train,clean-full,predict"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 ended otherwise than undisturbed" in run.stdout
