"""Most of what is tested here is what helm makes of the chart."""

import pytest

from tests.support import chart


def pytest_collection_modifyitems(items):
    if chart.HELM is None:
        reason = "helm is not installed: `make e2e-tools` builds it, or put it on the PATH"
        for item in items:
            if item.get_closest_marker("helm"):
                item.add_marker(pytest.mark.skip(reason=reason))
