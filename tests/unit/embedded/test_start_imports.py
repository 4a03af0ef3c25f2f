"""What a start does not import it does not wait for."""

import subprocess
import sys

# Each takes as long as a tenth of the start, or three tenths.
SLOW = {
    "alembic",
    "fsspec",
    "kubernetes",
    "kubernetes_asyncio",
    "prometheus_client",
    "psutil",
    "psycopg",
    "rich",
    "sqlalchemy",
    "typer",
}
START = """
import sys
from gridloom_services.embedded.app import SERVICES, service_parts
assert len(service_parts({}, {})) == len(SERVICES)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_platform_is_composed_without_what_only_some_of_its_work_needs():
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    assert SLOW & set(done.stdout.split()) == set()
