"""`@actor_cache`: which edits of the code a value survives, and which not."""

from __future__ import annotations

import pytest

from tests.support.edited_project import Project

BEFORE = "import functools, aq_beside\nfrom actorq import actor_cache\n"


def is_kept(project: Project, text: str, old: str, new: str, call: str = "load()", **beside: str) -> bool:
    """Whether what `text` with `old` in it has loaded is found by the same with `new`."""
    project.write(aq_beside="", **beside)
    first = project.load(aq_job=BEFORE + text.replace("EDIT", old))
    value = eval(call, vars(first))
    second = project.load(aq_job=BEFORE + text.replace("EDIT", new))
    return eval(call, vars(second)) is value


EDITS = {
    "its own code": ("def load():\n    return [EDIT]", "1", "2"),
    "a default argument": ("def load(x=EDIT):\n    return [x]", "1", "2"),
    "a nested function": ("def load():\n    return [(lambda: EDIT)()]", "1", "2"),
    "what it catches": (
        "def load():\n    try:\n        a = [1]\n        EDIT\n    except OSError: pass\n    return a",
        "b = [2]",
        "b = (2,)",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_of_the_function_is_seen(project: Project, what: str) -> None:
    text, old, new = EDITS[what]
    assert not is_kept(project, f"@actor_cache\n{text}", old, new)
    assert is_kept(project, f"@actor_cache\n{text}", old, old)


USED = {
    "a helper": "def helper():\n    return EDIT\n",
    "a default of a helper": "def helper(x=EDIT):\n    return x\n",
    "a helper of a helper": "def other():\n    return EDIT\ndef helper():\n    return other()\n",
    "a decorated helper": "@functools.lru_cache\ndef helper():\n    return EDIT\n",
    "a helper behind a decorator": (
        "def deco(f):\n    def call():\n        return f()\n    return call\n@deco\ndef helper():\n    return EDIT\n"
    ),
    "a cached helper": "@actor_cache\ndef helper():\n    return EDIT\n",
    "a partial": "def inner(x):\n    return x\nhelper = functools.partial(inner, EDIT)\n",
    "a number": "N = EDIT\ndef helper():\n    return N\n",
    "a list": "N = [0, [EDIT]]\ndef helper():\n    return N\n",
    "a dict": "N = {'a': {'b': EDIT}}\ndef helper():\n    return N\n",
    "a set": "N = {1, EDIT}\ndef helper():\n    return N\n",
    "a path": "import pathlib\nN = pathlib.Path('EDIT')\ndef helper():\n    return N\n",
    "an array": "import numpy\nN = numpy.array([EDIT])\ndef helper():\n    return N\n",
    "a lambda": "helper = lambda: EDIT\n",
    "a function in a table": "T = {'a': lambda: EDIT}\ndef helper():\n    return T['a']()\n",
}


@pytest.mark.parametrize("what", USED)
def test_an_edit_of_what_the_function_uses_is_seen(project: Project, what: str) -> None:
    text = USED[what] + "\n@actor_cache\ndef load():\n    return [helper()]\n"
    assert not is_kept(project, text, "1001", "1002")
    assert is_kept(project, text, "1001", "1001")


def test_an_edit_below_the_function_is_seen(project: Project) -> None:
    text = "@actor_cache\ndef load():\n    return [below()]\ndef below():\n    return EDIT\n"
    assert not is_kept(project, text, "1", "2")


@pytest.mark.parametrize(
    "text",
    [
        "OTHER = EDIT\n@actor_cache\ndef load():\n    return [1]\n",
        "def other():\n    return EDIT\n@actor_cache\ndef load():\n    return [1]\n",
        "class Other:\n    x = EDIT\n@actor_cache\ndef load():\n    return [1]\n",
        "# EDIT\n@actor_cache\ndef load():\n    EDIT_name = [1]\n    return EDIT_name\n".replace("EDIT_name", "name"),
        "@actor_cache\ndef load():\n    return [1]\n# EDIT\n",
    ],
)
def test_an_edit_of_something_else_is_not(project: Project, text: str) -> None:
    assert is_kept(project, text, "1", "2")


MODULES = {
    "attribute": "def load():\n    return [aq_beside.helper()]\n",
    "constant": "def load():\n    return [aq_beside.N]\n",
    "by name": "from aq_beside import helper\ndef load():\n    return [helper()]\n",
    "in the body": "def load():\n    import aq_beside as b\n    return [b.helper()]\n",
    "by name in the body": "def load():\n    from aq_beside import helper\n    return [helper()]\n",
    "in a package": "import aq_package.inner\ndef load():\n    return [aq_package.inner.helper()]\n",
    "of a package in the body": "def load():\n    from aq_package import inner\n    return [inner.helper()]\n",
    "in a folder": "import aq_folder.inner\ndef load():\n    return [aq_folder.inner.helper()]\n",
    "of a folder in the body": "def load():\n    import aq_folder.inner as i\n    return [i.helper()]\n",
}


@pytest.mark.parametrize("where", MODULES)
def test_an_edit_of_another_module_of_the_project_is_seen(project: Project, where: str) -> None:
    text = BEFORE + MODULES[where].replace("def load", "@actor_cache\ndef load")

    def value(number: int, other: int = 0) -> list[int]:
        beside = f"N = {number}\ndef helper():\n    return N\nother = {other}\n"
        package = {"aq_package.__init__": "", "aq_package.inner": beside, "aq_folder.inner": beside}
        module = project.load(aq_job=text, aq_beside=beside, **package)
        found: list[int] = module.load()
        return found

    first = value(1)
    assert value(2) == [2]
    assert value(1) is first
    if "body" not in where:
        assert value(1, other=1) is first  # what it does not use of it


def test_a_relative_import_in_the_body_is_seen(project: Project) -> None:
    def value(number: int) -> list[int]:
        job = (
            "from actorq import actor_cache\n@actor_cache\ndef load():\n    from . import inner\n    return [inner.N]\n"
        )
        package = {"aq_package.__init__": "", "aq_package.inner": f"N = {number}\n", "aq_package.job": job}
        module = project.load(aq_job="from aq_package.job import load\n", **package)
        found: list[int] = module.load()
        return found

    first = value(1)
    assert value(2) == [2]
    assert value(1) is first


CLASSES = {
    "by name": "def load():\n    return Thing()\n",
    "in a helper": "def make():\n    return Thing()\n@actor_cache\ndef load():\n    return make()\n",
    "in a table": "T = {'a': Thing}\ndef load():\n    return T['a']()\n",
    "an instance": "ONE = Thing()\ndef load():\n    return ONE\n",
    "as a default": "def load(kind=Thing):\n    return kind()\n",
}


@pytest.mark.parametrize("how", CLASSES)
def test_a_cached_object_is_an_instance_of_the_class_of_its_own_version(project: Project, how: str) -> None:
    text = CLASSES[how]
    if "@actor_cache" not in text:
        text = text.replace("def load", "@actor_cache\ndef load")
    text = BEFORE + "class Thing:\n    pass\n" + text + "def check():\n    return isinstance(load(), Thing)\n"
    first = project.load(aq_job=text, aq_beside="")
    assert first.check()
    second = project.load(aq_job=text + "# edited\n")
    assert second.check()
    assert first.check()
    assert first.load() is first.load()


def test_an_argument_of_a_class_of_another_version_is_another_argument(project: Project) -> None:
    text = """
        from dataclasses import dataclass
        from actorq import actor_cache
        @dataclass
        class Config:
            x: int
        @actor_cache
        def load(config):
            return config
        def check():
            return isinstance(load(Config(1)), Config)
    """
    assert project.load(aq_job=text).check()
    assert project.load(aq_job=text.replace("x: int", "x: int  # edited")).check()


def test_an_edit_of_a_key_function_is_seen(project: Project) -> None:
    text = "@actor_cache(key=lambda x: EDIT)\ndef load(x):\n    return [x]\n"
    assert not is_kept(project, text, "x", "[x]", call="load(1)")
    assert not is_kept(project, text.replace("key=lambda x: EDIT", "maxsize=EDIT"), "1", "2", call="load(1)")


def test_values_of_old_code_leave_when_nothing_uses_it_any_more(project: Project) -> None:
    import gc

    gone: list[str] = []
    project.write(aq_sink="gone = []\n")
    text = "from aq_sink import gone\n@actor_cache(on_evict=gone.append)\ndef load():\n    return 'EDIT'\n"
    first = project.load(aq_beside="", aq_job=BEFORE + text.replace("EDIT", "old"))
    gone = first.gone
    assert first.load() == "old"
    second = project.load(aq_job=BEFORE + text.replace("EDIT", "new"))
    assert second.load() == "new"
    assert gone == []  # the first version may run again
    project.versions.remove(first)
    del first
    gc.collect()
    assert project.load(aq_job=BEFORE + text.replace("EDIT", "newest")).load() == "newest"
    assert gone == ["old"]


def test_a_call_while_the_module_is_imported_loads_once(project: Project) -> None:
    text = """
        from actorq import actor_cache
        @actor_cache
        def load(x):
            return [below() if x else 0]
        early = load(0)
        def below():
            return 1
    """
    module = project.load(aq_job=text)
    assert module.load(0) is module.early
    edited = project.load(aq_job=text.replace("return 1", "return 2"))
    assert edited.load(1) == [2]
    assert module.load(1) == [1]


def test_a_module_that_uses_much_is_looked_at_for_a_bounded_time(project: Project) -> None:
    text = BEFORE + "T = list(range(10**6))\nclass Odd:\n    def __getattr__(self, name): raise OSError\n"
    text += "ODD = Odd()\n@actor_cache\ndef load():\n    return len(T), ODD is None\n"
    from actorq.cache.identity import CacheWalk
    from actorq.code.walk import MOST_OBJECTS

    module = project.load(aq_beside="", aq_job=text)
    walk = CacheWalk(module.load.__wrapped__)
    walk.add("function", module.load.__wrapped__)
    walk.run()
    assert len(walk.facts) <= MOST_OBJECTS + 10
    assert module.load() == (10**6, False)
