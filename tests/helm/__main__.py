"""`make helm-test`: have helm, kubeconform and Kubernetes' schemas, then test the chart."""

import shutil
import sys

import pytest

from tests.e2e.node_image.go_programs import built, download
from tests.support import openapi

if __name__ == "__main__":
    for program in ("helm", "kubeconform"):
        if shutil.which(program) is None:
            built(program)
    if openapi.documents() is None:
        download("kubernetes", "k8s.io/kubernetes")
    sys.exit(pytest.main(["tests/helm", *sys.argv[1:]]))
