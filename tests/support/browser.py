"""A real browser without a window: Chromium, driven over its DevTools pipe (NUL-ended JSON on descriptors 3 and 4).

Needs Debian's chromium and nothing else. Chrome DevTools Protocol, stable domains only."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

SECONDS = 60


def find():
    """The browser's path, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    def __init__(self, path):
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        self._folder = tempfile.mkdtemp(prefix="akvifer-browser-")
        flags = ["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-extensions",
                 "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
                 "--hide-scrollbars", "--user-data-dir=" + self._folder]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")

        def place():
            # Out of the way first: 3 and 4 may be among them.
            read, write = os.dup(to_read), os.dup(to_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self._process = subprocess.Popen([path, *flags, "about:blank"], preexec_fn=place, close_fds=False,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self._bytes, self._id, self.events = b"", 0, []

    def _receive(self, until):
        while b"\0" not in self._bytes:
            if not select.select([self._read], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError(f"the browser said nothing for {SECONDS} s")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise EOFError("the browser has ended")
            self._bytes += piece
        message, self._bytes = self._bytes.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            got = self._receive(until)
            if got.get("id") != self._id:
                self.events.append(got)
            elif "error" in got:
                raise RuntimeError(f"{method}: {got['error']['message']}")
            else:
                return got["result"]

    def close(self):
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, EOFError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)
        shutil.rmtree(self._folder, ignore_errors=True)


class Page:
    """One tab, of its own storage."""

    def __init__(self, browser, width=1360, height=900, scale=1, dark=False):
        self.browser = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log":
            self.call(domain + ".enable")
        self.size(width, height, scale)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def size(self, width, height, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=width < 500)

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def eval(self, expression):
        """The value of a JavaScript expression; a promise is awaited."""
        got = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in got:
            raise RuntimeError(f"{expression}: {got['exceptionDetails']}")
        return got["result"].get("value")

    def wait(self, expression, seconds=SECONDS):
        until = time.monotonic() + seconds
        while not self.eval(f"Boolean({expression})"):
            if time.monotonic() > until:
                raise AssertionError(f"after {seconds} s it is still not so that {expression}")
            time.sleep(0.05)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, name, shift=False):
        code = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowRight": 39, "ArrowDown": 40, "ArrowLeft": 37}[name]
        what = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        if name == "Enter":
            what["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", **what)
        self.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def picture(self):
        """The bytes of a PNG of what is in sight."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def complaints(self):
        """What the console got as errors, and exceptions that nobody caught."""
        self.eval("0")
        out = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            what = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                out.append(json.dumps(what["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
                out.append(json.dumps(what["args"]))
            elif event["method"] == "Log.entryAdded" and what["entry"]["level"] == "error":
                out.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")
        return out
