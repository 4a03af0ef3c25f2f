"""Keys, roles and the audit log on services that are processes of their own, each with its home."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import gridloom
import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from gridloom.api.functions.v1 import functions_pb2, functions_pb2_grpc, session_pb2
from gridloom.api.objects.v1 import objects_pb2, objects_pb2_grpc
from gridloom.errors import PermissionDeniedError, UnauthenticatedError
from gridloom.version import PROTOCOL
from gridloom_services.common.keys import new_key
from gridloom_services.common.permissions import RULES, Scope

from tests.support.eventually import eventually_now
from tests.support.gateway import Gateway
from tests.support.service import ServiceProcess
from tests.unit.common.test_permissions import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 60
CACHE_S = 0.5
SERVICES = ("objects", "scheduler", "functions", "mpi")
ADMIN = new_key()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Apart:
    """Objects, scheduler and functions, one address in front, entered with keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "secret").write_bytes(os.urandom(32))
        (folder / "admin-key").write_text(f"{ADMIN.text}\n")
        self.services: dict[str, ServiceProcess] = {}
        self._settings: dict[str, object] = {
            "secret_file": folder / "secret",
            "key_cache_s": CACHE_S,
            "key_hold_s": 20,
            "scheduler_cpus": 4,
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[Apart]:
        with contextlib.ExitStack() as self._stack:
            self._gateway = self._stack.enter_context(Gateway())
            self._settings["public_address"] = self._gateway.address
            for name in SERVICES:
                port = free_port()
                self._settings[f"{name}_port"] = port
                self._settings[f"{name}_address"] = f"127.0.0.1:{port}"
            for name in SERVICES:
                self.start(name)
            yield self
            with self.client(ADMIN.text) as client:
                for job in client.jobs():
                    job.cancel(grace=0)
                for job in client.jobs():
                    job.wait(PATIENCE_S)

    def start(self, name: str) -> None:
        settings = dict(self._settings)
        if name == "scheduler":
            settings["bootstrap_admin_key_file"] = self.folder / "admin-key"
        service = ServiceProcess(name, self.folder / name, **settings)
        self.services[name] = self._stack.enter_context(service)
        self._gateway.route(name, service.address)

    @property
    def address(self) -> str:
        return self._gateway.address

    def client(self, key: str, project: str | None = None) -> gridloom.Client:
        return gridloom.connect(self.address, api_key=key, project=project)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory):
    with Apart(tmp_path_factory.mktemp("apart")).running() as apart:
        yield apart


@pytest.fixture(scope="module")
def admin(apart: Apart):
    with apart.client(ADMIN.text) as client:
        client.create_queue("default", project="chem")
        yield client


def key_for(admin: gridloom.Client, owner: str, role: str, project: str = "chem") -> str:
    return admin.access.create_key(owner=owner, role=role, project=project).secret


def test_the_key_of_the_file_is_an_administrators(admin):
    me = admin.access.whoami()
    assert (me.name, me.role, me.project, me.key_id) == ("admin", "admin", "*", ADMIN.id)


def test_there_is_no_other_way_in(apart):
    assert not list(apart.folder.rglob("token"))
    for wrong in ("", "some-token", new_key().text, f"{ADMIN.text[:-1]}!"):
        with pytest.raises(UnauthenticatedError):
            apart.client(wrong)


def test_each_role_may_do_what_it_says_and_is_told_what_it_lacks(apart, admin):
    keys = {role: key_for(admin, f"the-{role}", role) for role in ("viewer", "submitter")}
    keys["operator"] = key_for(admin, "the-operator", "operator")
    with (
        apart.client(keys["viewer"]) as viewer,
        apart.client(keys["submitter"]) as submitter,
        apart.client(keys["operator"]) as operator,
    ):
        own = submitter.run(["sleep", "60"])
        others = operator.run(["sleep", "60"])
        assert own.info.project == "chem"
        assert {job.id for job in viewer.jobs()} >= {own.id, others.id}
        with pytest.raises(PermissionDeniedError) as caught:
            viewer.run(["true"])
        assert caught.value.role == "submitter"
        assert 'SubmitJobs needs the role "submitter" in project "chem"' in str(caught.value)
        with pytest.raises(PermissionDeniedError, match='"operator" in project "chem"'):
            submitter.job(others.id).cancel()
        submitter.job(own.id).cancel(grace=0)
        operator.job(others.id).cancel(grace=0)
        with pytest.raises(PermissionDeniedError, match='"admin" in project "chem"'):
            operator.create_queue("big")
        with pytest.raises(PermissionDeniedError, match='has "operator" in project "chem" only'):
            operator.run(["true"], project="default")
        with pytest.raises(PermissionDeniedError, match="ListAuditEntries"):
            list(operator.access.audit())


PROJECT_PATHS = (
    *("project", "filter.project", "queue.project", "spec.project", "spec.job.project"),
    "hello.project",
)


def filled(kind: Any, known: dict[str, Any]) -> Any:
    """A request about what is in project chem: by its project, or by ids of things there."""
    request = GetMessageClass(kind)()
    for path in (*PROJECT_PATHS, *known):
        *outer, last = path.split(".")
        message = request
        for name in outer:
            message = getattr(message, name, None)
        if message is None or last not in message.DESCRIPTOR.fields_by_name:
            continue
        field = message.DESCRIPTOR.fields_by_name[last]
        value = 1 if field.enum_type else known.get(path, "chem")
        if field.is_repeated:
            getattr(message, last).append(value)
        else:
            setattr(message, last, value)
    if "jobs" in request.DESCRIPTOR.fields_by_name:
        request.jobs.add(project="chem").roles.add(name="main", replicas=1, command=["true"])
    return request


def test_nothing_of_a_project_is_reached_from_another_whatever_the_role(apart, admin):
    with apart.client(ADMIN.text, project="chem") as chem:
        job, pool = chem.run(["true"]), chem.pool(workers=1)
        call, group = pool.submit(doubled, 1), pool.map(doubled, range(3)).group
        member = chem.access.create_key(owner="zoe", role="viewer")
    known = {
        **dict.fromkeys(("job_id", "job_ids", "start.job_id"), job.id),
        "pool_id": pool.id,
        "call_id": call.id,
        "group_id": group.id,
        "key_id": member.key.id,
        "user": "zoe",
        "name": "default",
        "queue.name": "default",
        "start.command": "true",
        "role": "main",
    }
    key = key_for(admin, "the-physicist", "admin", "physics")
    metadata = (("authorization", f"Bearer {key}"),)
    known["hello.protocol"] = PROTOCOL
    refused = []
    with grpc.insecure_channel(apart.address) as channel:
        for path, method in METHODS.items():
            if RULES[path].scope is not Scope.PROJECT:
                continue
            answer = GetMessageClass(method.output_type).FromString
            ask = channel.stream_stream(path, lambda r: r.SerializeToString(), answer)
            request = filled(method.input_type, known)
            with pytest.raises(grpc.RpcError) as caught:
                list(ask(iter([request]), metadata=metadata, timeout=30))
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED, (path, caught.value)
            assert 'in project "chem"' in caught.value.details(), path
            refused.append(path)
    assert len(refused) > 30
    pool.close(cancel_running=True)


def test_a_member_makes_keys_for_themselves_with_no_more_than_they_have(apart, admin):
    with apart.client(key_for(admin, "mia", "submitter")) as mia:
        own = mia.access.create_key(role="viewer", expires="1d")
        assert (own.key.owner, own.key.role) == ("mia", "viewer")
        for more in ({"role": "operator"}, {"project": "default"}, {"owner": "the-operator"}):
            with pytest.raises(PermissionDeniedError):
                mia.access.create_key(**more)
        with apart.client(own.secret) as narrower, pytest.raises(PermissionDeniedError):
            narrower.access.create_key(role="viewer")
        found = mia.access.keys()
        assert {key.owner for key in found} == {"mia"}
        with pytest.raises(PermissionDeniedError):
            mia.access.keys(owner="the-operator")
        assert mia.access.revoke_key(own.key.id).state == "revoked"


def doubled(number: int) -> int:
    return 2 * number


def test_functions_run_for_who_may_submit_and_for_nobody_else(apart, admin):
    with apart.client(key_for(admin, "fay", "submitter")) as fay:
        assert fay.submit(doubled, 21).result(PATIENCE_S) == 42
    with apart.client(key_for(admin, "vic", "viewer")) as vic:
        assert vic.pools("chem")
        with pytest.raises(PermissionDeniedError, match='OpenSession needs the role "submitter"'):
            vic.submit(doubled, 21).result(PATIENCE_S)
        with pytest.raises(PermissionDeniedError, match="CreatePool"):
            vic.pool(workers=1)


@contextlib.contextmanager
def a_session(apart: Apart, key: str):
    """An open stream to the functions service itself, as every client of functions has one."""
    with grpc.insecure_channel(apart.services["functions"].address) as channel:
        hello = session_pb2.Hello(protocol=PROTOCOL, session_key=os.urandom(16), project="chem")
        over = threading.Event()

        def messages():
            yield session_pb2.OpenSessionRequest(hello=hello)
            over.wait(PATIENCE_S)

        stub = functions_pb2_grpc.FunctionsServiceStub(channel)
        stream = stub.OpenSession(messages(), metadata=(("authorization", f"Bearer {key}"),))
        assert next(stream).HasField("welcome")
        yield stream
        stream.cancel()
        over.set()


def test_a_revoked_key_is_out_everywhere_within_the_time_of_the_cache(apart, admin):
    made = admin.access.create_key(owner="rex", role="submitter", project="chem")
    with a_session(apart, made.secret) as stream, apart.client(made.secret) as rex:
        assert rex.pools("chem") is not None
        admin.access.revoke_key(made.key.id)
        with pytest.raises(UnauthenticatedError, match="was revoked"):
            rex.queues()
        # No assertion on the clock: a loaded machine is slow; it ends by itself, and says why.
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert f"{made.key.id} was revoked" in caught.value.details()
        with pytest.raises(UnauthenticatedError, match="was revoked"):
            rex.pools("chem")


def test_the_token_of_a_job_is_out_everywhere_soon_after_the_job(apart, admin):
    job = admin.run("echo $GRIDLOOM_TOKEN; exec sleep 300", shell=True, project="chem")
    token = next(iter(job.logs(follow=True))).strip()
    metadata = (("authorization", f"Bearer {token}"),)
    absent = objects_pb2.StatObjectsRequest(digests=[f"sha256:{'0' * 64}"])

    def answer() -> grpc.StatusCode:
        with grpc.insecure_channel(apart.services["objects"].address) as channel:
            stub = objects_pb2_grpc.ObjectsServiceStub(channel)
            return stub.StatObjects.with_call(absent, metadata=metadata)[1].code()

    def is_refused() -> bool:
        with pytest.raises(grpc.RpcError) as refused:
            answer()
        return refused.value.code() is grpc.StatusCode.UNAUTHENTICATED

    with a_session(apart, token) as stream:
        assert answer() is grpc.StatusCode.OK
        job.cancel(grace=0)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert f"attempt 1 of {job.id} is over" in caught.value.details()
    # The stream ended since the answer in `functions` was no longer fresh; here it may be yet.
    time.sleep(CACHE_S)
    assert is_refused()


def test_a_role_that_is_taken_away_takes_effect(apart, admin):
    with apart.client(key_for(admin, "tom", "submitter")) as tom:
        tom.run(["true"]).wait(PATIENCE_S)
        admin.access.set_member("tom", "viewer", project="chem")
        with pytest.raises(PermissionDeniedError, match='has "viewer" there'):
            tom.run(["true"])
        admin.access.remove_member("tom", project="chem")
        with pytest.raises(UnauthenticatedError, match="no member"):
            list(tom.jobs())


def test_changes_in_every_service_come_to_one_log_without_any_secret(apart, admin):
    made = admin.access.create_key(owner="liz", role="submitter", project="chem")
    with apart.client(made.secret) as liz:
        job = liz.run(["echo", "hidden-word"])
        pool = liz.pool(workers=1)
        pool.close()
    eventually_now(lambda: list(admin.access.audit(actor="liz", action="pool.close")))
    (closed,) = admin.access.audit(actor="liz", action="pool.close")
    assert (closed.service, closed.project, closed.key_id) == ("functions", "chem", made.key.id)
    assert closed.objects == (pool.id,)
    entries = list(admin.access.audit(actor="liz"))
    assert {entry.action for entry in entries} == {"job.submit", "pool.create", "pool.close"}
    (submitted,) = admin.access.audit(object=job.id)
    assert (submitted.action, submitted.result, submitted.origin) == (
        *("job.submit", "OK"),
        "127.0.0.1",
    )
    (creation,) = admin.access.audit(action="key.create", object=made.key.id)
    assert creation.actor == "admin"
    with (
        apart.client(key_for(admin, "vic", "viewer")) as vic,
        pytest.raises(PermissionDeniedError),
    ):
        vic.run(["true"])
    eventually_now(lambda: list(admin.access.audit(result="refused", actor="vic")))
    kept = repr(list(admin.access.audit()))
    every = [path for path in apart.folder.rglob("*") if path.is_file()]
    files = [path for path in every if path.name != "admin-key"]
    secrets = [ADMIN.secret, made.secret.rpartition("_")[2]]
    assert not [word for word in (*secrets, "hidden-word") if word in kept]
    assert not [path for path in files for word in secrets if word.encode() in path.read_bytes()]


def test_while_the_scheduler_is_away_known_keys_hold_and_others_are_told_to_try_again(apart, admin):
    known, unknown = key_for(admin, "kim", "viewer"), key_for(admin, "uma", "viewer")
    with grpc.insecure_channel(apart.services["functions"].address) as channel:
        stub = functions_pb2_grpc.FunctionsServiceStub(channel)

        def pools(key: str):
            request = functions_pb2.ListPoolsRequest(project="chem")
            metadata = (("authorization", f"Bearer {key}"),)
            return stub.ListPools(request, metadata=metadata, timeout=30)

        pools(known)
        apart.services["scheduler"].signal(signal.SIGKILL)
        time.sleep(CACHE_S)  # the answer is no longer fresh
        pools(known)
        with pytest.raises(grpc.RpcError) as caught:
            pools(unknown)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        apart.start("scheduler")

        def is_known() -> bool:
            with contextlib.suppress(grpc.RpcError):
                return bool(pools(unknown))
            return False

        eventually_now(is_known)
