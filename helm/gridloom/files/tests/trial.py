"""What `helm test` runs: the platform answers at its address, knows the key, and runs work."""

import os
import sys
import time
from pathlib import Path

import gridloom

TRUSTED = Path("/etc/gridloom/tls/ca.crt")
PATIENCE_S = 180
SUM = """
from mpi4py import MPI
total = MPI.COMM_WORLD.reduce(MPI.COMM_WORLD.rank)
if total is not None:
    print(total)
"""


def main() -> None:
    """Fail with the reason, or say what was seen."""
    if TRUSTED.exists():
        os.environ["GRIDLOOM_TLS_CA_FILE"] = str(TRUSTED)
    began = time.monotonic()
    key = Path("/etc/gridloom/access/admin-key").read_text(encoding="ascii").strip()
    with gridloom.connect(os.environ["GRIDLOOM_ADDRESS"], api_key=key) as client:
        tell("the platform answers and knows the key", began)
        job = client.run(["python", "-c", "print('hello')"], image=os.environ["IMAGE"])
        job.result(timeout=PATIENCE_S)
        tell("a job ran", began)
        power = client.submit(pow, 2, 10).result(timeout=PATIENCE_S)
        tell(f"a function ran on a worker: 2 ** 10 = {power}", began)
        ranks = client.mpi.run(["python", "-c", SUM], ranks=2, cpus=0.05)
        ranks.result(timeout=PATIENCE_S)
        tell(f"two ranks of MPI spoke with each other: 0 + 1 = {next(ranks.logs(rank=0))}", began)


def tell(what: str, began: float) -> None:
    """One line, at once."""
    sys.stdout.write(f"{time.monotonic() - began:6.1f} s  {what}\n")
    sys.stdout.flush()


main()
