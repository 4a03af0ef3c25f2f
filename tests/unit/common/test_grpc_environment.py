from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, subprocess, sys
from gridloom_services.common import grpc_environment

grpc_environment.prepare()
print(os.environ["GRPC_EXPERIMENTS"], os.environ["GRPC_VERBOSITY"])
import grpc
grpc_environment.release()
child = [sys.executable, "-c", "import os; print([k for k in os.environ if k.startswith('GRPC')])"]
subprocess.run(child, check=True)
"""


def output(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, check=True, text=True
    )
    return done.stdout.splitlines()


def test_what_we_set_for_grpc_is_not_inherited_by_what_we_start():
    ours, children = output(PYTHONUNBUFFERED="1")
    assert ours == "-event_engine_client,-event_engine_listener ERROR"
    assert children == "[]"


def test_what_the_user_has_set_stays():
    ours, children = output(PYTHONUNBUFFERED="1", GRPC_VERBOSITY="INFO")
    assert ours.endswith(" INFO")
    assert children == "['GRPC_VERBOSITY']"
