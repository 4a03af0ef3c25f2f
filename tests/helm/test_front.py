"""The front's start: a certificate that was renewed is served without a restart."""

import os
import shutil
import socket
import ssl
import subprocess
from contextlib import contextmanager

import pytest

from tests.support.eventually import eventually_now
from tests.support.front import START, free_port
from tests.support.front import program as nginx

NAMES = ("SCHEDULER", "FUNCTIONS", "OBJECTS", "MPI")


@pytest.fixture(scope="module")
def program():
    found = nginx()
    if found is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not on this machine and cannot be fetched")
    return found


def write_certificate(folder, name):
    """A certificate and its key, in place at once as the kubelet does it."""
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    draft, final = folder / "draft.pem", folder / "tls.crt"
    files = ["-nodes", "-keyout", f"{draft}.key", "-out", str(draft)]
    command = ["openssl", *words, *files, "-subj", f"/CN={name}", "-days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "draft.pem.key").rename(folder / "tls.key")
    draft.rename(final)


@contextmanager
def front(program, folder, port):
    environment = {
        "PATH": os.pathsep.join((str(program.parent), os.environ["PATH"])),
        "TMPDIR": str(folder),
        "GRIDLOOM_FRONT_PORT": str(port),
        "GRIDLOOM_FRONT_STATUS_PORT": str(free_port()),
        "GRIDLOOM_FRONT_CERT_FILE": f"{folder}/tls.crt",
        "GRIDLOOM_FRONT_KEY_FILE": f"{folder}/tls.key",
        "GRIDLOOM_FRONT_LOOK_SECONDS": "0.2",
        **{f"GRIDLOOM_{name}_ADDRESS": "127.0.0.1:1" for name in NAMES},
    }
    command = ["sh", str(START)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def served(port):
    """The certificate at the port, or nothing where nobody answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 2) as plain,
            context.wrap_socket(plain) as secured,
        ):
            return secured.getpeercert(binary_form=True)
    except OSError:
        return None


def test_a_renewed_certificate_is_served_and_a_stop_is_heard(program, tmp_path):
    port = free_port()
    write_certificate(tmp_path, "first")
    with front(program, tmp_path, port) as process:
        eventually_now(lambda: served(port))
        first = served(port)
        write_certificate(tmp_path, "second")
        eventually_now(lambda: served(port) not in {None, first})
        process.terminate()
        assert process.wait(30) == 0


def test_a_front_that_cannot_start_ends_with_its_reason(program, tmp_path):
    write_certificate(tmp_path, "first")
    (tmp_path / "tls.key").write_text("no key")
    with front(program, tmp_path, free_port()) as process:
        assert process.wait(30) != 0
    assert "tls.key" in (tmp_path / "log").read_text()
