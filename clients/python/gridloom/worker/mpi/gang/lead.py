"""The hosts beside the first one, as its agent has them. See `gridloom.worker.mpi.others`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from gridloom.worker.hosts import ranges_of
from gridloom.worker.mpi.folder import rank_exit
from gridloom.worker.mpi.gang.attending import Attendance, Gone
from gridloom.worker.mpi.gang.inbox import Inbox
from gridloom.worker.mpi.gang.secret import GangSecret
from gridloom.worker.mpi.gang.shim import hosts_lines, shim_script
from gridloom.worker.mpi.gang.wire import PIECE_BYTES
from gridloom.worker.mpi.implementations import KNOWN, NotHereError, which
from gridloom.worker.mpi.names import answer_name
from gridloom.worker.mpi.report import Failure
from gridloom.worker.mpi.spec import MPICH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gridloom.api.mpi.v1 import agent_pb2
    from gridloom.worker.hosts import Host
    from gridloom.worker.mpi.folder import RankExit, RankFolder
    from gridloom.worker.mpi.gang.attending import Word
    from gridloom.worker.mpi.implementations import Launcher
    from gridloom.worker.mpi.others import Take
    from gridloom.worker.mpi.spec import LaunchSpec
    from gridloom.worker.mpi.streams import Ears

# What a host is asked at the end, or when ranks hang, it answers within this time.
_ANSWER_S = 10.0


class OtherHosts:
    """Attends to each. Ranks are numbered host by host, in the order of the hosts."""

    def __init__(self, spec: LaunchSpec, hosts: Sequence[Host], token: str) -> None:
        self._spec = spec
        self._ranks = ranks_by_host(spec, hosts)
        self._first = hosts[0]
        secret = GangSecret(token)
        self._lines = [Attendance(host, spec.agent_port, secret) for host in hosts[1:]]
        self._ready: dict[str, agent_pb2.AttendResponse.Ready] = {}
        self._refusal: NotHereError | None = None
        self._lost: Failure | None = None
        self._open = set(self._lines)
        self._parts: dict[tuple[int, int], bytearray] = {}
        self._stacks: dict[str, Mapping[int, str]] = {}
        self._traces: dict[str, agent_pb2.AttendResponse.Traces] = {}
        self._ends: list[RankExit] = []
        self._begun: dict[int, float | None] = {}
        self._is_finishing = False
        self._is_broken = False
        self._breakage: Failure | None = None
        self._finish_at = 0.0
        self._ears: Ears
        self._folder: RankFolder
        self._take: Take

    def ranks_here(self, ranks: int) -> Sequence[int]:
        """Those of the first host."""
        return range(len(self._first.replicas)) if ranks else ()

    # ---- the beginning

    def gather(self, ears: Ears, folder: RankFolder, take: Take) -> bool:
        """Wait for each; the one that did not come is named."""
        self._ears, self._folder, self._take = ears, folder, take
        inbox: Inbox[Word] = Inbox(ears, self._hear)
        until = time.monotonic() + self._spec.gather_s
        for line in self._lines:
            line.start(until, inbox.put)
            line.say(begin={"ranks": self._spec.ranks})
        # Past its own time a line says what stood in its way.
        self._wait(lambda: len(self._ready) == len(self._lines), self._spec.gather_s + _ANSWER_S)
        if self._refusal is not None:
            raise self._refusal
        if ears.signals:
            ears.signals.clear()
            return False
        for line in self._lines:
            if line.host.name not in self._ready:
                raise self._unreached(line, "its agent does not get ready")
        return True

    def launcher_words(self, launcher: Launcher) -> list[str]:
        """Addresses only, so that nobody has to look up names any more."""
        if launcher.implementation != MPICH:
            raise NotHereError(
                f"{KNOWN[launcher.implementation].title} runs on one host only, and these ranks are"
                f" on {len(self._ranks)}: use {KNOWN[MPICH].title}, or fewer ranks"
            )
        own = next(iter(self._ready.values())).caller
        shim = self._write_shim()
        hosts = {own: self._first, **{line.address: line.host for line in self._lines}}
        places = [f"{_bracketed(place)}:{len(host.replicas)}" for place, host in hosts.items()]
        # Ranks have the environment of their own host's agent.
        rsh = ["-launcher", "rsh", "-launcher-exec", shim, "-genvnone"]
        return [*rsh, "-localhost", own, "-hosts", ",".join(places)]

    def _write_shim(self) -> str:
        names = {line.address: f"{line.host.name}@{line.host.node}" for line in self._lines}
        file, shim = self._folder.path / "hosts", self._folder.path / "shim"
        file.write_text(hosts_lines(names), encoding="utf-8")
        shim.write_text(shim_script(sys.executable, self._spec.agent_port, file), encoding="utf-8")
        shim.chmod(0o700)
        return str(shim)

    def keeper(self) -> list[str]:
        """A launcher that is left alone would wait for its hosts for ever."""
        program = which("setpriv", os.environ.get("PATH", os.defpath))
        return [program, "--pdeathsig", "KILL", "--"] if program else []

    # ---- what is said to them

    def call(self, number: int, pickle: bytes, *, is_fresh: bool) -> None:
        """In pieces."""
        view = memoryview(pickle)
        starts = range(0, max(len(view), 1), PIECE_BYTES)
        for start in starts:
            piece = {
                "number": number,
                "fresh": is_fresh,
                "data": bytes(view[start : start + PIECE_BYTES]),
                "last": start == starts[-1],
            }
            self._say(call=piece)

    def close(self) -> None:
        """No more calls come."""
        self._say(close={})

    def terminate(self) -> None:
        """Their ranks are told to end."""
        self._say(terminate={})

    def look(self) -> None:
        """Ask where their ranks are."""
        self._stacks.clear()
        self._say(look={})

    def stacks(self) -> Mapping[int, str]:
        """Where they are, as far as it was told in time."""
        self._wait(lambda: len(self._stacks) >= len(self._open), _ANSWER_S)
        return {rank: stack for told in self._stacks.values() for rank, stack in told.items()}

    def finish(self) -> None:
        """End what runs there, and learn how it was."""
        self._is_finishing, self._finish_at = True, time.time()
        self._say(finish={})
        if self._ready:
            self._wait(
                lambda: all(line.host.name in self._traces for line in self._open), _ANSWER_S
            )
        for line in self._lines:
            line.leave()

    def _say(self, **part: object) -> None:
        for line in self._open:
            line.say(**part)

    def _wait(self, is_done: Callable[[], bool], patience_s: float) -> None:
        """Listen until then, or until it cannot come to that."""
        until = time.monotonic() + patience_s
        while not is_done() and (left_s := until - time.monotonic()) > 0:
            if self._refusal is not None and not self._is_finishing:
                return
            if self._ears.signals and len(self._ready) < len(self._lines):
                return
            self._ears.wait(left_s)

    # ---- what they say

    def _hear(self, word: Word) -> None:
        line, what = word
        if isinstance(what, Gone):
            self._open.discard(line)
            self._note_loss(line, what)
            return
        part = what.WhichOneof("part")
        if part == "ready":
            self._ready[line.host.name] = what.ready
        elif part == "refused":
            self._refusal = self._refusal or NotHereError(what.refused.reason)
        elif part == "answer":
            self._note_answer(what.answer)
        elif part == "stacks":
            self._stacks[line.host.name] = dict(what.stacks.by_rank)
        elif part == "traces":
            self._note_traces(line, what.traces)
        elif part == "ended":
            self._is_broken = True

    def rank_ended(self, rank: int, code: int, words: str) -> None:
        """One that has not ended well is the end of all; so is a host that the launcher lost."""
        self._is_broken = True
        if rank < 0 and self._breakage is None:
            self._breakage = Failure(words, exit_code=code if code > 0 else 1)

    def _note_loss(self, line: Attendance, gone: Gone) -> None:
        name = line.host.name
        if name not in self._ready:
            self._refusal = self._refusal or self._unreached(line, gone.reason)
        elif name not in self._traces and self._lost is None:
            ranks = _ranks_words(self._ranks[name])
            self._lost = Failure(
                f"host {line.host} is gone, and {ranks} with it: {gone.reason}",
                self._ranks[name][0],
                is_node_lost=gone.is_silent,
            )

    def _unreached(self, line: Attendance, reason: str) -> NotHereError:
        ranks = _ranks_words(self._ranks[line.host.name])
        return NotHereError(f"host {line.host}, which has {ranks}, cannot be reached: {reason}")

    def _note_answer(self, piece: agent_pb2.RankAnswerPiece) -> None:
        key = piece.number, piece.rank
        data = self._parts.setdefault(key, bytearray())
        data += piece.data
        if piece.last:
            del self._parts[key]
            (self._folder.path / answer_name(*key)).write_bytes(data)
            self._take(piece.kind, piece.number, piece.rank, piece.words)

    def _note_traces(self, line: Attendance, traces: agent_pb2.AttendResponse.Traces) -> None:
        self._traces[line.host.name] = traces
        ahead_s = clock_ahead_s(self._finish_at, traces.now, time.time())
        self._ends += [rank_exit(end.rank, end.code, end.at - ahead_s) for end in traces.ends]
        self._begun |= {end.rank: end.began_at - ahead_s for end in traces.ends if end.began_at}

    # ---- what became of them

    def lost(self) -> Failure | None:
        """The first host that went away before the end."""
        return self._lost

    def is_broken(self) -> bool:
        """A rank of any host has not ended well, or is out of the launcher's reach."""
        return self._is_broken

    def breakage(self) -> Failure | None:
        """Why that is, where no rank is to blame."""
        return self._breakage

    def ends(self) -> Sequence[RankExit]:
        """How ranks there ended."""
        return self._ends

    def begun(self) -> dict[int, float | None]:
        """When their programs were about to be executed."""
        return self._begun

    def lines(self) -> Mapping[int, list[bytes]]:
        """What they wrote last to their standard error."""
        return {
            rank: list(each.lines)
            for traces in self._traces.values()
            for rank, each in traces.lines.items()
        }


def ranks_by_host(spec: LaunchSpec, hosts: Sequence[Host]) -> dict[str, range]:
    """The ranks of each host by its name. ValueError: these hosts do not have them all."""
    ranks, first = {}, 0
    for host in hosts:
        ranks[host.name] = range(first, first + len(host.replicas))
        first += len(host.replicas)
    if first != spec.ranks:
        raise ValueError(f"the hosts have room for {first} ranks, the job has {spec.ranks}")
    return ranks


def clock_ahead_s(asked: float, theirs: float, answered: float) -> float:
    """How far a host's clock is ahead of ours, by what it said between two looks at ours.

    0 where that may be so: most clocks are set by the same one, more closely than answers come.
    """
    if asked <= theirs <= answered:
        return 0.0
    return theirs - (asked + answered) / 2


def _ranks_words(ranks: range) -> str:
    ((first, last),) = ranges_of(ranks)
    return f"rank {first}" if first == last else f"ranks {first}-{last}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
