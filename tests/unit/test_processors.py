"""What a replica is given of the processors and the GPUs of its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actorq import ActorEnvironment
from actorq.errors import DeclarationError
from actorq.replica.start import gpus, processors


def _root(folder: Path, cgroup: str, **files: str) -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name.replace("__", "/").replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu_max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu_max": "250000 100000\n"}, 2.5),
        ("0::/a/b\n", {"a__cpu_max": "400000 100000", "a__b__cpu_max": "max 100000"}, 4),
        ("0::/of/the/host\n", {"cpu_max": "300000 100000"}, 3),
        ("4:cpu,cpuacct:/a\n", {"cpu__a__cpu_cfs_quota_us": "150000", "cpu__a__cpu_cfs_period_us": "100000"}, 1.5),
        ("4:cpu,cpuacct:/a\n", {"cpu__a__cpu_cfs_quota_us": "-1", "cpu__a__cpu_cfs_period_us": "100000"}, 16),
        ("0::/\n", {}, 16),
    ],
)
def test_the_quota_of_every_control_group_counts(
    tmp_path: Path, cgroup: str, files: dict[str, str], expected: float
) -> None:
    assert processors.available(_root(tmp_path, cgroup, **files)) == expected


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(("replicas", "threads"), [(1, 16), (3, 5), (16, 1), (40, 1)])
def test_replicas_share_the_processors_and_each_has_one_at_least(tmp_path: Path, replicas: int, threads: int) -> None:
    assert processors.share(replicas, tmp_path) == threads


def test_what_the_user_has_set_stays_also_for_the_libraries_that_follow_it() -> None:
    assert "OPENBLAS_NUM_THREADS" not in processors.missing(2, {"OMP_NUM_THREADS": "8"})
    assert processors.missing(2, {"OMP_NUM_THREADS": "8"})["POLARS_MAX_THREADS"] == "2"
    assert "MKL_NUM_THREADS" not in processors.missing(2, {"MKL_NUM_THREADS": "8"})
    assert set(processors.missing(2, {})) == processors.VARIABLES


def test_the_gpus_are_those_that_the_process_sees(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus.there({}, tmp_path) == ["0", "2", "10"]
    assert gpus.there({"CUDA_VISIBLE_DEVICES": "GPU-a, GPU-b"}, tmp_path) == ["GPU-a", "GPU-b"]
    assert gpus.there({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []


@pytest.mark.parametrize(
    ("each", "expected"), [(1, "0 1 2 3"), (2, "0,1 2,3"), (0.5, "0 0 1 1 2 2 3 3"), (1 / 3, "0 0 0 1 1 1 2 2 2 3 3 3")]
)
def test_each_replica_gets_its_gpus_or_its_part_of_one(each: float, expected: str) -> None:
    groups = expected.split()
    assert [",".join(gpus.dealt(list("0123"), each, replica)) for replica in range(len(groups))] == groups
    assert gpus.needed(each, len(groups)) == 4


@pytest.mark.parametrize("value", [0, -1, 1.5, 0.4, True, "1"])
def test_a_number_of_gpus_that_cannot_be_dealt_is_an_error(value: float) -> None:
    with pytest.raises(DeclarationError, match="gpus="):
        ActorEnvironment("dealing", gpus=value)
