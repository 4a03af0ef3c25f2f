from __future__ import annotations

import sys


def pytest_sessionfinish() -> None:
    if "tests.support.kubernetes" in sys.modules:
        sys.modules["tests.support.kubernetes"].remove_namespace()
