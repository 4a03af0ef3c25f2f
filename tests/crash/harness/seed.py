"""One seed: a workload, blows, and the verdict: `python -m tests.crash.harness.seed NUMBER`.

The number decides what the work is, what falls on it and when; the timing of the machine it cannot
decide. What is found wrong is printed, a line each, and the exit code is 1 then.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.crash.harness.blows import BLOWS
from tests.crash.harness.ground import Ground, prepared
from tests.crash.harness.verdict import left_in_memory, wrong_in
from tests.crash.harness.work import FORGETFUL_KINDS, KINDS, PATIENCE_S
from tests.support.chaos import survivors

if TYPE_CHECKING:
    from collections.abc import Sequence

LOTS = 8
# What a full disk does to a command (its own files cannot be written) is the command's affair.
_ON_A_FULL_DISK = ("calls", "map", "links")
_END_S = 10.0
_TARGET_S = 2.0


def chosen(dice: random.Random) -> tuple[str, list[str], list[str]]:
    """The setting, the kinds of work, and the blows."""
    settings = ["plain", "plain", "plain", "relay"]
    settings += ["disk"] * (os.geteuid() == 0) + ["fsync", "power"] * bool(shutil.which("cc"))
    setting = dice.choice(settings)
    kinds = dice.choices(_ON_A_FULL_DISK if setting == "disk" else list(KINDS), k=LOTS)
    special = {"relay": "connection", "disk": "full disk", "fsync": "fsync", "power": "power"}
    general = [name for name in BLOWS if name not in special.values()]
    if setting == "disk" or not set(kinds) & set(FORGETFUL_KINDS):
        general.remove("memory")
    blows = dice.choices(general, k=dice.randint(2, 5))
    if setting in special:
        blows[dice.randrange(len(blows))] = special[setting]
    return setting, kinds, blows


def run(number: int) -> Sequence[str]:
    """What is wrong after it; empty where all is well."""
    dice = random.Random(number)
    setting, kinds, blows = chosen(dice)
    print(f"seed {number} ({setting}): {', '.join(kinds)}")
    switches = {name: setting == name for name in ("disk", "relay", "fsync", "power")}
    with prepared(dice, kinds, **switches) as ground:
        ground.start_client()
        _strike(ground, blows)
        print(f"  blows: {', '.join(ground.blows)}; clients: {ground.clients}")
        found = [*_end_of(ground), *wrong_in(ground)]
        if found:
            _tell(ground)
        return found


def _strike(ground: Ground, blows: list[str]) -> None:
    # Until there is something to fall on.
    deadline = time.monotonic() + PATIENCE_S
    while not (ground.home / "platform.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    for name in blows:
        time.sleep(ground.dice.uniform(0.02, 0.8))
        ground.blows.append(name if _fallen(ground, name) else f"({name})")


def _fallen(ground: Ground, name: str) -> bool:
    """Whether there was something to fall on within a while, and before all was over."""
    ends_at = time.monotonic() + _TARGET_S
    while not BLOWS[name](ground):
        assert ground.client is not None
        if time.monotonic() > ends_at or ground.client.poll() is not None:
            return False
        time.sleep(0.01)
    return True


def _end_of(ground: Ground) -> Sequence[str]:
    """Wait for the client; end the platform in good order; nothing may be left."""
    assert ground.client is not None
    try:
        code = ground.client.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        return [f"the client has not ended after {PATIENCE_S:g} s"]
    found = [f"the client ended with {code}"] if code else []
    # A platform that was killed last of all is started once more: its pools are its own to end.
    for verb in (["doctor"], ["up"], ["down", "--cancel"]):
        command = [sys.executable, "-m", "gridloom.cli", *verb, "--home", str(ground.home)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env=ground.environment(),
        )
        if done.returncode:
            found.append(f"gridloom {' '.join(verb)}: {done.stdout}{done.stderr}")
    if left := survivors(ground.home, _END_S):
        found.append(f"left over: {left}")
    return [*found, *left_in_memory(ground)]


def _tell(ground: Ground) -> None:
    print("".join(f"  the disk did not keep: {each}\n" for each in ground.lost), end="")
    for path in (ground.errors, ground.home / "log" / "platform.log"):
        if path.exists():
            print(f"---- {path.name}\n{path.read_text(errors='replace')[-6000:]}")


if __name__ == "__main__":
    violations = run(int(sys.argv[1]))
    print("\n".join(f"  WRONG: {each}" for each in violations) or "  ok")
    sys.exit(bool(violations))
