"""Every command of the documentation runs, and prints what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import pages
from tests.docs.running import check_commands

NAMES = [name for name, page in pages().items() if page.commands]


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_a_page_print_what_it_says(name: str, tmp_path: Path) -> None:
    check_commands(pages()[name], tmp_path)
