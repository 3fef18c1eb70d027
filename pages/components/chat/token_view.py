"""An answer token by token: how probable each was, and what the model would have said instead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from phi3core.engine.interface import Token

_WIDTH = 44  # characters in a row: what fits a phone at this size of letters
_MOST = 1000  # tokens drawn
_ROW, _ROOM = 24, 150  # pixels of a row, and of what Plotly needs at least to show the alternatives
_SCALE = [[0.0, "#E8743B"], [0.5, "#F2C14E"], [1.0, "#BFE3C7"]]  # readable under dark letters in both themes


def show(tokens: Sequence[Token], key: str) -> None:
    probability, perplexity = mean(tokens)
    st.caption(
        f"{len(tokens):,} tokens · mean probability {probability:.0%} · perplexity {perplexity:,.2f}. "
        "Green: sure, yellow: less so, orange: unsure. Point at or tap a token to see its alternatives."
        + (" ↵ is a line break." if any("\n" in token.text for token in tokens) else "")
    )
    st.plotly_chart(_figure(tokens[:_MOST]), width=640, key=key, config={"displayModeBar": False}, theme=None)
    if len(tokens) > _MOST:
        st.caption(f"The first {_MOST:,} tokens are shown.")


def mean(tokens: Sequence[Token]) -> tuple[float, float]:
    """The geometric mean of the probabilities, and its inverse, the perplexity. An impossible token counts as 1e-9."""
    logs = [max(token.logprob, math.log(1e-9)) for token in tokens]
    average = sum(logs) / len(logs)
    return math.exp(average), math.exp(-average)


def places(tokens: Sequence[Token], width: int = _WIDTH) -> list[tuple[int, int, int]]:
    """Row, column and length of each token in rows of so many characters; a line break in a token ends its row."""
    found, row, column = [], 0, 0
    for token in tokens:
        length = min(max(len(_with_signs(token.text)), 1) + 1, width)
        if column + length > width:
            row, column = row + 1, 0
        found.append((row, column, length))
        column += length
        if "\n" in token.text:
            row, column = row + 1, 0
    return found


def _figure(tokens: Sequence[Token]) -> Any:
    import plotly.graph_objects as go

    at = places(tokens)
    bar = go.Bar(
        orientation="h",
        base=[column for _, column, _ in at],
        x=[length - 0.25 for _, _, length in at],
        y=[row for row, _, _ in at],
        width=0.86,
        text=[_text(token.text, _WIDTH) for token in tokens],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        constraintext="none",
        textfont={"family": "monospace", "size": 11, "color": "#1B2430"},
        marker={
            "color": [math.exp(max(token.logprob, -99)) for token in tokens],
            "colorscale": _SCALE,
            "cmin": 0,
            "cmax": 1,
            "line": {"width": 0},
        },
        customdata=[_alternatives(token) for token in tokens],
        hovertemplate="%{customdata}<extra></extra>",
    )
    rows = at[-1][0] + 1
    below = max(20, _ROOM - _ROW * rows)
    hidden = {"visible": False, "fixedrange": True}
    return go.Figure(
        bar,
        {
            "barmode": "overlay",
            "height": _ROW * rows + 4 + below,
            "margin": {"l": 0, "r": 0, "t": 4, "b": below},
            "xaxis": hidden | {"range": [0, _WIDTH]},
            "yaxis": hidden | {"range": [rows - 0.5, -0.5]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hoverlabel": {"font": {"family": "monospace", "size": 12}, "align": "left"},
            "showlegend": False,
        },
    )


def _alternatives(token: Token) -> str:
    lines = [f"<b>{_text(token.text)}</b> {_percent(token.logprob)}"]
    lines += [f"{_text(text)} {_percent(logprob)}" for text, logprob in token.top if text != token.text]
    return "<br>".join(lines)


def _percent(logprob: float) -> str:
    return f"{math.exp(max(logprob, -99)):.1%}"


def _with_signs(text: str) -> str:
    """A token with signs for its white space."""
    return "".join("↵" if c == "\n" else "⇥" if c == "\t" else c if c.isprintable() else "\ufffd" for c in text)


def _text(text: str, most: int = 60) -> str:
    """Plotly takes some HTML in its texts, links too: shown as it is written."""
    shown = _with_signs(text)[:most].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return shown.replace("%{", "%\u2060{") or "∅"
