"""What a person does on the Chat page, and what they see of it."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from phi3core.chat import live_conversations
from phi3core.chat.conversation import Conversation
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.support import fakes

WORDS = ("The", " capital", " is", " Madrid", ".")


def ask(at: AppTest, text: str) -> AppTest:
    """Send a message, and look again once it is answered."""
    return settled(at.chat_input(key="chat_input").set_value(text).run())


def settled(at: AppTest) -> AppTest:
    """The page once no answer is coming: in a browser its live part draws itself again."""
    fakes.until(lambda: not any(talk.running for talk in live_conversations._live.values()))
    return at.run()


def live(at: AppTest) -> Conversation:
    """The conversation that the page shows."""
    return live_conversations._live[at.session_state["chat_conversation"]]


def put_into_box(at: AppTest) -> str | None:
    """What the page has just put into the message's box for a person to send, if anything."""
    box = at.chat_input(key="chat_input").proto
    return str(box.value) if box.set_value else None


def answers(at: AppTest) -> list[str]:
    """What the messages of the page say first, question and answer in turn."""
    found = [[*message.text, *message.markdown] for message in at.chat_message]
    return [str(texts[0].value) if texts else "" for texts in found]


def chat_version(settings: Settings) -> Version:
    return reader.get_version(settings, "phi3/1")


def follow_link(at: AppTest, page: str, **query: str) -> AppTest:
    """Follow a link inside the app: the same visit, another address."""
    at.query_params = dict(query)
    return at.switch_page(f"pages/{page}_page.py").run()
