from __future__ import annotations

import json
from dataclasses import replace

from gridloom.worker.supervision import handover
from gridloom.worker.supervision.records import write_record
from gridloom_services.scheduler.runtime.base import (
    Gang,
    GangRole,
    InputFile,
    OutputFile,
    Secret,
    Volume,
)
from gridloom_services.scheduler.runtime.folders import GangFolder, Root, Stored
from gridloom_services.scheduler.runtime.units import first_units

from tests.support.runtimes import everywhere

ROLE = GangRole(
    "main",
    (0, 1),
    ("prog", "-x"),
    colocate=True,
    image="image:1",
    env={"A": "1"},
    files=(InputFile("in.txt", "sha256:1", 3, 0o755),),
    outputs=("*.txt",),
    resources={"cpu": 1000},
    workdir="/home/ada",
    volumes=(Volume("data", "/data", read_only=True),),
    secrets=(Secret("s", "k", "KEY"),),
    stdin=InputFile("", "sha256:2", 5),
)
GANG = Gang(
    "job_a.3-a2", "job_a", 2, (ROLE,), element=3, env={"B": "2"}, token="t", time_limit_s=1.5
)
UNITS = first_units(GANG, everywhere(GANG))


def test_a_gang_is_read_back_as_it_was_written(tmp_path):
    folder = GangFolder(tmp_path / GANG.name)
    folder.create(GANG, UNITS)
    assert folder.read() == (GANG, UNITS, True)


def test_what_another_version_wrote_is_left_out_and_what_it_did_not_know_is_not_there(tmp_path):
    folder = GangFolder(tmp_path / GANG.name)
    folder.create(GANG, UNITS)
    path = folder.path / "gang.json"
    record = json.loads(path.read_text())
    del record["gang"]["roles"][0]["stdin"]
    record["gang"]["colour"] = record["gang"]["roles"][0]["colour"] = "blue"
    path.write_text(json.dumps(record))
    older = replace(GANG, roles=(replace(ROLE, stdin=None),))
    assert folder.read() == (older, UNITS, True)


def test_units_of_a_resize_take_the_place_of_the_first_ones(tmp_path):
    folder = GangFolder(tmp_path / GANG.name)
    folder.create(GANG, UNITS)
    changed = {"main.0": replace(UNITS["main.0"], wanted=(1,))}
    folder.write_units(changed)
    assert folder.read() == (GANG, changed, True)


def test_a_gang_of_another_run_of_the_machine_is_known_as_such(tmp_path):
    folder = GangFolder(tmp_path / GANG.name)
    folder.create(GANG, UNITS)
    path = folder.path / "gang.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "another"}))
    assert folder.read() == (GANG, UNITS, False)


def test_a_folder_without_its_record_is_no_gang(tmp_path):
    folder = GangFolder(tmp_path / GANG.name)
    folder.path.mkdir()
    assert folder.read() is None


def test_a_removed_gang_leaves_nothing(tmp_path):
    root = Root(tmp_path)
    folder = root.gang(GANG.name)
    folder.create(GANG, UNITS)
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_removal_that_was_cut_short_is_finished(tmp_path):
    root = Root(tmp_path / "gangs")
    going = root.path / ".going-0123" / "main.0"
    going.mkdir(parents=True)
    root.prepare()
    assert list(root.path.iterdir()) == []
    assert list(root.gangs()) == []


def test_stored_outputs_are_read_back_and_their_copies_are_gone(tmp_path):
    unit = GangFolder(tmp_path).unit("main.0")
    (unit.path / handover.OUTPUTS).mkdir(parents=True)
    assert unit.stored() is None
    stored = Stored((OutputFile("a", "sha256:1", 3, 0o600),), "not all of it")
    unit.write_stored(stored)
    assert unit.stored() == stored
    assert not (unit.path / handover.OUTPUTS).exists()


def test_an_end_is_read_back_with_its_replicas_and_files(tmp_path):
    unit = GangFolder(tmp_path).unit("main.0")
    unit.path.mkdir()
    end = handover.End(
        exit_code=None,
        signal=0,
        failure_class=handover.NODE_LOST,
        reason="gone",
        started_at=None,
        ended_at=1.0,
        ended={"1": handover.ReplicaEnd(0, 0, handover.NO_FAILURE, 0.5)},
        outputs=[handover.CollectedFile("a", 1, 0o644)],
    )
    write_record(unit.path / handover.END, end._asdict(), durable=True)
    assert unit.end() == end


def test_the_last_complaint_of_a_supervisor_is_found(tmp_path):
    unit = GangFolder(tmp_path).unit("main.0")
    assert unit.errors() == ""
    unit.path.mkdir()
    (unit.path / handover.ERRORS).write_text("Traceback\n  here\nOSError: disk full\n")
    assert unit.errors() == "OSError: disk full"
