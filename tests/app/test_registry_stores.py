"""Registry: stores that lack something or do not answer, and what was changed outside this app."""

from __future__ import annotations

import re

import pytest
import streamlit as st

from phi3core.promotion.promote import promote
from phi3core.registry import compare, reader
from phi3core.registry.compare import Comparison, Difference
from phi3core.registry.index import get_index
from phi3core.settings import Settings
from phi3core.store import client as client_module
from phi3core.store.client import Abilities, mlflow_client
from tests.app.conftest import Open, Register
from tests.app.registry import rows, said

# ---------------------------------------------------------------- stores that lack something, or do not answer


def test_a_store_without_stages_or_aliases_says_what_stands_for_them(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    monkeypatch.setitem(client_module._abilities, settings.tracking_uri, Abilities(stages=False, aliases=True))
    at = open_page("registry", model="phi3", version="1")
    assert not at.exception
    assert "This store has no stages" in said(at)
    get_index(settings).refresh()
    assert "Archived" not in open_page("registry").selectbox(key="stage").options
    monkeypatch.setitem(client_module._abilities, settings.tracking_uri, Abilities(stages=True, aliases=False))
    st.cache_resource.clear()
    at = open_page("registry", model="phi3", version="1")
    assert not at.exception
    assert "This store has no aliases" in said(at)
    assert "registry_aliases" not in [button.key for button in at.button]


def test_a_registered_model_without_versions_is_listed_and_has_a_page(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    mlflow_client(settings).create_registered_model("empty-one")
    get_index(settings).refresh()
    assert rows(open_page("registry", list="Models"), "Model") == ["empty-one", "phi3"]
    assert rows(open_page("registry", list="Models", q="phi"), "Model") == ["phi3"]
    at = open_page("registry", model="empty-one", version="1")
    assert "has no version yet" in said(at)


def two_in_production(register: Register, settings: Settings) -> None:
    """phi3/1 by a promotion here, phi3/2 by somebody who set the stage at MLflow."""
    register()
    register()
    promote(settings, "phi3/1", "Production")
    mlflow_client(settings).transition_model_version_stage("phi3", "2", "Production")


def test_a_stage_that_somebody_set_at_mlflow_is_not_taken_for_the_truth(
    open_page: Open, register: Register, settings: Settings
) -> None:
    two_in_production(register, settings)
    get_index(settings).refresh()
    at = open_page("registry")
    assert "The stage of phi3/2 at MLflow is not what the aliases say" in said(at)
    at = open_page("registry", stage="Production")
    assert rows(at) == ["phi3/1"]


def test_files_that_are_not_here_are_not_taken_for_the_same_and_can_be_fetched(
    open_page: Open, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    register()
    fetched: list[bool] = []

    def compared(config: Settings, one: object, other: object, fetch: bool = False) -> Comparison:
        fetched.append(fetch)
        file = Difference("Files", "model.onnx", "9 bytes", "9 bytes", not fetch, unsure=not fetch)
        return Comparison((file,), (), ("", ""), ())

    monkeypatch.setattr(compare, "compare_versions", compared)
    at = open_page("registry", compare="phi3/1", **{"with": "phi3/2"})
    assert "0 of 1 differ, 1 not compared" in said(at)
    at.button(key="compare_fetch").click().run()
    assert not at.exception
    assert fetched == [False, True]
    assert "1 of 1 differs" in said(at)


# ---------------------------------------------------------------- what was changed outside this app


def test_a_stage_that_was_changed_outside_is_repaired_by_the_look_and_told(
    open_page: Open, register: Register, settings: Settings
) -> None:
    two_in_production(register, settings)
    at = open_page("registry", model="phi3", version="2")
    assert not at.exception
    assert at.info
    assert "phi3/2" in re.sub(r"\\(.)", r"\1", at.info[0].value)
    stages = {version.version: version.stage for version in reader.list_versions(settings, "phi3")}
    assert stages[1] == "Production"
    assert stages[2] != "Production"


def test_stages_that_agree_with_their_aliases_raise_no_warning(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    promote(settings, "phi3/1", "Production")
    at = open_page("registry", model="phi3", version="1")
    assert not at.warning
    assert not at.info
