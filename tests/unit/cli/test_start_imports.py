"""What a command does not import it does not wait for."""

import subprocess
import sys

SLOW = {"grpc", "numpy", "pydantic", "gridloom_services"}
LOOK = """
import contextlib, io, sys
from gridloom.cli.__main__ import run
with contextlib.redirect_stdout(io.StringIO()):
    assert run(["run", "--help"]) == 0
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_command_line_is_read_without_what_only_its_work_needs():
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert SLOW & set(done.stdout.split()) == set()
