"""Markdown of strangers as safe HTML."""

import re
from html.parser import HTMLParser

import pytest

from studio.web.markdown import render_markdown

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "<javascript:alert(1)>",
    '[x](https://e.example "onmouseover=alert(1)")',
    '[x](https://e.example "\\" onmouseover=alert(1) x=\\"")',
    "![x](x 'onerror=alert(1)')",
    '!["onload=alert(1)](javascript:alert(1))',
    "[a]: javascript:alert(1)\n\n[a]",
    '```python" onmouseover="alert(1)\nx\n```',
    "```html\n<script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    "|<script>alert(1)</script>|\n|-|\n|<img src=x onerror=alert(1)>|",
    "<style>*{display:none}</style>",
    "<form action=//e.example><button>x</button></form>",
    "<!--><script>alert(1)</script>-->",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    'https://e.example/"onmouseover=alert(1)//',
    "\u0000<script>alert(1)</script>",
]
BARE = {
    "p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "s", "ul", "li", "blockquote", "pre", "table", "thead",
    "tbody", "tr", "th", "td",
}  # fmt: skip
ALLOWED = {"a": {"href", "title", "rel"}, "span": {"class"}, "code": {"class"}, "ol": {"start"}}
ALLOWED |= {tag: set() for tag in BARE}


class _Elements(HTMLParser):
    """Independent of nh3: what Python's own parser sees in the result."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads_leave_only_harmless_elements(payload):
    for tag, attributes in _Elements(render_markdown(payload)).found:
        assert tag in ALLOWED, tag
        assert set(attributes) <= ALLOWED[tag], (tag, attributes)
        if "href" in attributes:
            assert re.match(r"(https?://|mailto:)", attributes["href"])


def test_links_give_nothing_away():
    (paragraph, link) = _Elements(render_markdown("[docs](https://docs.python.org)")).found
    assert link == ("a", {"href": "https://docs.python.org", "rel": "nofollow noopener noreferrer"})


def test_pictures_become_their_description():
    assert render_markdown("![a <b> plot](https://e.example/p.png)") == "<p>[picture: a &lt;b&gt; plot]</p>\n"


def test_code_is_highlighted_and_its_text_unchanged():
    code = 'def f(x: int) -> str:\n    return "<b>" if x < 1 else "&amp;"  # why\n'
    html = render_markdown(f"```python\n{code}```")
    assert '<span class="k">def</span>' in html

    class Text(HTMLParser):
        text = ""

        def handle_data(self, data):
            self.text += data

    parser = Text()
    parser.feed(html)
    assert parser.text.strip("\n") == code.strip("\n")


def test_unknown_language_and_long_code_are_plain():
    assert render_markdown("```klingon\nx < 1\n```") == '<pre><code class="language-klingon">x &lt; 1\n</code></pre>\n'
    assert "<span" not in render_markdown("```python\n" + "x = 1\n" * 4000 + "```")


def test_tables_and_headings_below_the_pages_own():
    html = render_markdown("# One\n\n##### Five\n\n|a|b|\n|-|-|\n|1|2|")
    assert "<h3>One</h3>" in html
    assert "<h6>Five</h6>" in html
    assert "<td>1</td>" in html


def test_deep_nesting_ends():
    assert render_markdown(">" * 20_000 + "x")
    assert render_markdown("[" * 20_000)
