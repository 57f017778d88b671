"""Markdown of people and models, which nobody has vetted, as HTML that is safe to show."""

from __future__ import annotations

from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

_FORMATTER = HtmlFormatter(nowrap=True)
_HIGHLIGHT_LIMIT = 20_000  # characters; longer code is shown plain, because lexers are slow
_TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "a", "ul", "ol", "li", "blockquote",
    "code", "pre", "span", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


def _highlight(code: str, language: str, _attributes: str) -> str:
    """Spans with Pygments' class names, or "" for what we do not know (markdown-it then escapes the code itself)."""
    if not language or len(code) > _HIGHLIGHT_LIMIT:
        return ""
    try:
        return highlight(code, get_lexer_by_name(language, stripnl=False), _FORMATTER)
    except ClassNotFound:
        return ""


_PARSER = MarkdownIt("commonmark", {"html": False, "linkify": True, "highlight": _highlight}).enable(
    ["table", "strikethrough", "linkify"]
)


def _picture(renderer: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: dict) -> str:
    alt = renderer.renderInlineAsText(tokens[index].children or [], options, env)
    return escapeHtml(f"[picture: {alt}]" if alt else "[picture]")


_PARSER.add_render_rule("image", _picture)


@lru_cache(maxsize=512)
def render_markdown(text: str) -> str:
    """HTML of Markdown with tables, strikethrough, bare links and highlighted code.

    Raw HTML is shown as text; pictures become their description (loading them would tell others who reads what);
    links open without a referrer. Headings start at level 3, because the page around the text has levels 1 and 2.
    nh3 goes over the result: what the parser missed does not reach the page.
    """
    tokens = _PARSER.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return nh3.clean(
        _PARSER.renderer.render(tokens, _PARSER.options, {}),
        tags=_TAGS,
        attributes={"a": {"href", "title"}, "span": {"class"}, "code": {"class"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
    )
