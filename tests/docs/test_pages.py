"""Every example of the documentation does what its page says; those of the recipes are in `test_recipes.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import pages
from tests.docs.running import check_script

NAMES = [name for name, page in pages().items() if page.script and not name.startswith("docs/recipes/")]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_page_print_what_it_says(name: str, tmp_path: Path) -> None:
    check_script(pages()[name], tmp_path)
