"""Which rank is to blame."""

from __future__ import annotations

import signal

from gridloom.worker.mpi.folder import RankExit
from gridloom.worker.mpi.verdict import aborted, first_bad, launcher_failure

KILLED = 128 + signal.SIGKILL


def test_the_first_that_failed_by_itself_is_to_blame_not_those_that_were_killed_with_it():
    ends = [
        RankExit(0, KILLED, signal.SIGKILL, 1.0),
        RankExit(2, 139, signal.SIGSEGV, 2.0),
        RankExit(1, 3, 0, 3.0),
    ]
    failure = first_bad(ends)
    assert failure is not None
    assert (failure.rank, failure.exit_code, failure.signal) == (2, 139, signal.SIGSEGV)
    assert failure.reason == "rank 2: killed by SIGSEGV"


def test_who_ended_together_with_a_crash_is_named_with_it():
    ends = [
        RankExit(0, 139, signal.SIGSEGV, 10.0),
        RankExit(2, 9, 0, 10.01),
        RankExit(1, KILLED, signal.SIGKILL, 10.02),
        RankExit(3, 139, signal.SIGSEGV, 12.0),
    ]
    failure = first_bad(ends)
    assert failure is not None
    assert (failure.rank, failure.exit_code) == (0, 139)
    assert failure.reason == "rank 0: killed by SIGSEGV; rank 2: exit code 9"


def test_of_ranks_that_only_exit_the_first_is_named_however_close_they_are():
    failure = first_bad([RankExit(1, 15, 0, 9.0), RankExit(0, 1, 0, 9.0)])
    assert failure is not None
    assert failure.reason == "rank 1: exit code 15"


def test_of_many_crashes_at_once_the_first_are_named():
    failure = first_bad([RankExit(rank, 139, signal.SIGSEGV, 1.0) for rank in range(64)])
    assert failure is not None
    assert failure.reason.startswith("rank 0: killed by SIGSEGV; rank 1: ")
    assert failure.reason.endswith("rank 3: killed by SIGSEGV; ...")


def test_where_all_were_killed_the_first_is_named():
    failure = first_bad([RankExit(rank, KILLED, signal.SIGKILL, 1.0) for rank in (1, 0)])
    assert failure is not None
    assert failure.reason == "rank 1: killed by SIGKILL"


def test_nobody_is_to_blame_where_all_ended_well():
    assert first_bad([RankExit(0, 0, 0, 1.0), RankExit(1, 0, 0, 2.0)]) is None


def test_a_program_that_is_missing_is_said_to_be():
    failure = first_bad([RankExit(0, 127, 0, 1.0)])
    assert failure is not None
    assert "not found" in failure.reason


def test_mpich_says_an_abort_by_the_stream_of_its_rank():
    line = (
        b"Abort(7) on node 2 (rank 1 in comm 0): application called MPI_Abort(comm, 7) - process 2"
    )
    failure = aborted({0: [b"hello"], 2: [b"x", line]}, [])
    assert failure is not None
    assert (failure.rank, failure.exit_code) == (2, 7)


def test_an_error_of_mpich_is_no_abort_of_the_program_s():
    line = b"Abort(1) on node 2 (rank 2 in comm 0): Fatal error in internal_Send: Invalid rank"
    assert aborted({2: [line]}, []) is None


def test_open_mpi_says_an_abort_by_the_launcher():
    lines = [b"MPI_ABORT was invoked on rank 2 in communicator X", b"  Errorcode: 300"]
    failure = aborted({}, lines)
    assert failure is not None
    assert (failure.rank, failure.exit_code) == (2, 300 & 0xFF)
    assert failure.reason == "rank 2 called MPI_Abort(300)"


def test_an_abort_never_looks_like_a_success():
    failure = aborted({}, [b"MPI_ABORT was invoked on rank 0", b"  Errorcode: 0"])
    assert failure is not None
    assert failure.exit_code == 1


def test_a_launcher_that_was_killed_has_no_rank():
    failure = launcher_failure("mpiexec", -signal.SIGKILL)
    assert (failure.rank, failure.exit_code) == (-1, KILLED)
    assert failure.reason == "mpiexec was killed by SIGKILL"


def test_an_exception_that_nobody_caught_is_the_cause_of_its_abort():
    lines = [
        b"Traceback (most recent call last):",
        b'  File "x.py", line 3, in <module>',
        b"ValueError: enough",
        b"Abort(1) on node 2 (rank 2 in comm 0): application called MPI_Abort(comm, 1) - process 2",
    ]
    failure = aborted({2: lines}, [])
    assert failure is not None
    assert failure.reason == "rank 2: ValueError: enough"
