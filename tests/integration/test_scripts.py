"""Scripts as a newcomer writes them: run, interrupt, kill; nothing may stay behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import eventually

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def start(script: Path, *args: str, module: bool = False) -> subprocess.Popen[str]:
    target = ["-m", script.stem] if module else [str(script)]
    return subprocess.Popen(
        [sys.executable, *target, *args],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(script: Path, *args: str, module: bool = False) -> str:
    process = start(script, *args, module=module)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    return out


GUARDED = """
    import actorq
    env = actorq.ActorEnvironment("script", replica_count=2)
    @env.task
    def square(x: int) -> int:
        return x * x
    if __name__ == "__main__":
        print(list(square.map(range(5))))
"""


def test_a_task_may_be_declared_in_the_script(folder: Path) -> None:
    script = write(folder, "script.py", GUARDED)
    assert run(script) == "[0, 1, 4, 9, 16]\n"
    assert run(script, module=True) == "[0, 1, 4, 9, 16]\n"


def test_a_script_needs_no_main_guard(folder: Path) -> None:
    script = write(folder, "bare.py", GUARDED.replace('    if __name__ == "__main__":\n    ', ""))
    assert "[0, 1, 4, 9, 16]" in run(script)


def test_a_task_may_be_declared_beside_the_script(folder: Path) -> None:
    write(folder, "beside.py", GUARDED)
    script = write(folder, "main.py", "from beside import square\nprint(list(square.map([3])), square.remote(4))\n")
    assert run(script) == "[9] 16\n"


def test_a_task_may_be_declared_in_a_package(folder: Path) -> None:
    (folder / "pack").mkdir()
    write(folder / "pack", "__init__.py", "")
    write(folder / "pack", "work.py", GUARDED)
    script = write(folder, "main.py", "from pack.work import square\nprint(list(square.map([3])))\n")
    assert run(script) == "[9]\n"


def test_classes_of_the_script_travel_both_ways(folder: Path) -> None:
    script = write(
        folder,
        "classes.py",
        """
        import dataclasses, enum
        import actorq
        env = actorq.ActorEnvironment("classes")
        class Colour(enum.Enum):
            RED = 1
        @dataclasses.dataclass(frozen=True)
        class Point:
            x: int
            colour: Colour
        class Odd(Exception):
            pass
        @env.task
        def move(p: Point) -> Point:
            if p.x > 5:
                raise Odd("far")
            return dataclasses.replace(p, x=p.x + 1)
        if __name__ == "__main__":
            print(move.remote(Point(1, Colour.RED)) == Point(2, Colour.RED))
            try:
                move.remote(Point(9, Colour.RED))
            except Odd as error:
                print("Odd", error)
        """,
    )
    assert run(script) == "True\nOdd far\n"


def test_an_import_error_of_the_tasks_module_is_shown(folder: Path) -> None:
    script = write(
        folder,
        "broken.py",
        """
        import sys
        import actorq
        env = actorq.ActorEnvironment("broken")
        if __name__ != "__main__":
            import no_such_module_anywhere
        @env.task
        def f(x): return x
        if __name__ == "__main__":
            try:
                f.remote(1)
            except actorq.PoolError as error:
                print("no_such_module_anywhere" in str(error))
        """,
    )
    assert run(script) == "True\n"


def test_what_tasks_print_is_there_before_their_map_has_ended(folder: Path) -> None:
    script = write(
        folder,
        "prints.py",
        """
        import os
        import actorq
        env = actorq.ActorEnvironment("prints", replica_count=2)
        @env.task
        def loud(x: int) -> int:
            print("input", x)
            return x
        if __name__ == "__main__":
            assert list(loud.map(range(40))) == list(range(40))
            os.killpg(os.getpgid(0), 9)
        """,
    )
    # unbuffered, Python writes a line in pieces, and those of two replicas mix
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**buffered, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out, _ = process.communicate(timeout=40)
    assert sorted(out.splitlines()) == sorted(f"input {x}" for x in range(40))


SLOW = """
    import time
    import actorq
    env = actorq.ActorEnvironment("slow", replica_count=2)
    @env.task
    def slow(x: int) -> int:
        time.sleep(0.2)
        return x
    if __name__ == "__main__":
        for y in slow.map(range(10_000)):
            print(y, flush=True)
"""


@pytest.fixture
def slow_script(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A script in the middle of a map, and all processes below it."""
    process = start(write(folder, "slow.py", SLOW))
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 5  # server guard, server, supervisor, zygote, executors
    yield process, family
    process.kill()
    process.communicate()


def all_gone(family: list[psutil.Process]) -> bool:
    return not any(map(_lives, family))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def test_ctrl_c_ends_the_script_and_all_its_processes(
    slow_script: tuple[subprocess.Popen[str], list[psutil.Process]],
) -> None:
    process, family = slow_script
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    assert err.count("Traceback") == 1
    assert eventually(lambda: all_gone(family)), family


def test_a_killed_script_leaves_no_process(slow_script: tuple[subprocess.Popen[str], list[psutil.Process]]) -> None:
    process, family = slow_script
    process.kill()
    assert eventually(lambda: all_gone(family)), family


def test_a_terminated_script_leaves_no_process(slow_script: tuple[subprocess.Popen[str], list[psutil.Process]]) -> None:
    process, family = slow_script
    process.terminate()
    assert eventually(lambda: all_gone(family)), family


def test_a_pool_that_was_killed_is_an_error_of_the_map(
    slow_script: tuple[subprocess.Popen[str], list[psutil.Process]],
) -> None:
    process, family = slow_script
    supervisor = next(
        p for p in family if "actorq.replica.supervisor.local_pool" in " ".join(p.cmdline()) and p.children()
    )
    supervisor.kill()
    started = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert "PoolError" in err
    assert time.monotonic() - started < 20
    assert eventually(lambda: all_gone(family)), family


def test_calls_that_were_submitted_are_finished_at_exit(folder: Path) -> None:
    script = write(
        folder,
        "leaves.py",
        """
        import time, pathlib, sys
        import actorq
        env = actorq.ActorEnvironment("leaves")
        @env.task
        def touch(path: str) -> None:
            time.sleep(0.5)
            pathlib.Path(path).touch()
        if __name__ == "__main__":
            touch.submit(sys.argv[1])
        """,
    )
    run(script, str(folder / "done"))
    assert (folder / "done").exists()


def test_an_executor_that_is_slow_to_begin_does_not_outlive_its_program(folder: Path) -> None:
    """A library's handler holds up the fork until the zygote has ended; then the child's parent is another process."""
    script = write(
        folder,
        "slow_fork.py",
        """
        import os, pathlib, sys, time
        import actorq
        env = actorq.ActorEnvironment("slow-fork", replica_count=4)
        def hold() -> None:
            with (pathlib.Path(__file__).parent / "pids").open("a") as file:
                file.write(f"{os.getpid()} ")
            if int((pathlib.Path(__file__).parent / "pids").read_text().split()[0]) != os.getpid():
                time.sleep(1.0)
        if os.environ.get("ACTORQ_OWNED"):
            os.register_at_fork(after_in_child=hold)
        @env.task
        def f(x: int) -> int:
            return x + 1
        if __name__ == "__main__":
            print(f.remote(1))
        """,
    )
    assert run(script) == "2\n"
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    assert len(pids) > 1
    assert eventually(lambda: not [pid for pid in pids if psutil.pid_exists(pid)])


def test_ctrl_c_while_a_program_ends_is_quiet_and_leaves_nothing(folder: Path) -> None:
    script = write(
        folder,
        "ending.py",
        """
        import pathlib, time
        import actorq
        env = actorq.ActorEnvironment("ending")
        @env.on_exit
        def hook() -> None:
            (pathlib.Path(__file__).parent / "hook").touch()
            time.sleep(4)
        @env.task
        def f(x: int) -> int:
            return x
        if __name__ == "__main__":
            f.remote(1)
            print("ends", flush=True)
        """,
    )
    process = start(script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ends\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert eventually((folder / "hook").exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "Exception ignored" not in err
    assert "Traceback" not in err
    assert eventually(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])


def test_import_is_light() -> None:
    heavy = ["redis", "rq", "kubernetes", "rich", "structlog", "numpy", "asyncio.subprocess", "fastapi"]
    code = f"import sys, actorq; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_ROOT)
    assert done.stdout == "[]\n"


def test_maps_and_calls_of_local_replicas_are_light(folder: Path) -> None:
    """What takes long to import is for other servers, for coroutines, and for a supervisor whose replicas serve."""
    script = write(
        folder,
        "light.py",
        """
        import sys
        import actorq
        env = actorq.ActorEnvironment("light", isolation="none")
        HEAVY = ["redis", "rq", "asyncio", "ssl"]
        @env.task
        def imported(_: int) -> list[str]:
            return [name for name in HEAVY if name in sys.modules]
        if __name__ == "__main__":
            print(imported.remote(0), *imported.map([1]), imported(2))
        """,
    )
    assert run(script) == "[] [] []\n"
