"""`make helm-test`: have helm and kubeconform, then run the tests of the chart."""

import shutil
import sys

import pytest

from tests.e2e.node_image.go_programs import built

if __name__ == "__main__":
    for program in ("helm", "kubeconform"):
        if shutil.which(program) is None:
            built(program)
    sys.exit(pytest.main(["tests/helm", *sys.argv[1:]]))
