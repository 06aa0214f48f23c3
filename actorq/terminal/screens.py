"""What is laid over the tables: a question, a text, a choice.

The one idea: each gives one answer and goes; the tables go on behind it. What they show is text, never markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

from actorq.base.masking import printable

_CSS = """
    align: center middle;
    & > .box {
        width: auto; max-width: 92%; height: auto; max-height: 92%;
        padding: 1 2; background: $panel; border: round $primary;
    }
    & .foot { color: $text-muted; margin-top: 1; }
"""


class Ask(ModalScreen[bool]):
    """A question: y does it, any way out does not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]
    DEFAULT_CSS = f"Ask {{ {_CSS} & > .box {{ width: 72; }} }}"

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = printable(question, lines=True)

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(self._question, markup=False)
            yield Static("y  yes      n, Esc  no", markup=False, classes="foot")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Told(ModalScreen[None]):
    """A text that can be scrolled."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,t,question_mark", "close", "close")]
    DEFAULT_CSS = f"""
    Told {{ {_CSS}
        & > .box {{ width: 92%; }}
        & VerticalScroll {{ height: auto; max-height: 100%; scrollbar-size-vertical: 1; }}
        & .told {{ height: auto; }}
    }}
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, printable(text, lines=True)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box") as box:
            box.border_title = Content(printable(self._title))  # type: ignore[assignment]
            yield Static(self._text, markup=False, classes="told")
            yield Static("Esc closes", markup=False, classes="foot")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def action_close(self) -> None:
        self.dismiss(None)


class Choose(ModalScreen[str | None]):
    """One of some names, found by a part of it; "" for all of them, None for no answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "close"),
        Binding("down", "to_list", "list", show=False),
    ]
    DEFAULT_CSS = f"""
    Choose {{ {_CSS}
        & > .box {{ width: 60; max-width: 92%; }}
        & OptionList {{ height: auto; max-height: 14; background: $panel; border: none; }}
        & Input {{ background: $surface; margin-bottom: 1; }}
    }}
    """
    _ALL = "all environments"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = names
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Input(placeholder="a part of the name", compact=True)
            yield OptionList(markup=False)
            yield Static("Enter takes the first; arrows choose another", markup=False, classes="foot")

    def on_mount(self) -> None:
        self._find("")
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._find(event.value)

    def on_input_submitted(self, _: Input.Submitted) -> None:
        if self._shown:
            self.dismiss(self._shown[0])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index])

    def action_to_list(self) -> None:
        self.query_one(OptionList).focus()

    def action_close(self) -> None:
        self.dismiss(None)

    def _find(self, part: str) -> None:
        self._shown = [name for name in self._names if part.lower() in name.lower()]
        if not part:
            self._shown.insert(0, "")
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options([name or self._ALL for name in self._shown])
