"""Every recipe does what its page says. In a file of its own, so that it runs beside the other pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import pages
from tests.docs.running import check_script

NAMES = [name for name, page in pages().items() if page.script and name.startswith("docs/recipes/")]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_prints_what_its_page_says(name: str, tmp_path: Path) -> None:
    check_script(pages()[name], tmp_path)
