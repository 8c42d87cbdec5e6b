"""The built site on a server of its own, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

SITE = Path(__file__).parent.parent / "build" / "site"
NAMES = ("chromium", "chromium-browser", "google-chrome")


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of the site: on this machine, at a free port."""
    assert (SITE / "index.html").is_file(), "make docs"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(SITE))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium: the one that the variable CHROMIUM names, or that is on PATH."""
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert program, "there is no chromium on PATH: on Debian or Ubuntu, apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """Somebody who opens pages of the site in one browser, and to whom nothing may go wrong.

    Args:
        context: of the browser; what is remembered is remembered in it.
        address: of the site.
    """

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.address, self.wrong = address, list[str]()
        self.page.on("console", lambda message: self._note(message.text, message.type in ("error", "warning")))
        self.page.on("pageerror", lambda error: self._note(str(error), True))
        # What is still being fetched when the visitor goes to the next page is aborted: nothing went wrong.
        aborted = "net::ERR_ABORTED"
        self.page.on("requestfailed", lambda request: self._note(request.url, request.failure != aborted))
        self.page.on("response", lambda response: self._note(f"{response.url}: missing", response.status >= 400))
        inside = (address, "data:", f"blob:{address}")
        self.page.on("request", lambda request: self._note(request.url, not request.url.startswith(inside)))

    def _note(self, message: str, is_wrong: bool) -> None:
        if is_wrong:
            self.wrong.append(f"{self.page.url}: {message}")

    def open(self, name: str) -> Page:
        """Open a page by its file's name and return it."""
        self.page.goto(self.address + name)
        return self.page


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[object]:
    """A function that makes visitors, of a width and a colour scheme; in the end nothing may have gone wrong."""
    visitors: list[tuple[Visitor, BrowserContext]] = []

    def make(width: int = 1280, scheme: str = "light") -> Visitor:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        visitors.append((Visitor(context, address), context))
        return visitors[-1][0]

    yield make
    wrong = [message for visitor, _ in visitors for message in visitor.wrong]
    for _, context in visitors:
        context.close()
    assert wrong == []
