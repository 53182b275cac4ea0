#!/usr/bin/env python3
"""Trains a small model, serves it, and uses the page in headless Chromium as a visitor would.

    serve_page.py ZVIT FOLDER

Exit code 0 when all is well, 1 when something is not, 77 when Chromium or its driver is missing, or
when zvit was built without libmicrohttpd.
"""
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import browser  # noqa: E402

FORMATS = os.path.join(HERE, "golden", "formats")
CLASSES = {"<img src=x onerror=alert(1)>": ["rgb.png", "baseline_420.jpg", "progressive.jpg"],
           "d\u00e9j\u00e0 vu": ["gray.png", "gray.jpg", "gray16.png"]}
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what, flush=True)


def make_model(zvit, folder):
    for name, pictures in CLASSES.items():
        where = os.path.join(folder, "data", "train", name)
        os.makedirs(where)
        for picture in pictures:
            shutil.copy(os.path.join(FORMATS, picture), where)
    run = os.path.join(folder, "run")
    subprocess.run(
        [zvit, "train", os.path.join(folder, "data"), "--out", run, "--epochs", "2", "--img-size", "16",
         "--patch-size", "4", "--embed-dim", "16", "--depth", "1", "--num-heads", "2", "-b", "4",
         "--threads", "2", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return run


class Server:
    def __init__(self, zvit, model):
        self.process = subprocess.Popen([zvit, "serve", model, "--port", "0", "--quiet"],
                                        stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.process.send_signal(signal.SIGTERM)
        check(self.process.wait(60) == 0, "the server ends with 0")


def until(page, script, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if page.run("return Boolean(" + script + ")"):
            return
        time.sleep(0.05)
    check(False, what)


def put_files(page, *names):
    """As the file dialog does."""
    element = page.send("POST", "/element", {"using": "css selector", "value": "#file"})
    paths = "\n".join(os.path.join(FORMATS, name) for name in names)
    page.send("POST", f"/element/{list(element.values())[0]}/value", {"text": paths})


SHOWN = "!document.getElementById('legend').hidden"
TEXT = "return document.getElementById(arguments[0]).textContent"


def use(page, url):
    page.open(url)
    until(page, "document.getElementById('model').textContent.includes('2 classes')", "the model is named")
    check(page.run("return document.querySelector('html').lang") == "en", "the page has a language")
    put_files(page, "rgb.png", "exif_orientation_6.jpg")
    until(page, SHOWN, "the heat map appears")
    bars = page.run("return [...document.querySelectorAll('#bars button')].map((b) => b.textContent)")
    check(len(bars) == 2 and all("%" in bar for bar in bars), f"two classes are listed: {bars}")
    check({name for name in CLASSES if any(name in bar for bar in bars)} == set(CLASSES),
          "class names are shown as they are")
    check(page.run("return document.querySelectorAll('#bars img, #class img').length") == 0,
          "class names are no markup")
    widths = page.run("return [...document.querySelectorAll('#bars .bar')]"
                      ".map((b) => Number(b.style.getPropertyValue('--share')))")
    check(abs(sum(widths) - 1) < 1e-3, f"the bars add up to one: {widths}")
    check("96 × 64 pixels" in page.run(TEXT, "caption"), "the picture's size is named")
    check(page.run("return document.querySelectorAll('#strip button').length") == 2, "both are in the strip")
    colors = page.run("""
        const canvas = document.getElementById('heat');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        const seen = new Set();
        for (let i = 0; i < pixels.length; i += 4) {
          if (pixels[i + 3] > 200 && pixels[i] + pixels[i + 1] > 0) seen.add(pixels[i] > pixels[i + 2]);
        }
        return [seen.size, canvas.width / canvas.height];""")
    check(colors[0] >= 1, "the map is drawn")
    check(abs(colors[1] - 1.5) < 0.01, f"the map has the picture's shape: {colors[1]}")

    other = page.run("""
        const button = [...document.querySelectorAll('#bars button')][1];
        button.click();
        return button.querySelector('.name').textContent;""")
    until(page, f"{SHOWN} && document.getElementById('status').textContent"
          ".startsWith('Heat map of ')", "the other class's map appears")
    check(page.run("return document.getElementById('class').value") == other, "the choice follows")
    check(page.run("return [...document.querySelectorAll('#bars button')]"
                   ".map((b) => b.getAttribute('aria-pressed')).join()") == "false,true",
          "the chosen class is marked")
    page.run("document.getElementById('show').click()")
    check(page.run("return document.getElementById('heat').hidden && "
                   "!document.getElementById('frame').classList.contains('explained')"),
          "the map can be put away")
    page.run("document.getElementById('show').click()")

    page.run("document.querySelectorAll('#strip button')[1].click()")
    until(page, SHOWN + " && document.getElementById('caption').textContent.includes('exif')",
          "the second picture is shown")
    turned = page.run("const c = document.getElementById('heat'), p = document.getElementById('picture');"
                      "return [c.width / c.height, p.naturalWidth / p.naturalHeight]")
    check(abs(turned[0] - turned[1]) < 0.02, f"an upright picture has an upright map: {turned}")

    page.run("""
        const transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob('iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg=='), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));
        document.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true}));""")
    until(page, SHOWN + " && document.getElementById('caption').textContent.includes('dropped.png, 2 × 2')",
          "a dropped picture is classified")
    page.run("""
        const transfer = new DataTransfer();
        transfer.items.add(new File(['x'], 'image.png', {type: 'image/png'}));
        document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true}));""")
    until(page, "!document.getElementById('error').hidden", "a pasted file that is no picture is named")
    check("expected a JPEG or PNG" in page.run(TEXT, "error"), "and says why")
    check(page.run("return document.getElementById('heat').hidden"), "without a map")


def check_keyboard(page, url):
    page.open(url)
    page.press("Tab")
    check(page.run("return document.activeElement.id") == "choose", "the first stop is the choice")
    put_files(page, "rgb.png")
    until(page, SHOWN, "the heat map appears")
    stops = []
    for _ in range(12):
        page.press("Tab")
        stops.append(page.run("const e = document.activeElement; return e.id || e.closest('[id]')?.id"))
    for stop in ("show", "strength", "class", "bars"):
        check(stop in stops, f"the keyboard reaches {stop}: {stops}")
    names = page.run("""
        return [...document.querySelectorAll('input, select, button')].filter((e) => e.offsetParent)
          .map((e) => (e.labels?.[0]?.textContent || e.getAttribute('aria-label') || e.textContent ||
                       e.querySelector('img')?.alt || '').trim());""")
    check(all(names), f"every control has a name: {names}")


def check_widths(url):
    for width in (360, 768, 1280):
        for dark in (False, True):
            with browser.Browser(width, 900, dark=dark) as page:
                page.open(url)
                put_files(page, "rgb.png", "gray.jpg")
                until(page, SHOWN, f"the heat map appears at {width}")
                wide = page.run("return document.documentElement.scrollWidth")
                check(wide <= width, f"nothing sticks out at {width}: {wide}")
                back = page.run("return getComputedStyle(document.body).backgroundColor")
                check((back == "rgb(18, 21, 28)") == dark, f"light or dark as asked: {back}")
                check(page.console() == [], "the console is empty")


def main():
    zvit, folder = sys.argv[1:]
    lacking = browser.missing()
    features = subprocess.run([zvit, "info", "--json"], check=True, capture_output=True, text=True).stdout
    if lacking or "libmicrohttpd" not in features:
        print("skipped:", lacking or "libmicrohttpd", "is missing")
        return browser.SKIPPED
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with Server(zvit, make_model(zvit, folder)) as server:
        with browser.Browser(1280, 900) as page:
            use(page, server.url)
            # What the server refused is told by the browser, too.
            complaints = [line for line in page.console() if " 422 " not in line]
            check(complaints == [], f"the console is empty: {complaints}")
            ours = (server.url, "blob:" + server.url, "data:", "chrome:")  # the last: an empty tab
            others = [url for url in page.requests() if not url.startswith(ours)]
            check(others == [], f"nothing is asked of anybody else: {others}")
            check_keyboard(page, server.url)
        check_widths(server.url)
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
