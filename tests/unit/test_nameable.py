"""Data may hold objects of classes that the tasks' own code could have named, and of no others."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import run_script


def test_only_what_the_tasks_code_imports_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import numpy\n")
    printed = run_script(
        tmp_path,
        """
        import helper
        from actorq import ActorEnvironment

        env = ActorEnvironment("x")

        @env.task
        def f(x):
            import yaml
            return x

        def look():
            import importlib
            from actorq.wire.nameable import may_be_named

            for module in ("script", "__main__", "helper", "numpy.linalg", "yaml", "json.decoder", "builtins"):
                assert may_be_named(module), module
            for module in ("psutil", "msgpack", "redis.client", "rq.job", "actorq.broker.keys", "pydantic"):
                importlib.import_module(module)  # by nobody's code
                assert not may_be_named(module), module
            helper.later = importlib.import_module("psutil")
            importlib.import_module("colorsys")
            assert may_be_named("psutil._common")
            print("as it should be")

        look()
        """,
    )
    assert printed == "as it should be\n"


def test_a_worker_whose_script_is_the_command_may_not_be_told_names_of_actorq(tmp_path: Path) -> None:
    printed = run_script(
        tmp_path,
        """
        import sys
        from types import SimpleNamespace
        sys.modules["__main__"].__spec__ = SimpleNamespace(name="actorq.cli.__main__")
        from actorq.wire.nameable import may_be_named
        print(may_be_named("actorq.broker.keys"), may_be_named("actorq.errors"))
        """,
    )
    assert printed == "False True\n"
