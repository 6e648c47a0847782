#!/usr/bin/env python3
"""Takes the pictures of docs/ anew: screenshots.py AKVIFER MODEL. Serves the model, keeps it busy as a few clients would,
and looks at the page with a browser: wide and narrow, light and dark."""
import json
import pathlib
import re
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests" / "support"))
from browser import Browser, Page, find  # noqa: E402

SYSTEM = ("You are a patient hydrologist who teaches at a village school. You answer in plain words, with one example "
          "from everyday life, and you never use a technical word without explaining it first. ") * 2
QUESTIONS = ["What is a spring?", "How deep is groundwater?", "Why do wells run dry?", "What is karst?",
             "Is rain enough to refill a well?", "Where does a river begin?", "Why is some water salty?", "What is a geyser?"]
QUIET = "document.querySelector('#send').textContent === 'Send'"


class Server:
    def __init__(self, program, model):
        self.process = subprocess.Popen([program, "serve", "-m", model, "--port", "0", "-c", "2048", "--kv-ram", "420M"],
                                        stderr=subprocess.PIPE, text=True)
        while not (found := re.search(r"listening  (\S+)", line := self.process.stderr.readline())):
            if not line:
                sys.exit("the server did not start")
        self.url = found[1]
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def ask(self, question, n, **more):
        body = {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
                "max_tokens": n, "seed": 7, **more}
        request = urllib.request.Request(self.url + "/v1/chat/completions", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            answer.read()


def be_busy(server, until):
    """Three clients of one team, one of another, one after the other's answer."""
    def client(k):
        for i in range(1000):
            if until.is_set():
                return
            salt = {"cache_salt": "team-b"} if k == 3 else {}
            server.ask(QUESTIONS[(2 * k + i) % len(QUESTIONS)], 60 + 30 * k, **salt)
            time.sleep(0.4 * k)
    threads = [threading.Thread(target=client, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    return threads


def settled(page, url, text):
    page.go(url + "/")
    page.wait("document.querySelector('#link').dataset.is === 'live'")
    page.eval("document.documentElement.style.fontFamily = 'Inter, system-ui'")  # as on a desktop, where it is installed
    page.eval("document.querySelector('#say').focus()")
    page.type(text)
    page.key("Enter")


def packed(png):
    """The same picture, compressed as well as zlib can: browsers hurry."""
    out, pixels, at = png[:8], b"", 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        chunk, at = png[at + 8:at + 8 + size], at + 12 + size
        if kind == b"IDAT":
            pixels += chunk
            continue
        if pixels:
            out, pixels = out + chunk_of(b"IDAT", zlib.compress(zlib.decompress(pixels), 9)), b""
        out += chunk_of(kind, chunk)
    return out


def chunk_of(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def save(page, name):
    path = pathlib.Path("docs") / name
    path.write_bytes(packed(page.picture()))
    print(f"{path}  {path.stat().st_size >> 10} KiB")


def take_all(server, browser):
    until = threading.Event()
    threads = be_busy(server, until)
    try:
        wide = Page(browser, 1280, 720, 1.25)
        settled(wide, server.url, "What is an aquifer, and why do wells run dry?")
        wide.wait(QUIET + " && document.querySelector('.message .after')", 120)
        wide.type("Say it in one sentence.")
        wide.key("Enter")
        wide.wait("document.querySelectorAll('.message')[3]?.textContent.length > 60", 120)
        save(wide, "page.png")
        wide.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        wide.eval("document.querySelector('#memory').scrollTop = 360")
        time.sleep(1)
        save(wide, "page-dark.png")
        narrow = Page(browser, 390, 844, 1.5)
        settled(narrow, server.url, "What is an aquifer?")
        narrow.wait("document.querySelectorAll('.message')[1]?.textContent.length > 200", 120)
        save(narrow, "page-narrow-chat.png")
        narrow.eval("document.querySelector('[data-show=memory]').click()")
        time.sleep(8)
        save(narrow, "page-narrow-memory.png")
    finally:
        until.set()
        for thread in threads:
            thread.join()


def main():
    if not find():
        sys.exit("there is no chromium: tools/install_deps.sh test installs it")
    server, browser = Server(*sys.argv[1:]), Browser(find())
    try:
        take_all(server, browser)
    finally:
        browser.close()
        server.process.terminate()
        server.process.wait()


main()
