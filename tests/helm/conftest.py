"""Most of what is tested here is what helm makes of the chart."""

import pytest

from tests.support import chart


def pytest_collection_modifyitems(items):
    if chart.HELM is None:
        reason = "helm is not on the PATH; `make helm-test` builds it"
        for item in items:
            if item.get_closest_marker("helm"):
                item.add_marker(pytest.mark.skip(reason=reason))
