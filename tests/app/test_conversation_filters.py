"""Conversations: the filters of the list, choosing rows, and a row's export."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from phi3core.settings import Settings
from tests.app.conftest import Open, said
from tests.app.talks import rows, shown, talk, tick


def test_the_list_is_filtered_by_version_person_rating_date_and_origin(open_page: Open, settings: Settings) -> None:
    talk(settings, ("Old", "x"), ref="phi3/2", ago=3 * 24 * 60)
    talk(settings, ("New", "x"), ref="phi3/1")
    at = open_page("conversations").run()  # as when the filters are opened
    assert at.selectbox(key="conversations_filter_ref").options == ["phi3/1", "phi3/2"]
    assert at.selectbox(key="conversations_filter_user").options == ["ada"]
    at.selectbox(key="conversations_filter_ref").set_value("phi3/2").run()
    assert rows(at) == ["Old"]
    assert "1 conversation found" in said(at)
    assert at.selectbox(key="conversations_filter_ref").options == ["phi3/1", "phi3/2"]  # another can be chosen still
    at.button(key="conversations_clear").click().run()
    assert rows(at) == ["New", "Old"]

    today = datetime.now(UTC).date()
    at.date_input(key="conversations_filter_dates").set_value((today - timedelta(days=4), today - timedelta(days=2)))
    assert rows(at.run()) == ["Old"]
    at.selectbox(key="conversations_filter_rating").set_value("Thumbs up").run()
    assert rows(at) == []
    assert "No conversation meets the filters." in said(at)
    at.button(key="conversations_clear_empty").click().run()
    assert rows(at) == ["New", "Old"]
    at.selectbox(key="conversations_filter_origin").set_value("Branched")
    at.selectbox(key="conversations_filter_user").set_value("ada")
    at.text_input(key="conversations_search").set_value("ne").run()
    assert "No conversation holds “ne” in its title, questions or answers and meets the filters." in said(at)
    at.selectbox(key="conversations_filter_origin").set_value("Begun here").run()
    assert rows(at) == ["New"]
    assert "1 conversation with “ne”" in said(at)


def test_all_are_selected_and_none(open_page: Open, settings: Settings) -> None:
    ids = [talk(settings, (f"Talk {number}", "x")) for number in range(3)]
    at = open_page("conversations")
    at.checkbox(key=tick(ids[1])).check().run()
    at.button(key="conversations_none").click().run()
    assert not any(at.checkbox(key=tick(id)).value for id in ids)
    assert at.checkbox(key="conversations_all").label == "Select all"
    at.checkbox(key="conversations_all").check().run()
    assert at.checkbox(key="conversations_all").label == "3 selected"


def test_one_is_exported_from_its_own_menu_as_any_kind_of_file(open_page: Open, settings: Settings) -> None:
    id = talk(settings, ("The *capital*?", "Madrid."))
    at = open_page("conversations")
    at.menu_button(key=f"conversations_menu_{id}").click("Export").run()
    assert not at.exception
    assert [button.label for button in at.download_button] == ["Markdown", "JSON", "JSONL"]
    assert "**The *capital*?** · 1 turn" in shown(said(at))
