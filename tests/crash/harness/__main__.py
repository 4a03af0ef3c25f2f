"""Break a platform at random: `python -m tests.crash.harness [--seeds N] [--first N]`.

Each seed is a process of its own with a platform of its own (see `seed`). A real workload (calls,
maps, chains, arrays with dependencies, gangs, files, calls with a time-out, and with payloads in
shared memory) runs while SIGKILL falls on the platform, also amid a commit, on workers, hosts,
supervisors and the client; while connections are cut, processes stand still for longer than others
wait for them, shared memory is lost, the disk is full, fsync fails, and the power goes (what was
not synced by then may be gone: `tests.crash.power.disk`). Afterwards each call that was accepted
has one result and the right one, or says that its payload, which was not durable, was lost where it
was; each job has one end and a whole log, the stores pass `gridloom doctor`, and no process is
left, nor shared memory that nobody needs. A seed that fails is printed with all that it said; the
same number runs it again: `python -m tests.crash.harness.seed NUMBER`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

SEED_S = 240.0


def main() -> int:
    """The exit code: 1 where a seed found something wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    begun, failed, blows = time.monotonic(), [], Counter[str]()
    with ThreadPoolExecutor(options.at_once) as pool:
        seeds = range(options.first, options.first + options.seeds)
        for done in as_completed([pool.submit(_run, number) for number in seeds]):
            number, code, said = done.result()
            blows.update(_blows(said))
            if code:
                failed.append(number)
            print(said if code else said.splitlines()[0] + " ok", flush=True)
    _summarise(options.seeds, failed, blows, time.monotonic() - begun)
    return bool(failed)


def _run(number: int) -> tuple[int, int, str]:
    command = [sys.executable, "-m", "tests.crash.harness.seed", str(number)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SEED_S,
        )
    except subprocess.TimeoutExpired as error:
        return number, 1, f"seed {number} has not ended after {SEED_S:g} s\n{error.output}"
    return number, done.returncode, done.stdout


def _blows(said: str) -> list[str]:
    for line in said.splitlines():
        if line.startswith("  blows: "):
            return line.removeprefix("  blows: ").split("; clients")[0].split(", ")
    return []


def _summarise(seeds: int, failed: list[int], blows: Counter[str], seconds: float) -> None:
    fallen = sorted((name, count) for name, count in blows.items() if not name.startswith("("))
    print(f"\n{seeds} seeds in {seconds / 60:.1f} minutes; violations in {len(failed)}: {failed}")
    print("blows that fell: " + ", ".join(f"{name} {count}" for name, count in fallen))


if __name__ == "__main__":
    sys.exit(main())
