"""What the page must do, in a real browser: page_check.py SCENARIO URL. Exit 77: there is no browser."""
import json
import sys
import urllib.error
import urllib.request

from browser import Browser, Page, find

LIVE = "document.querySelector('#link').dataset.is === 'live'"
LEGEND = "[...document.querySelectorAll('#legend b')].map((b) => Number(b.textContent.replace(/,/g, '')))"
OPEN, SEALED, SHARED, IDLE, FREE, OTHERS = range(6)  # of the legend


def opened(browser, url, **size):
    page = Page(browser, **size)
    page.go(url + "/")
    page.wait(LIVE)
    page.wait(f"{LEGEND}[{FREE}] > 0")
    return page


def post(url, body, key=None):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = "Bearer " + key
    request = urllib.request.Request(url + "/v1/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def ask(page, text):
    page.eval("document.querySelector('#say').focus()")
    page.type(text)
    page.key("Enter")


def loads(browser, url):
    page = opened(browser, url)
    page.wait("document.querySelector('#model').textContent.includes('smollm2')")
    page.wait("document.querySelectorAll('.figure output').length === 4")
    # The map is a picture, not an empty canvas.
    painted = """(() => { const c = document.querySelector('.map canvas');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((x) => x > 0); })()"""
    assert page.eval(painted), "the map is empty"
    return page


def streams(browser, url):
    page = opened(browser, url)
    said = "document.querySelector('.message[data-role=assistant] .said').textContent"
    before = page.eval(LEGEND)
    ask(page, "Tell me all about rivers.")
    page.wait("document.querySelector('#send').textContent === 'Stop'")
    page.wait(f"{said}.length > 20")
    begun = page.eval(said)
    page.wait(f"{said}.length > {len(begun)}")  # more of it came
    assert page.eval(said).startswith(begun), "what was there has changed"
    page.wait(f"{LEGEND}[{OPEN}] === 1")  # while it streams
    page.wait("document.querySelector('#sequences').textContent.includes('answering')")
    assert page.eval("document.querySelector('#send').textContent") == "Stop", "it ended too early to see anything"
    assert page.eval(LEGEND)[FREE] < before[FREE], "no block was taken"
    page.key("Escape")
    page.wait("document.querySelector('#send').textContent === 'Send'")
    page.wait("document.querySelector('.message .after').parentElement.parentElement.textContent.includes('stopped')")
    page.wait(f"{LEGEND}[{OPEN}] === 0 && {LEGEND}[{IDLE}] > 0")  # its blocks are kept for reuse
    page.wait("document.querySelector('#tree').textContent.includes('rivers')")
    page.wait("document.querySelector('#requests').textContent.includes('cold')")
    return page


def shows_kept_rows(browser, url):
    page = opened(browser, url)
    page.eval("document.querySelector('#settings-button').click()")
    page.eval("document.querySelector('[name=kv]').value = 'window:budget=64,every=16'")
    ask(page, "Tell me all about rivers. " * 30)
    page.wait("document.querySelector('#sequences button')?.textContent === 'window'")
    page.wait("document.querySelector('#sequences').textContent.includes('answering')")
    page.eval("document.querySelector('#sequences button').focus()")
    page.key("Enter")
    page.wait("!document.querySelector('#rows').hidden")
    # What is in the middle went, what is at both ends stayed, in the first layer and in the last.
    alphas = """(() => { const c = document.querySelector('#rows canvas'), p = c.getContext('2d');
        const at = (x, y) => p.getImageData(x, y, 1, 1).data[3];
        return [0, c.height - 1].flatMap((y) => [at(0, y), at(c.width >> 1, y), at(c.width - 1, y)]); })()"""
    assert page.eval(alphas) == [255, 0, 255, 255, 0, 255], page.eval(alphas)
    said = page.eval("document.querySelector('#rows figcaption').textContent")
    assert "% of the rows" in said and "30 layers" in said and "window:budget=64" in said, said
    page.key("Escape")
    return page


def fits_narrow(browser, url):
    page = opened(browser, url, width=390, height=844, dark=True)
    for view in "memory", "chat":
        page.eval(f"document.querySelector('[data-show={view}]').click()")
        shown = page.eval(f"document.querySelector('#{view}').getBoundingClientRect().width")
        assert shown == 390, f"{view} is {shown} wide"
        wide = page.eval("""Math.max(...[document.documentElement, ...document.querySelectorAll('main, main > section')]
            .map((e) => e.scrollWidth))""")
        assert wide <= 390, f"{view} scrolls sideways: {wide} pixels"
    page.eval("document.querySelector('#settings-button').click()")
    assert page.eval("document.documentElement.scrollWidth") <= 390, "settings scroll sideways"
    light = page.eval("getComputedStyle(document.body.parentElement).backgroundColor")
    page.eval("document.querySelector('#theme').click()")
    assert page.eval("getComputedStyle(document.body.parentElement).backgroundColor") != light, "one theme for all"
    return page


def keyboard_is_enough(browser, url):
    post(url, {"prompt": "Once upon a time there was a well, and in it", "max_tokens": 80, "temperature": 0})
    page = opened(browser, url)
    assert page.eval("document.activeElement.id") == "say", "the message is not in focus"
    page.type("one")
    page.key("Enter", shift=True)
    page.type("two")
    assert page.eval("document.querySelector('#say').value") == "one\ntwo", "Shift-Enter is no new line"
    for _ in range(4):  # send, the map
        page.key("Tab")
        if page.eval("document.activeElement.tagName") == "CANVAS":
            break
    assert page.eval("document.activeElement.tagName") == "CANVAS", "Tab does not come to the map"
    details = "document.querySelector('#details').textContent"
    assert page.eval(details).startswith("Block 0 "), page.eval(details)
    page.key("ArrowRight")
    assert page.eval(details).startswith("Block 1 "), page.eval(details)
    for _ in range(6):
        page.key("Tab")
        if page.eval("document.activeElement.getAttribute('role')") == "treeitem":
            break
    assert page.eval("document.activeElement.getAttribute('role')") == "treeitem", "Tab does not come to the tree"
    page.key("Enter")
    page.wait("document.activeElement.getAttribute('aria-selected') === 'true'")
    return page


def asks_for_a_key(browser, url):
    post(url, {"prompt": "A secret of bob's, which is long enough to be kept", "max_tokens": 4}, "bob")
    page = Page(browser)
    page.go(url + "/")
    page.wait("!document.querySelector('#key-form').hidden")
    page.wait("document.activeElement.id === 'key'")
    page.type("alice")
    page.key("Enter")
    page.wait(LIVE)
    page.wait(f"{LEGEND}[{OTHERS}] > 0")
    page.wait("document.querySelector('#model').textContent.includes('smollm2')")
    ask(page, "What is mine?")
    page.wait("document.querySelector('.message[data-role=assistant] .said').textContent.length > 4")
    page.wait("document.querySelector('#tree').textContent.includes('mine')", 90)
    assert "secret" not in page.eval("document.documentElement.textContent"), "a tenant sees another's text"
    # The browser itself complains about 401s.
    assert all("401" in c for c in page.complaints()), page.complaints()
    return None


def is_turned_off(_browser, url):
    for path in "/", "/page/page.js":
        try:
            urllib.request.urlopen(url + path, timeout=30)
        except urllib.error.HTTPError as error:
            assert error.code == 404, error.code
        else:
            raise AssertionError(f"{path} is there")


def main():
    scenario, url = sys.argv[1:]
    if not find():
        return 77
    browser = Browser(find())
    try:
        page = globals()[scenario](browser, url)
        complaints = page.complaints() if page else []
        assert not complaints, complaints
    finally:
        browser.close()
    return 0


sys.exit(main())
