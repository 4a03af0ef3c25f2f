"""What killed ranks leave in shared memory."""

from __future__ import annotations

import mmap
from pathlib import Path

from gridloom.worker.mpi.leftovers import free_shared_memory


def test_segments_that_nobody_uses_go_and_others_stay(tmp_path):
    for name in ("mpich_shm_1_0", "mpich_shm_2_0", "sem.other"):
        (tmp_path / name).touch()
    freed = free_shared_memory(tmp_path, lambda: frozenset({"mpich_shm_2_0"}))
    assert freed == ["mpich_shm_1_0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mpich_shm_2_0", "sem.other"]


def test_a_segment_that_a_world_takes_up_meanwhile_stays(tmp_path):
    (tmp_path / "mpich_shm_1_0").touch()
    looks = iter([frozenset(), frozenset({"mpich_shm_1_0"})])
    assert free_shared_memory(tmp_path, lambda: next(looks)) == []


def test_what_a_process_maps_is_in_use():
    path = Path("/dev/shm/mpich_shm_of_a_test")
    path.write_bytes(b"x" * 4096)
    try:
        with path.open("r+b") as file:
            mapped = mmap.mmap(file.fileno(), 4096)
        assert path.name not in free_shared_memory()
        mapped.close()
        assert path.name in free_shared_memory()
    finally:
        path.unlink(missing_ok=True)
