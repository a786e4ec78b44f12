"""The page in a real Chromium, with the microphone that Chromium pretends to have.

Needs `pip install -e ".[demo]" playwright` and Debian's chromium (or Chrome); skipped without.
"""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from demo_run import write_run
from phones import record

pytest.importorskip("gradio", reason="the page needs Gradio: the extra `demo`")
playwright = pytest.importorskip("playwright.sync_api", reason="drives the browser")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")

ROOT = Path(__file__).parents[1]
WAIT = 60_000  # ms


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a page that is served from a folder with a tiny run, as the command does it."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        write_run()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        command = [sys.executable, "-m", "s2igan.cli", "demo", "--port", port]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout.readline() == f"http://127.0.0.1:{port} (Ctrl+C ends it)\n"
            yield f"http://127.0.0.1:{port}"
            server.terminate()


@pytest.fixture(scope="module")
def browser():
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page for one more visitor; at the end, nothing on it came from elsewhere and no script failed."""
    pages, asked, errors = [], [], []

    def visit():
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name="Draw it").wait_for()
        pages.append(page)
        return page

    yield visit
    for page in pages:
        page.context.close()
    assert [
        url for url in asked if not url.startswith((address, "data:", "blob:", address.replace("http", "ws")))
    ] == []
    assert errors == []


def draw(page) -> None:
    page.get_by_role("button", name="Draw it").click()


def widths(page) -> list[str]:
    """Of the images that are shown, once they are."""
    page.get_by_text("The same description, other noise").wait_for()
    return [image.get_attribute("width") for image in page.locator(".s2 figure img[width]").all()]


SHOWN = ["48", "96", "192"] + 8 * ["64"] + 8 * ["128"]  # scales, variations, neighbours


def upload(page, path: Path) -> None:
    page.get_by_label("Upload file").first.click()
    page.locator("input[type=file]").first.set_input_files(path)
    draw(page)


def test_a_sentence_is_said_and_drawn(visit):
    page = visit()
    page.get_by_label("Describe it: or type it").fill("a <b>red</b> bird")
    draw(page)
    assert widths(page) == SHOWN
    assert page.locator(".s2 figcaption", has_text="a <b>red</b> bird").count() == 1
    assert page.locator("audio[src^='data:audio/flac']").count() == 1 + 4
    page.wait_for_function("[...document.querySelectorAll('.s2 audio')].every(sound => sound.duration > 0.3)")


def test_the_microphone_is_heard(visit):
    page = visit()
    page.get_by_role("button", name="Record", exact=True).first.click()
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Stop", exact=True).first.click()
    page.get_by_label("Describe it: or type it").first.wait_for()
    page.wait_for_function("document.querySelector('textarea').value == ''")  # what was typed no longer counts
    draw(page)
    assert widths(page) == SHOWN
    assert page.locator(".s2 figcaption", has_text="your recording").count() == 1


def test_a_file_is_heard_and_a_wrong_one_is_told_and_the_page_lives_on(visit, tmp_path):
    (tmp_path / "wrong.wav").write_bytes(b"no sound at all")
    record(tmp_path / "phone.m4a", "aac", 0.5 * np.sin(np.arange(44100) / 20), 44100)
    page = visit()
    upload(page, tmp_path / "wrong.wav")
    page.get_by_text("wrong.wav: not ").wait_for()
    page.get_by_label("Clear").first.click()
    upload(page, tmp_path / "phone.m4a")
    assert widths(page) == SHOWN


def test_two_people_at_once_each_see_their_own(visit):
    pages = {"red": visit(), "blue": visit()}
    for colour, page in pages.items():
        page.get_by_label("Describe it: or type it").fill(f"a {colour} bird")
    for page in pages.values():
        draw(page)
    for colour, page in pages.items():
        assert widths(page) == SHOWN
        assert page.locator(".s2 figcaption", has_text=f"a {colour} bird").first.is_visible()


def test_walk_word_and_scores(visit):
    page = visit()
    page.get_by_role("tab", name="Walk").click()
    page.get_by_role("button", name="Walk").click()
    page.get_by_text("“this bird has a red crown").wait_for()
    assert page.locator(".s2 figure img[width='128']").count() == 8
    page.get_by_role("tab", name="Change a word").click()
    page.get_by_label("belly").click()
    page.get_by_text("belly: white → green").wait_for()
    assert page.locator(".s2 figcaption", has_text="a green belly and blue wings").count() == 1
    page.get_by_role("tab", name="Scores").click()
    assert page.get_by_role("row", name="parts in the spoken colour").inner_text().split("\t")[1:3] == [
        "0.750",
        "0.125",
    ]
