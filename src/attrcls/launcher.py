"""Whether a launcher, torchrun or srun, started this command in several processes, and which of them this is.

Read from the environment alone, so that asking costs nothing; `engine` joins the processes.
"""

import os
from dataclasses import dataclass

from attrcls.errors import UserError


@dataclass(frozen=True)
class Launch:
    """This process's number of all, from 0, and how many run on each of how many machines."""

    rank: int
    processes: int
    machines: int

    @property
    def per_machine(self) -> int:
        """Processes on each machine."""
        return self.processes // self.machines


def find_launch() -> Launch | None:
    """What the launcher's variables say; None where there is no launcher, or where it started one process only.

    torchrun's are documented with it; srun's (SLURM_STEP_…) are set in the tasks of a job step, and not in a batch script around them.
    Raises:
        UserError: a variable is missing or no number, or the machines have different numbers of processes.
    """
    env = os.environ
    try:
        if "TORCHELASTIC_RUN_ID" in env:
            launch = Launch(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["GROUP_WORLD_SIZE"]))
            here = int(env["LOCAL_WORLD_SIZE"])
        elif int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and env.get("SLURM_JOB_NAME") not in {"bash", "interactive"}:
            launch = Launch(int(env["SLURM_PROCID"]), int(env["SLURM_STEP_NUM_TASKS"]), int(env["SLURM_STEP_NUM_NODES"]))
            here = int(env["SLURM_NTASKS_PER_NODE"])
        else:
            return None
    except (KeyError, ValueError) as error:
        raise UserError(
            f"the launcher's variables do not say how many processes there are ({error}); use torchrun, or srun with --ntasks-per-node"
        ) from error
    if here * launch.machines != launch.processes:
        raise UserError(f"expected the same number of processes on each machine, found {launch.processes} on {launch.machines}, {here} of them here")
    return launch if launch.processes > 1 else None
