"""A wrong argument is an error at declaration, with a message that says what to do."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import actorq
from actorq import ActorEnvironment, Backoff, DeclarationError, TaskEnvironment
from tests.support.code import tasks


@pytest.mark.parametrize("name", ["", "Upper", "under_score", "-dash", "dash-", "a" * 64, "a.b", "ä", None, "a b"])
def test_names_that_kubernetes_or_rq_could_not_carry_are_refused(name: Any) -> None:
    with pytest.raises(DeclarationError, match="Environment name"):
        ActorEnvironment(name)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("replica_count", 0),
        ("replica_count", True),
        ("replica_count", 1.5),
        ("ttl_seconds", 29),
        ("isolation", "forked"),
        ("isolation", "Reset"),
        ("lease_seconds", 0),
        ("lease_seconds", "10"),
        ("start_method", "threads"),
        ("max_crashes", -1),
        ("max_seconds_per_child", 0),
        ("max_seconds_per_child", "60"),
        ("environment", {"A": 1}),
    ],
)
def test_values_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(DeclarationError, match=option):
        ActorEnvironment("x", **{option: value})


def test_a_misspelt_option_is_refused_with_the_right_one() -> None:
    with pytest.raises(TypeError, match=r"no option 'replicas'\. Did you mean 'replica_count'"):
        ActorEnvironment("x", replicas=3)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(TypeError, match=r"no option 'concurency'\. Did you mean 'concurrency'"):
        TaskEnvironment("x", concurency=3)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(TypeError, match=r"no option 'retry'\. Did you mean 'retries'"):
        tasks.plain.task(retry=3)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(TypeError, match=r"no option 'xyz'\. It has: retries, "):
        tasks.plain.task(xyz=3)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(TypeError, match=r"^map\(\) has no option 'chunksize'\. It has: kwargs, "):
        tasks.double.map([1], chunksize=3)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(TypeError, match=r"^starmap\(\) has no option 'time_out'\. Did you mean 'timeout'"):
        tasks.double.starmap([(1,)], time_out=3)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(TypeError, match=r"^spawn_map\(\) has no option 'result_tll'\. Did you mean 'result_ttl'"):
        tasks.double.spawn_map([1], result_tll=3)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(TypeError, match=r"^spawn_map\(\) has no option 'name'\. It has: (?!.*max_outstanding)"):
        tasks.double.spawn_map([1], name="job")  # type: ignore[call-arg]  # on purpose
    with pytest.raises(TypeError, match=r"^spawn_map\(\) has no option 'x'; as an argument .* kwargs=\{'x': "):
        tasks.double.spawn_map([1], x=3)  # type: ignore[call-arg]  # on purpose


@pytest.mark.parametrize(
    ("option", "value"), [("retries", -1), ("retries", 1.5), ("timeout", 0), ("timeout", -1), ("retry_delay", -1)]
)
def test_task_options_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(DeclarationError, match=option):
        tasks.plain.task(**{option: value})


@pytest.mark.parametrize(
    "option",
    [
        {"min_success_ratio": 1.1},
        {"min_successes": -1},
        {"max_failures": 1.5},
        {"concurrency": 0},
        {"max_outstanding": 0},
        {"timeout": 0},
        {"map_id": "a b"},
    ],
)
def test_map_options_out_of_range_are_refused(option: Any) -> None:
    with pytest.raises(DeclarationError, match=next(iter(option))):
        tasks.double.map([1], **option)


def test_what_is_no_iterable_is_refused() -> None:
    with pytest.raises(DeclarationError, match="not an iterable"):
        tasks.add.map([1], 2)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(DeclarationError, match="at least one"):
        tasks.add.map()


def test_functions_a_replica_could_not_find_are_refused() -> None:
    env = ActorEnvironment("declared-here")

    def inner() -> None: ...

    with pytest.raises(DeclarationError, match="inside a function"):
        env.task(inner)
    with pytest.raises(DeclarationError, match="function"):
        env.task(len)


def test_map_needs_a_task() -> None:
    with pytest.raises(DeclarationError, match="needs a task"):
        actorq.map(len, [1])  # type: ignore[call-overload]  # on purpose
    with pytest.raises(DeclarationError, match="keyword arguments only"):
        actorq.map(functools.partial(tasks.add, 1), [1])


def test_backoff_grows_to_its_cap() -> None:
    backoff = Backoff(base=1, factor=2, cap=5, jitter=False)
    assert [backoff.delay(n) for n in (1, 2, 3, 4, 1000)] == [1, 2, 4, 5, 5]
    with pytest.raises(DeclarationError):
        Backoff(factor=0.5)


def test_task_environments_check_their_options_too() -> None:
    with pytest.raises(DeclarationError, match="concurrency"):
        TaskEnvironment("x", concurrency=0)


def test_the_public_surface_is_small_and_documented() -> None:
    assert len(actorq.__all__) <= 30
    assert all(getattr(actorq, name).__doc__ for name in actorq.__all__)


def test_a_hook_that_needs_arguments_is_refused() -> None:
    environment = ActorEnvironment("hooks-needs")

    def needs(x: int) -> None: ...

    for decorator in (environment.on_start, environment.on_exit):
        with pytest.raises(DeclarationError, match="called without arguments"):
            decorator(needs)  # type: ignore[type-var]  # on purpose
        with pytest.raises(DeclarationError, match="needs a function"):
            decorator(3)  # type: ignore[type-var]  # on purpose


def test_a_hook_that_would_do_nothing_is_refused() -> None:
    def generator() -> Any:
        yield 1

    with pytest.raises(DeclarationError, match="generator"):
        ActorEnvironment("hooks-idle").on_start(generator)


def test_a_prewarm_that_cannot_be_called_is_refused_at_once() -> None:
    environment = ActorEnvironment("hooks-unbound")
    with pytest.raises(DeclarationError, match=r"prewarm: loaded.*missing a required argument: 'name'"):
        environment.prewarm(tasks.loaded)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(DeclarationError, match="unexpected keyword argument 'nmae'"):
        environment.prewarm(tasks.loaded, "x", nmae="x")  # type: ignore[call-arg]  # on purpose
    environment.prewarm(tasks.loaded, name="x")
    environment.prewarm(dict)
    assert len(environment.at_start) == 2


def test_a_hook_is_still_the_function_that_it_was() -> None:
    environment = ActorEnvironment("hooks-kept")

    @environment.on_start
    def begin() -> int:
        return 7

    assert begin() == 7
    assert environment.modules == {__name__}


def test_dir_shows_what_users_use() -> None:
    assert dir(tasks.double) == [
        "environment",
        "function",
        "map",
        "name",
        "options",
        "remote",
        "spawn",
        "spawn_map",
        "starmap",
        "submit",
    ]
    shown = dir(tasks.plain)
    assert {"task", "up", "down", "scale", "status", "on_start", "on_exit", "prewarm", "replica_count"} <= set(shown)
    assert not {"modules", "warm", "hook_modules", "of", "_declared"} & set(shown)


def test_everything_that_is_public_is_there() -> None:
    import actorq

    for name in actorq.__all__:
        assert getattr(actorq, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        actorq.nothing  # noqa: B018 - what is asked for
