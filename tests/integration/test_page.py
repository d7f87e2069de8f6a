"""The page of ``--status_port`` in a real Chromium: what it shows, for whom, and that no record can do anything to it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.embedded.generator import grey_png
from pipeline.reporting.lag import Lag
from tests import topics
from tests.browser import Browser, Page, chromium
from tests.integration.conftest import NewJob
from tests.integration.process import START_S, Scoring, wait_until
from tests.pipeline.reporting.page.serving import Served, letter, prediction, record, served
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium here: .ci/get-chromium gets one, or says why not")

HOSTILE = "<img src=x onerror=window.hacked=1><script>hacked=1</script></td></table>&lt;\"'"

CONTRAST = """(() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!said || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), text = element.closest("svg.chart") ? style.fill : style.color;
    const [high, low] = [light(numbers(text)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) bad.push(`${element.tagName} ${element.className} ${ratio.toFixed(2)}: ${element.textContent}`);
  }
  return bad;
})()"""
"""Texts whose contrast is below 4.5:1 (WCAG 2.2, 1.4.3 AA)."""

UNNAMED = """[
  ...document.querySelectorAll("svg[role=img], img, button, section, table, [tabindex='0']")
].filter((element) => {
  const heading = document.getElementById(element.getAttribute("aria-labelledby"));
  const near = element.closest("section")?.querySelector("h2");
  return !(element.getAttribute("aria-label") || element.alt || heading?.textContent || element.caption?.textContent
    || (element.tagName === "TABLE" && near?.textContent) || (element.tagName === "BUTTON" && element.textContent));
}).map((element) => element.outerHTML.slice(0, 200))"""
"""What a screen reader has no name for."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Served]:
    """A job with some of everything, and hostile records among them."""
    records = [record(1, grey_png(8, 8)), record(2, HOSTILE.encode(), HOSTILE.encode())]
    with served(tmp_path, records, texts=True) as page:
        page.worker.assigned(["in/0", "in/1"])
        page.worker.polled()
        page.history.add()
        outputs = [prediction(records[0]), prediction(records[1], HOSTILE.encode(), HOSTILE[:40].encode())]
        page.commit([*outputs, letter(record(3, None, HOSTILE.encode()), HOSTILE, error_class=HOSTILE[:40])])
        page.worker.answered(3, 0.01, HOSTILE[:40])
        page.lag = Lag({("in", 0): 5, ("in", 1): 1200}, 90.0)
        page.history.add()
        page.history.add()
        yield page


def opened(browser: Browser, page: Served, **options: Any) -> Page:
    shown = browser.open(page.url, **options)
    shown.wait_for(
        "document.querySelectorAll('#predictions tbody tr').length === 2 && document.querySelector('#predictions img')"
    )
    return shown


def test_what_records_say_is_text(browser: Browser, page: Served) -> None:
    """Not even as an element: a policy that forbids scripts is the second line of defence, not the first."""
    shown = opened(browser, page)
    assert shown.ask("typeof hacked") == "undefined"
    assert shown.ask("document.querySelectorAll('body script, img[src=x], [onerror]').length") == 0
    cells = shown.ask("[...document.querySelectorAll('#dead tbody tr > *')].map((cell) => cell.textContent)")
    assert cells[1:5] == [HOSTILE, HOSTILE[:40], "decode", HOSTILE]
    assert HOSTILE in shown.ask("document.querySelector('#predictions').textContent")
    assert shown.complaints() == []
    origin = urllib.parse.urlsplit(page.url).netloc
    assert {urllib.parse.urlsplit(url).netloc for url in shown.requested()} == {origin}


def test_a_script_would_not_run_even_if_it_were_there(browser: Browser, page: Served) -> None:
    shown = opened(browser, page)
    shown.ask("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"window.hacked=1\">')")
    shown.ask("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked=1'}))")
    assert shown.ask("new Promise((done) => setTimeout(() => done(typeof window.hacked), 200))") == "undefined"
    assert any("Content Security Policy" in text for text in shown.complaints())


def test_the_figures_and_their_texts(browser: Browser, page: Served) -> None:
    shown = opened(browser, page)
    text = shown.ask("document.body.innerText")
    for expected in ("Scoring in with fraud", "Scoring 2 partitions.", "exactly once", "about 90 s", "1,200"):
        assert expected in text
    edges = shown.ask("[...document.querySelectorAll('#graph .edge')].map((edge) => edge.textContent)")
    assert edges == ["3 →", "3 →", "2 →", "2 →", "2 →", "2 →", "1 →"]
    assert shown.ask("document.querySelector('#lag tbody').innerText").split() == ["in", "1", "1,200", "in", "0", "5"]
    label = shown.ask("document.querySelector('#to-go svg').getAttribute('aria-label')")
    assert label == "Records to go in the last ten minutes. Records: 1,205 now, between 1,205 and 1,205."
    shown.ask("document.querySelector('#to-go details').open = true")
    shown.wait_for("document.querySelector('#to-go table').innerText.includes('1,205')")
    command = shown.ask("document.querySelector('#dead code').textContent")
    assert command == "python -m pipeline.dead_letters --source=in/0/3"


def test_it_is_used_by_the_keyboard(browser: Browser, page: Served) -> None:
    """From the top: skip to the figures, pause, unfold a dead letter, which stays so while the figures change."""
    shown = opened(browser, page)
    order = []
    for _ in range(20):
        shown.press("Tab")
        order.append(
            shown.ask("document.activeElement.id || document.activeElement.className || document.activeElement.tagName")
        )
        if order[-1] == "pause":
            shown.press("Space")
            assert shown.ask("document.activeElement.getAttribute('aria-pressed')") == "true"
            page.commit([prediction(record(4, b"later"))])
            assert shown.ask("new Promise((done) => setTimeout(() => done(document.title), 2500))").startswith("3 ")
            shown.press("Space")
            shown.wait_for("document.title.startsWith('4 ')")
        if shown.ask("document.activeElement.closest('#dead details') !== null"):
            break
    assert order[:2] == ["skip", "pause"]
    assert shown.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    shown.press("Enter")
    shown.wait_for("document.querySelector('#dead details').open")
    page.commit([letter(record(5, b""), "empty", error_class="EmptyValue")])
    shown.wait_for("document.querySelectorAll('#dead tbody tr').length === 2")
    assert shown.ask("document.activeElement.closest('#dead details').open"), "it kept the focus and stayed open"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(browser: Browser, page: Served, scheme: str) -> None:
    """By its contrast, by its names, and on a narrow screen."""
    page.worker.holding("the model server: connection refused")
    shown = opened(browser, page, width=360, prefers_color_scheme=scheme)
    ground = shown.ask("getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, re.findall(r"\d+", ground))) > 128) is (scheme == "light")
    shown.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    shown.wait_for("document.querySelector('#phase').textContent.includes('connection refused, since')")
    assert shown.ask(CONTRAST) == []
    assert shown.ask(UNNAMED) == []
    assert shown.ask("document.scrollingElement.scrollWidth") <= 360
    levels = shown.ask("[...document.querySelectorAll('h1, h2, h3')].map((heading) => heading.tagName)")
    assert levels[0] == "H1"
    assert set(levels[1:]) == {"H2"}
    assert shown.ask("[...document.querySelectorAll('th')].every((header) => header.scope)")


def test_who_wants_less_motion_gets_fewer_changes(browser: Browser, page: Served) -> None:
    shown = opened(browser, page, prefers_reduced_motion="reduce")
    page.commit([prediction(record(4, b"later"))])
    assert shown.ask("new Promise((done) => setTimeout(() => done(document.title), 2500))").startswith("3 ")
    shown.wait_for("document.title.startsWith('4 ')")


def test_a_job_on_a_real_kafka(browser: Browser, new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Records to go while the model server is slow; then each is counted, and a dead letter's command shows it."""
    stub.faults.hold_after(0)
    job = new_job(stub.uri(), partitions=2)
    good = [b'{"x": [%d]}' % number for number in range(40)]
    topics.produce(job.bootstrap, job.inputs[0], [*good, b"", b""], partitions=[*(i % 2 for i in range(40)), 0, 1])
    running = job.start("--status=plain", "--status_port=0")
    running.wait_for_output("the page is at http://127.0.0.1:")
    shown = browser.open(re.findall(r"the page is at (\S+)", running.stdout)[0])
    lag = "[...document.querySelectorAll('#lag tbody tr')].map((row) => row.cells[2].textContent.trim()).join()"
    shown.wait_for(f"{lag} === '21,21'", START_S)
    stub.faults.release()
    shown.wait_for("document.title.startsWith('42 ')", START_S)
    shown.wait_for(f"{lag} === '0,0'", START_S)
    shown.wait_for("document.querySelectorAll('#dead tbody tr').length === 2")
    command = shown.ask("document.querySelector('#dead code').textContent")
    done = subprocess.run([sys.executable, *shlex.split(command)[1:]], capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 0, done
    [source] = re.findall(r"--source=(\S+)", command)
    assert source in done.stdout
    assert "EmptyValue" in done.stdout
    assert shown.complaints() == []
    running.terminate()
    running.done()
    shown.wait_for("document.querySelector('#phase').textContent.startsWith('The job has ended')")


def test_the_demo_with_two_workers(browser: Browser) -> None:
    """Until it is ended: figures of both workers, images of the digits, and what the page says afterwards."""
    demo = Scoring(["--status=plain", "--status_port=0", "--workers=2"])
    try:
        demo.wait_for_output("the page is at http://127.0.0.1:")
        url = re.findall(r"the page is at (\S+)", demo.stdout)[0]

        def state() -> dict[str, Any]:
            with urllib.request.urlopen(f"{url}state.json", timeout=60) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found

        shown = browser.open(url)
        assert shown.ask("document.querySelector('#phase').textContent") != ""
        wait_until(lambda: state()["totals"]["partitions"] == 4, "partitions of both", 400, demo)
        wait_until(lambda: state()["totals"]["records"] > 1817, "second round", 400, demo)
        shown.wait_for("document.querySelectorAll('#predictions img').length > 3")
        shown.wait_for("[...document.querySelectorAll('#predictions img')].every((one) => one.naturalWidth === 8)")
        shown.wait_for("document.querySelectorAll('#dead tbody tr').length > 3")
        assert shown.ask("document.querySelector('#figures').innerText").split("Workers\n")[1].startswith("2")
        assert shown.complaints() == []
        last = state()
        demo.terminate()
        demo.done()
        assert demo.summary["records"] >= last["totals"]["records"]
        shown.wait_for("document.querySelector('#phase').textContent.startsWith('The job has ended')")
        assert shown.ask("document.querySelectorAll('#predictions tr').length") > 3, "what was seen last stays"
    finally:
        demo.close()
