from __future__ import annotations

from gridloom_services.scheduler.runtime.base import Gang, GangRole, InputFile
from gridloom_services.scheduler.runtime.kubernetes.manifests import KEPT, owner_manifest
from gridloom_services.scheduler.runtime.kubernetes.record import (
    Stop,
    read_record,
    stop_change,
    units_change,
    verdict_change,
)
from gridloom_services.scheduler.runtime.kubernetes.units import units_to_text
from gridloom_services.scheduler.runtime.kubernetes.verdicts import Verdict
from gridloom_services.scheduler.runtime.units import Unit
from gridloom_services.scheduler.states import FailureClass

ROLE = GangRole("main", (0, 1), ("x",), files=(InputFile("a", "sha256:0", 1),))
GANG = Gang("job_a-a1", "job_a", 1, (ROLE,), token="t", env={"A": "b"})
UNITS = {
    f"main.{index}": Unit("main", "n", colocated=False, known=(index,), wanted=(index,))
    for index in range(2)
}


def changed(*changes: dict) -> dict:
    owner = owner_manifest(GANG, UNITS, {}, None)
    for change in changes:
        owner["data"].update(change["data"])
    return owner


def test_a_gang_is_read_back_as_it_was_written_but_for_its_token():
    record = read_record(changed())
    assert record.gang.token == KEPT
    assert (record.gang.roles, record.gang.env) == (GANG.roles, GANG.env)
    assert (record.units, record.stop) == (UNITS, None)


def test_whoever_finds_a_gang_makes_no_pods_for_it():
    assert read_record(changed()).unmade == []


def test_what_became_of_it_is_read_back():
    verdict = Verdict(FailureClass.NODE_LOST, "gone", None, 3.0)
    record = read_record(
        changed(
            stop_change(Stop(2.5, "why")),
            verdict_change("main.0", verdict),
            units_change(units_to_text(UNITS), {"main.1": Stop(1.0, "smaller")}),
        )
    )
    assert record.stop == Stop(2.5, "why")
    assert record.verdicts == {"main.0": verdict}
    assert record.unit_stops == {"main.1": Stop(1.0, "smaller")}
    assert record.unmade == []


def test_the_first_reason_stays_and_the_grace_gets_shorter():
    assert Stop(10.0, "first").merged(Stop(2.0, "second")) == Stop(2.0, "first")
    assert Stop(10.0, "first").merged(Stop(20.0, "second")) == Stop(10.0, "first")
