"""A name that ends in a full stop stands on its own: no sentence goes on with another sign behind it."""

from __future__ import annotations

import re

from phi3core.settings import Settings
from tests.app.conftest import Open, Register, said
from tests.app.talks import shown, talk

TITLE = "I have a cat."
COLLISION = re.compile(r"cat\.[ *_]*[.,:;!?]")


def test_a_title_that_ends_a_sentence_collides_with_no_other_sign(
    open_page: Open, settings: Settings, register: Register
) -> None:
    register("phi3")
    id = talk(settings, ("Hello.", "Good day."), title=TITLE)
    at = open_page("conversations")
    for choice in ("Rename", "Export", "Replay", "Delete"):
        at.menu_button(key=f"conversations_menu_{id}").click(choice).run()
        assert not at.exception
        drawn = shown(said(at))
        assert choice == "Rename" or TITLE in drawn
        assert not COLLISION.search(drawn), choice
    drawn = shown(said(open_page("chat", c=id)))
    assert TITLE in drawn
    assert not COLLISION.search(drawn)
