"""A platform that is entered by TLS from elsewhere, and as before by its own machine."""

from __future__ import annotations

import subprocess
import sys

import gridloom
import pytest
import trustme
from gridloom.context import read_contexts
from gridloom.errors import TlsError

from tests.support.service import EmbeddedProcess

CA = trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A certificate, and a client that trusts its CA."""
    issued = CA.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    CA.cert_pem.write_to_path(tmp_path / "ca.crt")
    monkeypatch.setenv("GRIDLOOM_TLS_CA_FILE", str(tmp_path / "ca.crt"))
    return tmp_path


def test_a_platform_serves_with_tls_and_its_jobs_need_none(files):
    settings = {"tls_cert_file": files / "tls.crt", "tls_key_file": files / "tls.key"}
    with EmbeddedProcess(files / "home", "--cpus", "2", **settings) as platform:
        outside, inside = platform.address, platform.record()["address"]
        assert outside != inside
        with gridloom.connect(f"grpcs://{outside}", api_key=platform.token) as client:
            job = client.run(["sh", "-c", "echo $GRIDLOOM_ADDRESS"])
            assert job.result(60).exit_code == 0
            assert list(job.logs()) == [inside]
            assert client.submit(abs, -7).result(60) == 7
            for pool in client.jobs(state="running"):
                pool.cancel(grace=0)
                pool.wait(60)
        with gridloom.connect(home=files / "home") as client:
            assert client.queues()
        with pytest.raises(TlsError, match="speaks TLS"):
            gridloom.connect(f"grpc://{outside}", api_key=platform.token)


@pytest.mark.slow
def test_a_login_names_whom_to_trust_and_keeps_it(files, monkeypatch):
    monkeypatch.delenv("GRIDLOOM_TLS_CA_FILE")
    monkeypatch.setenv("GRIDLOOM_CONFIG", str(files / "config.toml"))
    trustme.CA().cert_pem.write_to_path(files / "other.crt")
    settings = {"tls_cert_file": files / "tls.crt", "tls_key_file": files / "tls.key"}
    with EmbeddedProcess(files / "home", **settings) as platform:
        refused = login(platform, files / "other.crt")
        assert refused.returncode != 0
        assert "signed by nobody among" in refused.stderr
        assert "other.crt" in refused.stderr
        assert not (files / "config.toml").exists()
        kept = login(platform, files / "ca.crt")
        assert kept.returncode == 0, kept.stderr
        assert read_contexts(files / "config.toml").get("lab").ca_file == str(files / "ca.crt")
        with gridloom.connect(context="lab") as client:
            assert client.queues()


def login(platform, ca_file):
    address = f"grpcs://{platform.address}"
    command = [sys.executable, "-m", "gridloom.cli", "login", address, "--name", "lab"]
    return subprocess.run(
        [*command, "--ca-file", str(ca_file)],
        input=f"{platform.token}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
