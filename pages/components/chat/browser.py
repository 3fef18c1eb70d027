"""What a browser does for the chat that Streamlit has no means for: a copy at one click, focus, scrolling, names.

All script of the pages stands in `_SCRIPT`, which is fixed. What people or models wrote reaches it as data alone, for
the clipboard, and is never made part of the page.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

_SCRIPT = """
// A sheet of its own: no element among what a model said holds style.
const sheet = new CSSStyleSheet();
sheet.replaceSync(`
button {
  all: unset; box-sizing: border-box; cursor: pointer; display: inline-flex; align-items: center;
  justify-content: center; min-height: 2rem; min-width: 1.25rem; border-radius: var(--st-button-radius, 0.5rem);
  color: var(--st-text-color); font: 1.1rem/1 "Material Symbols Rounded"; font-feature-settings: "liga";
}
button:hover { color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); }
`);
const ICONS = { ready: "content_copy", done: "check", failed: "error" };

async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const box = document.createElement("textarea");  // an address without https has no clipboard of its own
  box.value = text;
  document.body.append(box);
  box.select();
  const copied = document.execCommand("copy");
  box.remove();
  if (!copied) throw new Error("refused");
}

function drawCopy(parent, { text, label, done }) {
  parent.adoptedStyleSheets = [sheet];
  let button = parent.querySelector("button");
  if (!button) {
    button = document.createElement("button");
    button.textContent = ICONS.ready;
    parent.append(button);
  }
  button.type = "button";
  button.title = label;
  button.setAttribute("aria-label", label);
  button.setAttribute("translate", "no");
  const say = (state, words) => {
    button.textContent = ICONS[state];
    button.setAttribute("aria-label", words);
  };
  button.onclick = async () => {
    try {
      await copy(text);
      say("done", done);
    } catch {
      say("failed", "The browser did not allow copying");
    }
    setTimeout(() => say("ready", label), 2000);
  };
}

// Elements may be drawn later than this is told of them.
function whenThere(selector, act, tries = 60) {
  const found = document.querySelector(selector);
  if (found) act(found);
  else if (tries) setTimeout(() => whenThere(selector, act, tries - 1), 50);
}

function show({ selector, focus, block }) {
  whenThere(selector, (element) => {
    const box = focus ? element.querySelector("textarea") || element : null;
    if (box) {
      box.focus({ preventScroll: true });
      box.setSelectionRange?.(box.value.length, box.value.length);
    }
    element.style.scrollMarginTop = "4rem";  // the height of the bar at the top
    element.scrollIntoView({ block, behavior: "auto" });
  });
}

// On a phone the sidebar covers the chat that was just opened in it.
function uncover() {
  const close = document.querySelector('button[aria-label="Collapse sidebar"][aria-expanded="true"]');
  if (innerWidth < 768) close?.click();
}

function compose(selector) {
  uncover();
  const busy = document.activeElement?.matches("input, textarea, [contenteditable]");
  // On a touch screen it would bring up the keyboard.
  if (busy || matchMedia("(pointer: coarse)").matches) return;
  whenThere(selector, (box) => box.focus({ preventScroll: true }));
}

function name(names) {
  for (const [start, label] of Object.entries(names))
    for (const button of document.querySelectorAll(`[class*="st-key-${start}"] button`))
      if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
}

const told = (window.__phi3Told ??= {});

export default function ({ data, parentElement }) {
  if (data.copy) drawCopy(parentElement, data.copy);
  if (data.once && told[data.kind] !== data.once) {
    told[data.kind] = data.once;
    if (data.show) show(data.show);
    if (data.compose) compose(data.compose);
  }
  if (!data.names) return;
  name(data.names);
  const observer = new MutationObserver(() => name(data.names));
  observer.observe(document.body, { childList: true, subtree: true });
  return () => observer.disconnect();
}
"""
_render = st.components.v2.component("phi3_browser", js=_SCRIPT)


def copy_button(text: str, key: str) -> None:
    """A button that puts a text into the clipboard, letter by letter, at one click."""
    data = {"copy": {"text": text, "label": "Copy the answer", "done": "Copied"}}
    _render(key=key, data=data, width="content", height="content")


def reveal(key: str, once: str, focus: bool = False) -> None:
    """Bring an element into view.

    Args:
        key: the element's key.
        once: what it is for: for the same again nothing happens, so that a reader is left where they are.
        focus: put the cursor into its text box, and the box into the middle; else it begins at the top.
    """
    show = {"selector": f".st-key-{key}", "focus": focus, "block": "center" if focus else "start"}
    _render(key="browser_reveal", data={"kind": "reveal", "once": once, "show": show}, height="content")


def focus_composer(once: str) -> None:
    """Put the cursor into the box for messages, unless it is in another one; on a phone, close the sidebar instead.

    once: as for `reveal`.
    """
    data = {"kind": "compose", "once": once, "compose": '[data-testid="stChatInputTextArea"]'}
    _render(key="browser_compose", data=data, height="content")


def name_buttons(names: Mapping[str, str]) -> None:
    """Give buttons that show an icon alone the name that is spoken. names: the beginning of their keys → the name."""
    _render(key="browser_names", data={"names": dict(names)}, height="content")
