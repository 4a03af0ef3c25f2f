"""What a loss of power leaves of a folder, by what programs did to the files there.

`recorder.c`, loaded into every process, writes down each write, new name and sync. `Disk` knows
from that what is on disk for certain, and throws dice over the rest, by rules that Linux's
journalling file systems keep (ext4, XFS and btrfs promise more):

- What was written to a file before its last fsync or fdatasync began is there. Of later writes each
  page (or sector) is there or not, in any order; so is a change of the file's length.
- Names that came or went in a folder before its last fsync are as they were; later changes are
  there up to some point. A rename is there whole or not at all.
- Folders themselves are always there.

The machine that comes back says that it was started anew: processes read another boot id.
"""

from __future__ import annotations

import os
import struct
import subprocess
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

_SOURCE = Path(__file__).with_name("recorder.c")

_WRITE, _RESIZE, _SYNC, _NAME, _RENAME, _UNLINK = range(6)
_HEADER = struct.Struct("<QQQqQIII")


class _Record(NamedTuple):
    begun_ns: int
    ended_ns: int
    file: int
    offset: int
    kind: int
    path: str
    other: str
    data: bytes


class _Change(NamedTuple):
    """Of a file: bytes at an offset; or None, and the offset is its new length."""

    ended_ns: int
    offset: int
    data: bytes | None


@dataclass(eq=False)
class _File:
    """What is on disk for certain, and what came after it."""

    content: bytearray = field(default_factory=bytearray)
    later: list[_Change] = field(default_factory=list)

    def sync(self, begun_ns: int) -> None:
        for change in self.later:
            if change.ended_ns < begun_ns:
                _apply(self.content, change)
        self.later = [change for change in self.later if change.ended_ns >= begun_ns]

    def kept(self, dice: Random, share: float, piece: int) -> bytes:
        """With that share of what came after, in pieces of so many bytes."""
        content = bytearray(self.content)
        for change in self.later:
            for part in _pieces(change, piece):
                if dice.random() < share:
                    _apply(content, part)
        return bytes(content)


class _Naming(NamedTuple):
    """A name that came, with its file, perhaps from an older name; or went, without."""

    ended_ns: int
    name: str
    file: _File | None
    old: str = ""


class Disk:
    """The files below a folder, which is empty when this begins."""

    def __init__(self, root: Path, log: Path) -> None:
        """`log` is the folder for what the processes write down."""
        self._root = root
        self._log = log
        log.mkdir()
        self._boot = log.with_name(f"{log.name}.boot")
        self._boot.write_text(f"{uuid.uuid4()}\n")
        self._files: dict[int, _File] = {}
        # As the processes see them, and as they are on disk for certain.
        self._names: dict[str, _File] = {}
        self._certain: dict[str, _File] = {}
        self._later: defaultdict[str, list[_Naming]] = defaultdict(list)

    def environment(self, library: Path) -> dict[str, str]:
        """What processes need to take part."""
        root, log = str(self._root), str(self._log)
        boot = str(self._boot)
        return {
            "LD_PRELOAD": str(library),
            "POWER_ROOT": root,
            "POWER_LOG": log,
            "POWER_BOOT_ID": boot,
        }

    def lose_power(self, dice: Random) -> list[str]:
        """Leave in the folder what the disk has kept. Nobody who writes there is alive.

        Returns what has been lost: names ("-"), and parts of contents ("~").
        """
        for record in _records(self._log):
            self._take(record)
        share, piece = dice.choice((0.0, 0.5, 0.5, 1.0)), dice.choice((512, 4096))
        left = self._names_left(dice)
        contents = {name: file.kept(dice, share, piece) for name, file in left.items()}
        lost = [f"- {name}" for name in self._names.keys() - left.keys()]
        lost += [
            f"~ {name}"
            for name, file in left.items()
            if contents[name] != file.kept(dice, 1, 1 << 30)
        ]
        self._lay(contents)
        self._boot.write_text(f"{uuid.uuid4()}\n")
        return sorted(each.replace(f"{self._root}/", "") for each in lost)

    # ---- what was done

    def _take(self, record: _Record) -> None:
        match record.kind:
            case 0 | 1:
                data = record.data if record.kind == _WRITE else None
                change = _Change(record.ended_ns, record.offset, data)
                self._files.setdefault(record.file, _File()).later.append(change)
            case 2:
                self._sync(record)
            case 3:
                self._come(record)
            case 4:
                self._move(record)
            case _:
                self._go(record)

    def _sync(self, record: _Record) -> None:
        if record.path not in self._later:
            if record.file in self._files:
                self._files[record.file].sync(record.begun_ns)
            return
        namings = self._later[record.path]
        for naming in namings:
            if naming.ended_ns < record.begun_ns:
                _rename(self._certain, naming)
        self._later[record.path] = [each for each in namings if each.ended_ns >= record.begun_ns]

    def _come(self, record: _Record) -> None:
        """A file that was opened so that it exists: it may have existed before."""
        known = self._files.get(record.file)
        if known is not None and self._names.get(record.path) is known:
            return
        # The number of a file that is gone may be given to another one.
        if known is None or known not in self._names.values():
            self._files[record.file] = known = _File()
        self._note(_Naming(record.ended_ns, record.path, known))

    def _move(self, record: _Record) -> None:
        file = self._names.get(record.path)
        if file is not None:
            self._note(_Naming(record.ended_ns, record.other, file, record.path))
            return
        # A folder: all that is in it is found elsewhere from now on.
        for names in (self._names, self._certain):
            for name in [name for name in names if name.startswith(f"{record.path}/")]:
                names[record.other + name.removeprefix(record.path)] = names.pop(name)

    def _go(self, record: _Record) -> None:
        if record.path in self._names:
            self._note(_Naming(record.ended_ns, record.path, None))

    def _note(self, naming: _Naming) -> None:
        _rename(self._names, naming)
        self._later[str(Path(naming.name).parent)].append(naming)

    # ---- what is left

    def _names_left(self, dice: Random) -> dict[str, _File]:
        names = dict(self._certain)
        kept = [
            naming
            for namings in self._later.values()
            for naming in namings[: dice.randint(0, len(namings))]
        ]
        for naming in sorted(kept, key=lambda naming: naming.ended_ns):
            _rename(names, naming)
        return names

    def _lay(self, contents: dict[str, bytes]) -> None:
        """Make the folder so, and begin anew."""
        modes = {str(path): path.lstat().st_mode for path in self._root.rglob("*")}
        for path in self._root.rglob("*"):
            if not path.is_dir() and not path.is_symlink():
                path.unlink()
        for record in self._log.iterdir():
            record.unlink()
        self._later.clear()
        self._files, self._names = {}, {}
        for name, content in contents.items():
            path = Path(name)
            if path.parent.is_dir():
                path.write_bytes(content)
                path.chmod(modes.get(name, 0o600) & 0o777)
                self._names[name] = self._files[path.stat().st_ino] = _File(bytearray(content))
        self._certain = dict(self._names)


def compiled(folder: Path) -> Path:
    """The library that every process loads."""
    library = folder / "recorder.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
    return library


def _rename(names: dict[str, _File], naming: _Naming) -> None:
    if naming.old and names.get(naming.old) is naming.file:
        del names[naming.old]
    if naming.file is None:
        names.pop(naming.name, None)
    else:
        names[naming.name] = naming.file


def _apply(content: bytearray, change: _Change) -> None:
    end = change.offset + len(change.data or b"")
    content.extend(bytes(max(0, end - len(content))))
    if change.data is None:
        del content[change.offset :]
    else:
        content[change.offset : end] = change.data


def _pieces(change: _Change, size: int) -> Iterator[_Change]:
    """The change cut where the file's pieces meet."""
    if change.data is None:
        yield change
        return
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // size + 1) * size)
        data = change.data[start - change.offset : stop - change.offset]
        yield _Change(change.ended_ns, start, data)
        start = stop


def _records(log: Path) -> list[_Record]:
    """All processes', in the order in which the things were done."""
    return sorted(
        (record for path in log.iterdir() for record in _read(path.read_bytes())),
        key=lambda record: record.ended_ns,
    )


def _read(raw: bytes) -> Iterator[_Record]:
    """The records of one process. The last one may be cut off: its process was killed."""
    at = 0
    while at + _HEADER.size <= len(raw):
        begun, ended, file, offset, length, kind, path, other = _HEADER.unpack_from(raw, at)
        parts, at = [], at + _HEADER.size
        for size in (path, other, length):
            parts.append(raw[at : at + size])
            at += size
        if at <= len(raw):
            names = (os.path.normpath(os.fsdecode(each)) if each else "" for each in parts[:2])
            yield _Record(begun, ended, file, offset, kind, *names, parts[2])
