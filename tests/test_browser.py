"""Django's admin in a browser: Chromium, remotely controlled, over HTTP/1.1 and HTTP/2."""

import contextlib
import hashlib
import os
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from nginx import free_port
from processes import descendants, reap, wait_until
from test_django import PASSWORD, django, project  # noqa: F401

# No sandbox, because root and containers cannot have one; the pages are our own. And nothing that
# would ask other hosts.
OPTIONS = """
    --headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run
    --disable-background-networking --disable-component-update --disable-sync --disable-breakpad
    --ignore-certificate-errors --no-proxy-server --window-size=1400,1000
    """


class Browser:
    def __init__(self, directory, log):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for option in OPTIONS.split():
            options.add_argument(option)
        options.add_argument(f"--user-data-dir={directory}/profile")
        self.service = Service(
            shutil.which("chromedriver"),
            port=free_port(),
            log_output=str(log),
            env={"PATH": os.defpath, "HOME": str(directory), "LANG": "C.UTF-8"},
        )
        self.driver = webdriver.Chrome(options, self.service)
        self.driver.set_page_load_timeout(60)
        self.driver.set_script_timeout(60)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def fill_in(self, **fields):
        for name, text in fields.items():
            field = self.find(f"[name={name}]")
            if field.get_attribute("type") != "file":
                field.clear()
            field.send_keys(text)

    def click(self, selector):
        """Clicks on something that leads to another page, and waits for that."""
        page = self.find("html")
        self.find(selector).click()

        def is_another(_):
            return self.find("html") != page and self.run("return document.readyState") == "complete"

        WebDriverWait(self.driver, 60, ignored_exceptions=[Exception]).until(is_another)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def complaints(self):
        """What the console shows as errors: a missing file, a wrong type, a script that fails."""
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextlib.contextmanager
def open_browser(directory):
    """A browser that is gone afterwards, with all its processes."""
    browser = Browser(directory, directory / "chromedriver.log")
    try:
        yield browser
    finally:
        browser.driver.quit()

    def left():
        reap()
        return [process for process in descendants() if process.name.startswith("chrom")]

    wait_until(lambda: not left(), lambda: f"the browser's end: {left()}")


@pytest.fixture
def browser(django, tmp_path):  # noqa: F811
    with open_browser(tmp_path) as browser:
        yield browser


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_admin(django, browser, tmp_path, protocol):  # noqa: F811
    url = django.url if protocol == "http/1.1" else f"https://127.0.0.1:{django.tls_port}"
    content = os.urandom(5 << 20)
    (tmp_path / "büchlein.bin").write_bytes(content)

    browser.driver.get(url + "/admin/")
    assert browser.driver.current_url == url + "/admin/login/?next=/admin/"
    assert browser.run("return performance.getEntriesByType('navigation')[0].nextHopProtocol") == protocol
    # The style sheet is there and is applied.
    colour = "return getComputedStyle(document.querySelector('#header')).backgroundColor"
    assert browser.run(colour) not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")
    browser.fill_in(username="admin", password="wrong")
    browser.click("[type=submit]")
    assert "Please enter the correct username" in browser.find(".errornote").text
    browser.fill_in(username="admin", password=PASSWORD)
    browser.click("[type=submit]")
    assert browser.driver.title.startswith("Site administration")

    browser.click(".model-book .addlink")
    browser.fill_in(title="Der Prozeß", author="Kafka", file=str(tmp_path / "büchlein.bin"))
    browser.click("[name=_save]")
    assert "Der Prozeß" in browser.find(".messagelist .success").text

    browser.click("#result_list .field-title a")
    assert browser.find("[name=author]").get_attribute("value") == "Kafka"
    browser.fill_in(author="Franz Kafka 🪲")
    browser.click("[name=_continue]")
    assert browser.find("[name=author]").get_attribute("value") == "Franz Kafka 🪲"
    number = browser.driver.current_url.split("/")[-3]

    digest = browser.driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        fetch(arguments[0])
            .then(answer => answer.arrayBuffer())
            .then(body => crypto.subtle.digest('SHA-256', body))
            .then(digest => done([...new Uint8Array(digest)]), error => done(String(error)));
        """,
        f"/books/{number}/download/",
    )
    assert bytes(digest) == hashlib.sha256(content).digest()

    browser.driver.get(url + "/admin/library/book/?q=Kafka")
    assert browser.find("#result_list .field-author").text == "Franz Kafka 🪲"
    browser.click("#result_list .field-title a")
    browser.click(".deletelink")
    browser.click("#content [type=submit]")
    assert "was deleted" in browser.find(".messagelist .success").text

    assert browser.complaints() == []
    failed = "return performance.getEntriesByType('resource').filter(entry => entry.responseStatus >= 400).length"
    assert browser.run(failed) == 0
    browser.click("#logout-form button")
    assert "Logged out" in browser.driver.title or "logged out" in browser.find("#content").text.lower()
    browser.driver.get(url + "/admin/library/book/")
    assert "/admin/login/" in browser.driver.current_url
    assert browser.complaints() == []
