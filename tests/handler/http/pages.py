"""The page in a real Chromium, served by the real app: what its tests share. Skips them where there is no Chromium."""

import io
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]")
expect = playwright.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine: apt-get install chromium", allow_module_level=True)

axe = pytest.importorskip("axe_playwright_python.base", reason="axe is not installed: pip install -e .[dev]")

CHECKS = f"({Path(__file__).with_name('page_checks.js').read_text(encoding='utf-8')})"
PREDICTIONS = "**/v1/predictions?*"


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Answer on a free port. The socket listens before the server runs, so a request that comes early waits for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", ws="none", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that stays silent."""
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    quiet += ["--disable-sync", "--no-first-run"]
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, url: str, options: dict[str, Any], root: str = "") -> Iterator[Any]:
    """The opened page. It is an error if a script fails, if the content security policy has to stop something, or if
    the page makes a request to any other place than below `root`, which is the page's own address if it is empty."""
    context = browser.new_context(**options)
    context.set_default_timeout(10_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: complaints.append(request.url) if _elsewhere(request.url, root or url) else None)
    page.goto(url)
    yield page
    context.close()
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


def _elsewhere(address: str, url: str) -> bool:
    return not address.startswith((url, "data:", f"blob:{url}"))


def drawn(brightness: int, size: tuple[int, int] = (120, 150)) -> bytes:
    """A PNG with a median grey value (24 to 231). It has a gradient, so that it passes for an X-ray, and a top that
    is half white and half black, so that it uses all greys."""
    values = np.tile(np.linspace(brightness - 24, brightness + 24, size[0]).round(), (size[1], 1))
    top = size[1] // 18
    # White where the gradient is dark: a column of nearly equal pixels would be cut off as a frame.
    values[:top, : size[0] // 2], values[:top, size[0] // 2 :] = 255, 0
    return png(values)


def png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def upload(name: str, data: bytes, media_type: str = "image/png") -> dict[str, Any]:
    return {"name": name, "mimeType": media_type, "buffer": data}


def choose(page: Any, *files: dict[str, Any]) -> None:
    page.get_by_label("Choose images").set_input_files(list(files))


def flaws(page: Any) -> list[str]:
    """What axe-core and the checks of this folder find wrong for people who cannot see the page well."""
    page.evaluate(axe.AXE_SCRIPT)
    found = page.evaluate("axe.run()")["violations"]
    said = [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
    return said + page.evaluate(f"{CHECKS}.structure()")


def scored(page: Any, count: int, of: int) -> None:
    """Wait until nothing is under way any more."""
    expect(page.locator("#list .waiting")).to_have_count(0)
    expect(page.locator("#count")).to_have_text(f"{count} of {of} scored")
