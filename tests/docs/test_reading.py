"""What the reader of pages makes of blocks, marks and statements."""

from __future__ import annotations

import pytest

from tests.docs.pages import Page, blocks

TEXT = """
# A page

<!-- file: job.py -->

```python
print("in a file")
```

```python
import os

env = ActorEnvironment("x")
LIMIT = 3


@env.task
def f(x): return x


env.prewarm(f, 1)
print(f.remote(1))  # -> 1
```

<!-- not run: no cluster -->
```console
$ kubectl get pods
```

Text between a mark and a block takes the mark away.
<!-- not run: never -->
Text.

```console
$ actorq status \\
    --output json
{}
$ actorq queues
```
"""


def page(text: str = TEXT) -> Page:
    return Page(name="page.md", text=text, blocks=list(blocks("page.md", text)))


def test_declarations_stay_where_replicas_find_them_and_calls_go_under_the_guard() -> None:
    top = [line for line in page().script.splitlines() if line and not line.startswith(" ")]
    assert top == [
        "import os",
        'env = ActorEnvironment("x")',
        "LIMIT = 3",
        "@env.task",
        "def f(x): return x",
        "env.prewarm(f, 1)",
        'if __name__ == "__main__":',
    ]
    assert page().script.endswith("\n    print(f.remote(1))  # -> 1")


def test_what_a_print_says_behind_it_is_expected() -> None:
    assert page().printed == ["1"]


def test_a_block_that_is_a_file_is_not_part_of_the_script() -> None:
    assert page().files == {"job.py": 'print("in a file")\n'}
    assert "in a file" not in page().script


def test_a_mark_holds_for_the_next_block_only() -> None:
    assert [block.runs for block in page().blocks] == [True, True, False, True]


def test_commands_have_the_lines_that_they_print() -> None:
    assert page().commands == [("actorq status      --output json", ["{}"]), ("actorq queues", [])]


def test_prose_has_no_lines_of_blocks() -> None:
    assert "LIMIT" not in page().prose
    assert "Text between" in page().prose


def test_a_fence_without_a_language_is_refused() -> None:
    with pytest.raises(ValueError, match="says no language"):
        page("```\ncode\n```\n")
