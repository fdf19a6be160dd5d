"""Following every link of our own pages, as a reader could; which of them there should be is for the tests to say."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit


class _Links(HTMLParser):
    """What a page leads to and shows, and the places in it that links may name."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"} and value:
                self.links.append(value)
            if name == "id" and value:
                self.places.add(value)


@dataclass
class Crawl:
    """What was found: the status and places of each address of ours, and links that lead elsewhere."""

    seen: dict[str, int] = field(default_factory=dict)
    places: dict[str, set[str]] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    links: set[tuple[str, str]] = field(default_factory=set)

    def dead(self) -> list[tuple[str, str]]:
        """The links that lead nowhere: to what is not there, or to a place that the page lacks; with their pages."""
        dead = []
        for page, link in sorted(self.links):
            address, place = urldefrag(link)
            if self.seen.get(address) != 200 or (place and place not in self.places.get(address, set())):
                dead.append((page, link))
        return dead


def crawl(start: str) -> Crawl:
    """Follow all links from an address on, as long as they stay with the same server."""
    found, todo = Crawl(), [start]
    server = urlsplit(start).netloc
    while todo:
        address = todo.pop()
        if address in found.seen:
            continue
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                found.seen[address] = answer.status
                is_page = answer.headers.get_content_type() == "text/html"
                text = answer.read().decode() if is_page else ""
        except urllib.error.HTTPError as error:
            found.seen[address] = error.code
            continue
        parser = _Links()
        parser.feed(text)
        found.places[address] = parser.places
        for link in (urljoin(address, one) for one in parser.links):
            if urlsplit(link).netloc == server and urlsplit(link).scheme == "http":
                found.links.add((address, link))
                todo.append(urldefrag(link).url)
            elif urlsplit(link).scheme != "data":
                found.elsewhere.add(link)
    return found
