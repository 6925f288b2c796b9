"""The site in a real browser: no errors, no outside requests, links and formulas in order, the beta page's numbers.

SITE=DIR tests a site that is built already (`make site`); if unset, that of the notebooks' run is tested.
Skipped if Chromium, its driver, Selenium or Sphinx is not installed.
"""

import os
import shutil
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from replication import describe_weights, long_tailed_counts

WIDTHS = (830, 390)
CHECKS = """
const drawn = (e) => { const b = e.getBoundingClientRect(); return b.width > 0 && b.height > 0; };
const prose = document.querySelector("article")?.cloneNode(true);
prose?.querySelectorAll("code, pre").forEach((e) => e.remove());
return {
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  broken: [...document.images].filter((i) => !i.complete || !i.naturalWidth).map((i) => i.src),
  formulas: document.querySelectorAll("math").length,
  undrawn: [...document.querySelectorAll("article math")].filter((e) => !drawn(e)).map((e) => e.textContent),
  asked: performance.getEntriesByType("resource").map((e) => e.name),
  source: prose?.textContent.match(/.{0,20}(\\$|\\\\[a-z(\\[]).{0,20}/)?.[0],
};
"""


@pytest.fixture(scope="module")
def site(request):
    if built := os.environ.get("SITE"):
        return Path(built).resolve()
    for library in ("sphinx", "furo", "myst_nb", "latex2mathml"):
        pytest.importorskip(library)
    return request.getfixturevalue("reproduced")[1] / "site"


@pytest.fixture(scope="module")
def address(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    names = ("chromium", "chromium-browser", "google-chrome")
    binary, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for switch in [*switches.split(), "disable-component-update", "disable-sync", "disable-dev-shm-usage"]:
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chromium
    chromium.quit()


def set_width(browser, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def outside(asked: list[str], address: str) -> list[str]:
    """The requests that go neither to the site nor to the page itself."""
    return [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def pages(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def test_every_page_is_whole_at_both_widths(site, address, browser):
    found, wrong = pages(site), []
    assert len(found) > 25
    formulas = 0
    for page in found:
        browser.get(address + page)
        for width in WIDTHS:
            set_width(browser, width)
            seen = browser.execute_script(CHECKS)
            formulas += seen.pop("formulas")
            seen["console"] = [entry["message"] for entry in browser.get_log("browser")]
            seen["outside"] = outside(seen.pop("asked"), address)
            wrong += [f"{page} at {width}: {name}: {value}" for name, value in seen.items() if value]
    assert not wrong, "\n".join(wrong)
    assert formulas > 40


class _Links(HTMLParser):
    def __init__(self, page: Path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        self.links += [values[key] for key in ("href", "src") if values.get(key) and tag != "use"]


def test_every_link_leads_somewhere(site):
    parsed = {site / name: _Links(site / name) for name in pages(site)}
    wrong = []
    for page, found in parsed.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                wrong.append(f"{page.relative_to(site)}: {link}")
            elif parts.fragment and target in parsed and unquote(parts.fragment) not in parsed[target].anchors:
                wrong.append(f"{page.relative_to(site)}: {link} (no such anchor)")
    assert not wrong, "\n".join(wrong)


def test_search_works_without_a_network(address, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(address + "search.html?q=effective_number")
    hits = "return document.querySelectorAll('#search-results li').length"
    assert WebDriverWait(browser, 10).until(lambda b: b.execute_script(hits)) > 0
    assert not outside(browser.execute_script(CHECKS)["asked"], address) and not browser.get_log("browser")


SET = "const f = document.getElementById(arguments[0]); f.value = arguments[1]; f.dispatchEvent(new Event('input'));"
READ = "return Object.fromEntries([...document.querySelectorAll('output')].map((o) => [o.id, o.dataset.value]));"


def shown(browser, **settings) -> dict[str, str]:
    for name, value in settings.items():
        browser.execute_script(SET, name, str(value))
    return browser.execute_script(READ)


@pytest.mark.parametrize(
    ("beta", "largest", "imbalance", "classes"),
    [(0.9999, 5000, 100, 10), (0.9, 5000, 50, 10), (0.99, 500, 200, 100), (0, 77, 3, 2), (1, 1280, 256, 50)],
)
def test_beta_page_shows_the_package_s_numbers(beta, largest, imbalance, classes, address, browser):
    browser.get(address + "docs/beta.html")
    seen = shown(browser, beta=beta, largest=largest, imbalance=imbalance, classes=classes)
    counts = long_tailed_counts(largest, classes, imbalance)
    [row] = describe_weights(counts, [beta])
    assert int(seen["tail"]) == counts[-1] and seen["remark"] == row.remark
    wanted = {"smallest": row.smallest, "largest-covered": row.largest, "weight-ratio": row.weight_ratio}
    wanted |= {"mean-weight": row.mean_weight, "shrinks": 1 / row.mean_weight}
    assert {name: float(seen[name]) for name in wanted} == pytest.approx(wanted, rel=1e-12)


def test_beta_page_s_sliders_move_the_numbers_and_the_curves(address, browser):
    browser.get(address + "docs/beta.html")
    curve = "return document.querySelector('#weights .ours').getAttribute('d')"
    before, _ = browser.execute_script(curve), shown(browser)
    seen = shown(browser, **{"beta-slider": 2, "largest-slider": 3, "imbalance-slider": 1, "classes-slider": 20})
    [row] = describe_weights(long_tailed_counts(1000, 20, 10), [0.99])
    assert float(seen["weight-ratio"]) == pytest.approx(row.weight_ratio, rel=1e-6)
    assert browser.execute_script(curve) != before
    shown(browser, imbalance=2000)  # the smallest class would be empty
    assert browser.execute_script("return !document.querySelector('#beta-tool .warning').hidden")
