"""Replicas share the processors and the GPUs of their machine: what the children see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actorq.replica.start import processors
from tests.conftest import run_script

_NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "CUDA_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*processors.VARIABLES, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def _seen(folder: Path, options: str, **variables: str) -> list[dict[str, str | int | None]]:
    """What each replica saw when the task's module was imported there, and what PyTorch was told."""
    (folder / "torch.py").write_text("told = None\ndef set_num_threads(n):\n    global told\n    told = n\n")
    said = run_script(
        folder,
        f"""
        import json, os, threading, time
        from pathlib import Path
        from actorq import ActorEnvironment
        import torch

        at_import = {{name: os.environ.get(name) for name in {_NAMES}}}
        env = ActorEnvironment("sharing", {options})


        @env.task
        def see(folder):
            Path(folder, str(os.getpid())).touch()
            while len(list(Path(folder).iterdir())) < env.replica_count:
                time.sleep(0.005)
            now = {{name: os.environ.get(name) for name in {_NAMES}}}
            return {{**now, "at_import": at_import["OMP_NUM_THREADS"], "torch": torch.told}}


        if __name__ == "__main__":
            import tempfile
            with tempfile.TemporaryDirectory() as folder:
                print(json.dumps(list(see.map([folder] * env.replica_count))))
        """,
        **variables,
    )
    (line,) = [line for line in said.splitlines() if line.startswith("[{")] or [pytest.fail(said)]
    found: list[dict[str, str | int | None]] = json.loads(line)
    return found


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_libraries_start_as_many_threads_as_the_replica_has_processors(tmp_path: Path, method: str) -> None:
    share = str(processors.share(2))
    for seen in _seen(tmp_path, f"replica_count=2, start_method={method!r}"):
        assert (seen["OMP_NUM_THREADS"], seen["OPENBLAS_NUM_THREADS"], seen["at_import"]) == (share, share, share)
        assert seen["torch"] == (int(share) if method == "fork" else None)


def test_the_environment_may_say_another_number(tmp_path: Path) -> None:
    (seen,) = _seen(tmp_path, "threads=3")
    assert (seen["OMP_NUM_THREADS"], seen["POLARS_MAX_THREADS"], seen["torch"]) == ("3", "3", 3)
    assert seen["at_import"] == "3"


def test_what_the_user_has_set_goes_before_it(tmp_path: Path) -> None:
    (seen,) = _seen(tmp_path, "threads=3", OMP_NUM_THREADS="7")
    assert (seen["OMP_NUM_THREADS"], seen["OPENBLAS_NUM_THREADS"], seen["torch"]) == ("7", None, None)
    assert seen["POLARS_MAX_THREADS"] == "3"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_each_replica_sees_the_gpus_that_it_is_dealt(tmp_path: Path, method: str) -> None:
    options = f"replica_count=4, gpus=0.5, start_method={method!r}"
    seen = _seen(tmp_path, options, CUDA_VISIBLE_DEVICES="4,GPU-x,6")
    assert sorted(str(one["CUDA_VISIBLE_DEVICES"]) for one in seen) == ["4", "4", "GPU-x", "GPU-x"]


def test_gpus_that_are_not_there_are_told_before_anything_runs(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        from actorq import ActorEnvironment
        env = ActorEnvironment("sharing", replica_count=3, gpus=1)


        @env.task
        def same(x):
            return x


        if __name__ == "__main__":
            same.remote(1)
        """,
        CUDA_VISIBLE_DEVICES="0",
    )
    assert "need 3 GPUs, and here are 1" in said
