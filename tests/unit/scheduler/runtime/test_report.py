from __future__ import annotations

from dataclasses import replace

from gridloom.worker.supervision import handover
from gridloom.worker.supervision.handover import End, ReplicaEnd, State
from gridloom_services.scheduler.runtime.base import OutputFile, Phase
from gridloom_services.scheduler.runtime.folders import Stored
from gridloom_services.scheduler.runtime.report import final_statuses, live_statuses
from gridloom_services.scheduler.runtime.units import Unit
from gridloom_services.scheduler.states import FailureClass

ALONE = Unit("main", "local", colocated=False, known=(0,), wanted=(0,))
SHARED = Unit("main", "local", colocated=True, known=(0, 1, 2), wanted=(0, 1, 2))
FILE = OutputFile("a.txt", "sha256:0", 3)
FINE = ReplicaEnd(0, 0, handover.NO_FAILURE, 11.0)
END = End(
    exit_code=3,
    signal=0,
    failure_class=handover.APPLICATION_ERROR,
    reason="exit code 3",
    started_at=10.0,
    ended_at=20.0,
    cpu_seconds=1.5,
    peak_memory_bytes=1000,
)


def live(unit: Unit, state: State | None):
    return list(live_statuses("job_a-a1", unit, state))


def final(unit: Unit, end: End, stored: Stored | None = None):
    return list(final_statuses("job_a-a1", unit, end, stored or Stored()))


def test_what_has_not_said_that_it_runs_is_starting():
    (status,) = live(ALONE, None)
    assert (status.phase, status.started_at) == (Phase.STARTING, None)


def test_what_has_said_so_is_running():
    (status,) = live(ALONE, State(10.0, 1234, {}))
    assert (status.phase, status.started_at) == (Phase.RUNNING, 10.0)


def test_a_reported_replica_has_ended_while_the_others_run():
    statuses = live(SHARED, State(10.0, 1234, {"1": FINE}))
    assert [status.phase for status in statuses] == [Phase.RUNNING, Phase.ENDED, Phase.RUNNING]
    assert (statuses[1].exit_code, statuses[1].ended_at) == (0, 11.0)


def test_the_last_reported_replica_lives_as_long_as_the_process():
    ended = {"0": FINE, "2": FINE._replace(ended_at=12.0), "1": FINE}
    statuses = live(SHARED, State(10.0, 1234, ended))
    assert [status.phase for status in statuses] == [Phase.ENDED, Phase.ENDED, Phase.RUNNING]


def test_the_end_has_everything_that_is_known():
    (status,) = final(ALONE, END, Stored((FILE,)))
    assert status.phase is Phase.ENDED
    assert (status.exit_code, status.signal, status.reason) == (3, 0, "exit code 3")
    assert status.failure_class is FailureClass.APPLICATION_ERROR
    assert (status.started_at, status.ended_at) == (10.0, 20.0)
    assert (status.cpu_seconds, status.peak_memory_bytes) == (1.5, 1000)
    assert status.outputs == (FILE,)


def test_costs_and_outputs_of_a_shared_process_are_on_the_lowest_that_ended_with_it():
    statuses = final(SHARED, END._replace(ended={"0": FINE}), Stored((FILE,)))
    assert [status.cpu_seconds for status in statuses] == [0.0, 1.5, 0.0]
    assert [status.outputs for status in statuses] == [(), (FILE,), ()]
    assert [status.exit_code for status in statuses] == [0, 3, 3]


def test_an_end_that_was_shown_while_the_process_ran_stays_as_it_was():
    ended = {"0": FINE, "2": FINE._replace(exit_code=1, failure_class=handover.APPLICATION_ERROR)}
    before = live(SHARED, State(10.0, 1234, ended))
    after = final(SHARED, END._replace(ended=ended))
    assert (before[0], before[2]) == (after[0], after[2])


def test_costs_are_on_the_last_where_all_had_been_reported():
    ended = {"0": FINE._replace(ended_at=15.0), "1": FINE, "2": FINE}
    statuses = final(SHARED, END._replace(ended=ended))
    assert [status.cpu_seconds for status in statuses] == [1.5, 0.0, 0.0]


def test_fruit_that_is_lost_makes_a_success_a_loss_of_the_platform():
    success = END._replace(failure_class=handover.NO_FAILURE, reason="", exit_code=0)
    (status,) = final(ALONE, success, Stored(failure="its output is not stored: disk full"))
    assert status.failure_class is FailureClass.NODE_LOST
    assert status.reason == "its output is not stored: disk full"


def test_a_failure_stays_what_it_was_when_its_fruit_is_lost_too():
    (status,) = final(ALONE, END, Stored(failure="not stored"))
    assert status.failure_class is FailureClass.APPLICATION_ERROR
    assert status.reason == "exit code 3; not stored"


def test_every_class_of_the_supervisor_is_one_of_the_scheduler():
    names = [
        handover.NO_FAILURE,
        handover.APPLICATION_ERROR,
        handover.OUT_OF_MEMORY,
        handover.NODE_LOST,
        handover.TIME_LIMIT,
        handover.CANCELLED,
    ]
    classes = [final(ALONE, END._replace(failure_class=name))[0].failure_class for name in names]
    assert [each.name for each in classes] == names


def test_statuses_of_a_unit_differ_in_their_index_alone():
    statuses = final(SHARED, END)
    plain = {replace(status, index=0, cpu_seconds=0.0) for status in statuses[1:]}
    assert len(plain) == 1
