"""What a person does on the page Compare, and all that the page sends to their browser."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest

from phi3core.chat import live_conversations
from phi3core.evaluation import comparison
from phi3core.evaluation.comparison import Candidate, Comparison
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.app.conftest import Open, Register
from tests.app.servers import FakePool
from tests.support import fakes

ANSWERS = {"phi3/1": "The capital is Madrid.", "phi3/2": "The town is Madrid.", "phi3/3": "No idea at all."}


def three_versions(register: Register, servers: FakePool) -> dict[str, fakes.FakeEngine]:
    """Versions that say different things, by their references."""
    engines = {register(): fakes.FakeEngine(tuple(f"{word} " for word in said.split())) for said in ANSWERS.values()}
    servers.engines = engines.__getitem__
    return engines


def settled(at: AppTest) -> AppTest:
    """The page once no answer is coming: in a browser its live part draws itself again."""
    fakes.until(lambda: not any(talk.running for talk in live_conversations._live.values()))
    return at.run()


def compared(open_page: Open, *refs: str, question: str = "Capital?") -> AppTest:
    """Ask these versions on the page, blind."""
    at = open_page("compare")
    at.multiselect(key="compare_with").set_value(list(refs)).run()
    return settled(at.chat_input(key="compare_input").set_value(question).run())


def begun(settings: Settings, servers: FakePool, *refs: str, user: str = "ada", **more: Any) -> Comparison:
    """A comparison that somebody has made."""
    candidates = [Candidate(reader.get_version(settings, ref), ref) for ref in refs]
    made = comparison.begin(settings, servers, candidates, "Capital?", user=user, **more)  # type: ignore[arg-type]
    fakes.until(lambda: not made.running)
    return made


def led(at: AppTest) -> AppTest:
    """The page Compare, to which a button has led: of itself a test's next run draws the page before."""
    return at.switch_page("pages/compare_page.py").run()


def sent(at: AppTest) -> str:
    """Everything that the page has sent to the browser, with its address."""

    def protos(block: Any) -> list[str]:
        own = [str(block.proto)] if getattr(block, "proto", None) is not None else []
        return own + [text for child in getattr(block, "children", {}).values() for text in protos(child)]

    return "\n".join([*protos(at._tree), str(at.query_params)])


def texts(at: AppTest) -> list[str]:
    """The answers, from left to right: the first lines of their columns."""
    return [column.markdown[1].value.strip() for column in at.columns if len(column.markdown) > 1]
