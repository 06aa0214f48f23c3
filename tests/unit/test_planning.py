"""Plans: the model agrees with what was measured elsewhere, with arithmetic, and with itself."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from actorq.base.amounts import counted
from actorq.cli.main import main
from actorq.errors import DeclarationError
from actorq.planning.picture import drawn
from actorq.planning.plan import plan
from actorq.planning.simulation import actors, most_replicas, regular
from actorq.planning.work import Place, Work

# Published figures of another platform, for 1,000 inputs: a pod for each, as many at a time as replicas, and replicas.
# The constants of the place are fitted, each table's by itself; each input takes 0.3 s of that platform's queue.
HELLO = Place(start=28.0, between=1.9, pods_per_second=12.0)
NAPS = Place(start=19.2, between=26.5, pods_per_second=6.67)


def within(share: float, expected: float) -> object:
    return pytest.approx(expected, rel=share)


@pytest.mark.parametrize(
    ("place", "seconds", "at_once", "unbound", "bounded", "replicas"),
    [(HELLO, 0.0, 25, 111, 1195, 42), (NAPS, 5.0, 100, 174, 507, 87)],
    ids=["hello", "naps"],
)
def test_the_model_tells_the_tables_that_were_published(
    place: Place, seconds: float, at_once: int, unbound: float, bounded: float, replicas: float
) -> None:
    work = Work(inputs=1000, seconds=seconds)
    assert regular(work, place).seconds == within(0.03, unbound)
    assert regular(work, place, at_once).seconds == within(0.03, bounded)
    assert actors(replace(work, seconds=seconds + 0.3), place, at_once).seconds == within(0.06, replicas)


def test_replicas_that_are_never_idle_take_what_their_inputs_take() -> None:
    outcome = actors(Work(inputs=10_000, seconds=1.0), Place(), 100, warm=True)
    assert outcome.seconds == within(0.01, 100)
    assert (outcome.pods, outcome.loads) == (100, 0)


def test_each_pod_of_a_regular_task_starts_and_loads() -> None:
    outcome = regular(Work(inputs=100, seconds=1.0, load=4.0), Place(start=5.0), at_once=10)
    assert outcome.pod_seconds == 100 * (5 + 4 + 1)
    assert outcome.loads == 100
    assert outcome.seconds == within(0.03, 10 * (5 + 4 + 1 + 2))


def test_without_affinity_a_thing_that_is_not_held_is_loaded_each_time() -> None:
    """As measured: 5,000 inputs of 64 models on 8 replicas that hold 8 each."""
    work = Work(inputs=5000, seconds=0.01, load=0.1, keys=64, holds=8)
    assert actors(work, Place(), 8).loads == within(0.02, 4400)
    assert actors(work, Place(), 8, affinity=True).loads == within(0.02, 75)
    assert actors(work, Place(), 8, affinity=True).seconds < actors(work, Place(), 8).seconds / 3


@given(
    st.integers(1, 50_000),
    st.floats(1e-7, 1000, allow_nan=False),
    st.floats(0, 3),
    st.integers(1, 200),
    st.booleans(),
)
def test_a_plan_is_never_faster_than_the_work(
    inputs: int, seconds: float, spread: float, replicas: int, warm: bool
) -> None:
    work = Work(inputs=inputs, seconds=seconds, spread=spread)
    outcome = actors(work, Place(), replicas, warm=warm)
    if not spread:
        assert outcome.seconds >= 0.999 * inputs * seconds / replicas
    assert 0 < outcome.pod_seconds <= replicas * outcome.seconds * 1.0001
    assert regular(work, Place(), replicas).seconds > 0


@pytest.mark.parametrize("seconds", [0.0001, 0.01, 1.0])
def test_ten_thousand_replicas_and_a_thousand_million_inputs_are_planned(seconds: float) -> None:
    outcome = actors(Work(inputs=10**9, seconds=seconds), Place(), 10_000, warm=True)
    assert outcome.seconds >= 10**9 * max(seconds / 10_000, Place().input)
    assert outcome.seconds == within(0.5, 10**9 * max(seconds / 10_000, Place().input))


def test_what_is_too_long_to_be_simulated_goes_on_at_its_rate() -> None:
    few, many = (actors(Work(inputs=n, seconds=0.5), Place(), 10, warm=True).seconds for n in (20_000, 2_000_000))
    assert many == within(0.01, 100 * few)


def test_one_server_bounds_the_replicas_that_tiny_inputs_keep_busy() -> None:
    assert most_replicas(Work(inputs=10**9, seconds=1e-5), Place()) < most_replicas(
        Work(inputs=10**9, seconds=1e-2), Place()
    )


# -- advice ------------------------------------------------------------------------------------------------------------


def advice(inputs: int, seconds: float, replicas: int | None = None, **more: float) -> str:
    load, keys, holds = more.get("load", 0.0), int(more.get("keys", 1)), more.get("holds")
    work = Work(inputs=inputs, seconds=seconds, load=load, keys=keys, holds=None if holds is None else int(holds))
    return " ".join(plan(work, Place(), replicas=replicas).advice)


def test_actors_are_advised_where_starts_are_most_of_the_work() -> None:
    assert advice(2000, 0.1).startswith("Use actors:")


def test_regular_tasks_are_advised_where_an_input_takes_much_longer_than_a_start() -> None:
    told = advice(2000, 300.0, 50)
    assert told.startswith("Do not use actors for their speed: a fresh pod is 3% of what an input takes.")
    assert "Regular tasks without a bound are done sooner (8.5 min)" in told


def test_actors_are_advised_where_a_cluster_makes_pods_slowly() -> None:
    made = plan(Work(inputs=1000, seconds=3.0), Place(start=0.0, between=0.0))
    assert made.advice[0].startswith("Use actors to be done sooner:")
    assert "Regular tasks take 3.9 times as long" in made.advice[0]
    made = plan(Work(inputs=100_000, seconds=100.0), Place(pods_per_second=1.0))
    assert "Regular tasks take 1.2 times their pod-hours." in made.advice[0]


def test_one_of_a_thing_is_told_as_one() -> None:
    assert "for 1 input, 1 replica are" in advice(1, 3.0)


def test_no_map_has_more_loads_than_inputs() -> None:
    work = Work(inputs=3, seconds=3.0, load=20.0, keys=64, holds=8)
    for replicas in (1, 5, 10):
        few = actors(work, Place(), replicas, affinity=True)
        assert few.loads <= 3
        assert few.seconds < 200
    assert actors(work, Place(), 10, affinity=True).seconds <= actors(work, Place(), 5, affinity=True).seconds + 1


def test_as_many_replicas_as_inputs_save_nothing() -> None:
    assert "for 10 inputs, 10 replicas are as many pods as regular tasks start, or more" in advice(10, 5.0, 10)


def test_affinity_is_advised_where_it_saves_loads_and_too_few_replicas_are_told() -> None:
    told = advice(5000, 0.5, 4, load=10.0, keys=64, holds=8)
    assert "Declare affinity=:" in told
    assert "4 replicas hold 32 of 64 things: 8 would hold all." in told


def test_the_replicas_that_are_worth_it_are_fewer_than_those_that_save_next_to_nothing() -> None:
    made = plan(Work(inputs=1000, seconds=5.0), Place())
    times = {count: outcome.seconds for count, outcome in made.by_replicas}
    assert 100 <= made.replicas <= 300
    assert times[made.replicas] < 1.2 * min(times.values())


def test_a_deadline_is_met_by_as_few_replicas_as_can() -> None:
    made = plan(Work(inputs=1000, seconds=3.0), Place(), deadline=50.0)
    times = {count: outcome.seconds for count, outcome in made.by_replicas}
    assert made.replicas == 89
    assert times[89] <= 50
    assert all(seconds > 50 for count, seconds in times.items() if count < 89)
    assert plan(Work(inputs=7, seconds=100.0), Place(), deadline=115.0).replicas == 7


def test_a_deadline_that_cannot_be_met_is_told() -> None:
    with pytest.raises(DeclarationError, match=r"No number of replicas is done in 5 s: 300 replicas would take 44 s"):
        plan(Work(inputs=1000, seconds=5.0), Place(), deadline=5.0)


def test_a_picture_is_xml_that_says_what_it_shows() -> None:
    for inputs, seconds in ((1, 0.0), (2000, 3.0), (10**9, 1e-4)):
        made = plan(Work(inputs=inputs, seconds=seconds), Place())
        root = ET.fromstring(drawn(made))
        assert f"{counted(made.replicas, 'replica')}:" in root.attrib["aria-label"]


# -- the command -------------------------------------------------------------------------------------------------------


def actorq(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["plan", *arguments])


def test_the_command_prints_the_ways_their_cost_and_advice() -> None:
    told = actorq("1000", "--seconds", "0.5", "--replicas", "20", "--price", "2")
    assert told.exit_code == 0, told.output
    assert "COST" in told.output
    assert "actors that run already" in told.output
    assert "- Use actors: 20 replicas start once, where 1,000 pods would." in told.output


def test_the_command_tells_programs_the_same() -> None:
    told = json.loads(actorq("1000", "--seconds", "0.5", "--start", "3", "--price", "2", "-o", "json").output)
    assert told["place"]["start"] == 3
    assert {way["at_once"] for way in told["ways"]} == {None, told["replicas"]}
    for outcome in (*told["ways"], *told["by_replicas"]):
        assert outcome["cost"] == pytest.approx(2 * outcome["pod_seconds"] / 3600)


def test_the_command_draws_a_picture(tmp_path: Path) -> None:
    assert actorq("1000", "--seconds", "0.5", "--picture", str(tmp_path / "plan.svg")).exit_code == 0
    assert "<svg" in (tmp_path / "plan.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--seconds", "nan"), "nan is no number"),
        (("--seconds", "inf"), "not in the range"),
        (("--seconds", "1", "--spread", "1e300"), "not in the range"),
        (("--seconds", "1", "--pods-per-second", "inf"), "not in the range"),
        (("--seconds", "1", "--deadline", "0"), "not in the range"),
        (("--seconds", "1", "--deadline", "1", "--replicas", "3"), "give that, or --replicas"),
        (("--seconds", "1", "--picture", "/nonexistent/plan.svg"), "cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_sentence(arguments: tuple[str, ...], told: str) -> None:
    done = actorq("100", *arguments)
    assert (done.exit_code, told in done.output) == (2, True), done.output


def test_odd_samples_are_told(tmp_path: Path) -> None:
    (tmp_path / "odd_sample.py").write_text(
        "import asyncio\nfrom actorq import ActorEnvironment\nenv = ActorEnvironment('odd-sample')\n"
        "@env.task\nasync def waits(x):\n    await asyncio.sleep(0.02)\n"
        "@env.task\ndef raises(x):\n    raise KeyError(x)\n"
        "@env.task\ndef ends(x):\n    raise SystemExit(3)\n"
    )
    rows = tmp_path / "rows.jsonl"
    rows.write_text("1\n2\n3\n")

    def sampled(name: str) -> Result:
        return actorq("100", "--sample", f"{tmp_path / 'odd_sample.py'}:{name}", "--rows", str(rows), "-o", "json")

    assert json.loads(sampled("waits").stdout)["work"]["seconds"] >= 0.02
    assert "The sample failed at row 1 of" in str(sampled("raises").exception)
    assert "wanted to end the program at row 1 of" in str(sampled("ends").exception)


def test_a_sample_tells_how_long_inputs_take_and_what_the_first_loads(tmp_path: Path) -> None:
    (tmp_path / "sampled_task.py").write_text(
        "import time\nfrom actorq import ActorEnvironment, actor_cache\n"
        "env = ActorEnvironment('sampled')\n"
        "@actor_cache\ndef model():\n    time.sleep(0.2)\n    return 1\n"
        "@env.task\ndef nap(x):\n    model()\n    time.sleep(x)\n"
    )
    rows = tmp_path / "rows.jsonl"
    rows.write_text("0.01\n0.01\n0.01\n")
    target = f"{tmp_path / 'sampled_task.py'}:nap"
    told = CliRunner().invoke(main, ["plan", "100", "--sample", target, "--rows", str(rows), "-o", "json"])
    work = json.loads(told.stdout)["work"]
    assert work["seconds"] == pytest.approx(0.01, rel=1)
    assert work["load"] == pytest.approx(0.2, rel=0.5)
    rows.write_text("0.01\n")
    assert "fewer than two rows" in actorq("100", "--sample", target, "--rows", str(rows)).output
    assert "--sample needs --rows" in actorq("100", "--sample", target).output


def test_the_command_asks_for_what_nobody_can_guess() -> None:
    told = actorq("1000")
    assert told.exit_code == 2
    assert "Give --seconds, or --sample and --rows." in told.output
