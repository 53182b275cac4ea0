#!/usr/bin/env python3
"""Trains a small model, opens its report in headless Chromium, and looks at it as a user would.

    report_page.py ZVIT FOLDER

Exit code 0 when all is well, 1 when something is not, 77 when Chromium or its driver is missing.
"""
import os
import random
import shutil
import struct
import subprocess
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import browser  # noqa: E402

CLASSES = ["plain", "<script>alert(1)<", 'q"uo\'te & {{css}}', "d\u00e9j\u00e0\u202evu", "{{note}}"]
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what, flush=True)


def write_png(path, side, pixels):
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    rows = b"".join(b"\0" + pixels[3 * side * y:3 * side * (y + 1)] for y in range(side))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
                   + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def make_data(folder):
    draws = random.Random(1)
    for split, count in (("train", 12), ("val", 8)):
        for label, name in enumerate(CLASSES):
            os.makedirs(os.path.join(folder, split, name))
            for i in range(count):
                # Colours that overlap, so that there are mistakes to show.
                pixels = bytes(min(255, 40 * label + draws.randrange(150)) for _ in range(3 * 16 * 16))
                write_png(os.path.join(folder, split, name, f"{i}.png"), 16, pixels)


def make_report(zvit, folder):
    make_data(os.path.join(folder, "data"))
    run = os.path.join(folder, "run")
    subprocess.run(
        [zvit, "train", os.path.join(folder, "data"), "--out", run, "--epochs", "4", "--img-size", "16",
         "--patch-size", "8", "--embed-dim", "16", "--depth", "1", "--num-heads", "2", "-b", "8",
         "--threads", "2", "--quiet"],
        check=True, stdout=subprocess.DEVNULL)
    return "file://" + os.path.join(run, "report.html")


def click(page, text):
    """The button with this text."""
    return page.run("""
        const button = [...document.querySelectorAll("button")]
          .find((b) => b.textContent.trim() === arguments[0]);
        if (!button) return false;
        button.click();
        return true;""", text)


def look_at_parts(page):
    sections = page.run("return [...document.querySelectorAll('main > section')].map((s) => s.id)")
    check(sections == ["summary", "curves", "confusion", "classes", "mistakes", "pairs", "calibration",
                       "samples", "data", "settings", "machine"], f"sections {sections}")
    check(page.run("return document.querySelectorAll('.charts .chart').length") == 4, "four charts")
    check(page.run("return [...document.images].every((i) => i.alt !== '' && i.naturalWidth > 0)"),
          "every picture is there and has a text")
    check(page.run("return document.images.length") > 40, "pictures")
    check(page.run("return [...document.querySelectorAll('table')].every((t) => t.caption)"), "captions")
    check(page.run("""const levels = [...document.querySelectorAll("h1,h2,h3")].map((h) => +h.tagName[1]);
        return levels.filter((l) => l === 1).length === 1
          && levels.every((l, i) => i === 0 || l <= levels[i - 1] + 1);"""), "headings in order")
    check(page.run("""return ["header", "nav", "main", "footer"].every((e) => document.querySelector(e))"""),
          "landmarks")
    check(page.run("""const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
        return new Set(ids).size === ids.length;"""), "no id twice")
    check(page.run("""return [...document.querySelectorAll("nav a")]
        .every((a) => document.getElementById(a.hash.slice(1)))"""), "the section links lead somewhere")


def look_at_names(page):
    names = page.run("return [...document.querySelectorAll('#class-table tbody th')].map((t) => t.textContent)")
    shown = [name.replace("\u202e", "\ufffd") for name in CLASSES]
    check(sorted(names) == sorted(shown), f"class names {names}")
    check(page.run("return document.scripts.length") == 2, "no script but the page's own")


def look_at_tables(page):
    def column(index):
        return page.run("""return [...document.querySelectorAll("#class-table tbody tr")]
            .map((row) => row.cells[arguments[0]].textContent.trim())""", index)

    def sort_of(index):
        return page.run("""return document.querySelectorAll("#class-table thead th")[arguments[0]]
            .getAttribute("aria-sort")""", index)

    heads = page.run("return [...document.querySelectorAll('#class-table thead th')].map((t) => t.textContent)")
    recall = heads.index("Recall, %")
    for expected, reverse in (("descending", True), ("ascending", False)):
        check(click(page, "Recall, %"), "a button to sort by recall")
        values = [float(text) for text in column(recall)]
        check(sort_of(recall) == expected, f"aria-sort is {expected}")
        check(values == sorted(values, reverse=reverse), f"{expected}: {values}")
    click(page, "Class")
    check(sort_of(0) == "ascending" and sort_of(recall) == "none", "one column is sorted")
    # By keyboard: the button is focused by a click on it in a real browser, here by hand.
    page.run("document.querySelector('#class-table thead button').focus()")
    page.press("Enter")
    check(sort_of(0) == "descending", "Enter sorts")
    rows = page.run("return [...document.querySelectorAll('#settings-table tr')].filter((r) => r.offsetHeight).length")
    click(page, page.run("return document.querySelector('#settings-tools button').textContent"))
    more = page.run("return [...document.querySelectorAll('#settings-table tr')].filter((r) => r.offsetHeight).length")
    check(more > rows, f"all settings: {rows} rows, then {more}")


def look_at_matrix(page):
    places = "return [...document.querySelectorAll('.cells rect')].map((r) => [r.getAttribute('x'), r.getAttribute('y')].join())"
    readout = "return document.getElementById('matrix-readout').textContent"
    before = page.run(places)
    check(click(page, "most confused"), "a button to sort the matrix")
    after = page.run(places)
    check(before != after and len(set(after)) == len(after), "sorting moves the cells")
    click(page, "class order")
    check(page.run(places) == before, "and back")
    page.run("document.querySelector('.matrix').focus()")
    first = page.run(readout)
    page.press("Right")
    second = page.run(readout)
    check("recognised" in first and "taken for" in second, f"read by keys: {first!r}, {second!r}")
    counts = page.run("""const m = JSON.parse(document.getElementById("values").textContent).matrix;
        let sum = 0; for (let i = 2; i < m.cells.length; i += 3) sum += m.cells[i]; return sum;""")
    check(counts == 8 * len(CLASSES), f"all val pictures are in the matrix: {counts}")
    page.run("document.activeElement.blur(); document.documentElement.style.scrollBehavior = 'auto';"
             "document.querySelector('.matrix').scrollIntoView({block: 'center'})")
    box = page.run("""const b = document.querySelector(".matrix .ground").getBoundingClientRect();
        return [b.x, b.y, b.width / 5, b.height / 5];""")
    page.point(box[0] + 1.5 * box[2], box[1] + 1.5 * box[3])
    check("recognised" in page.run(readout), "read by mouse: " + page.run(readout))


def look_at_curves(page):
    value = "return document.querySelector('#chart-loss .area').getAttribute('aria-valuetext')"
    page.run("document.querySelector('#chart-loss .area').focus()")
    last = page.run(value)
    page.press("Left")
    check(last.startswith("epoch 4,") and page.run(value).startswith("epoch 3,"),
          f"curves by keys: {last}, {page.run(value)}")
    page.press("Home")
    check(page.run(value).startswith("epoch 1,"), "Home is the first epoch")


def look_at_theme(page):
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(ground)
    click(page, "Theme: system")
    click(page, "Theme: light")
    check(page.run(ground) != light, "the switch makes it dark")
    click(page, "Theme: dark")
    check(page.run(ground) == light, "and light again")


# WCAG 2.1, contrast ratio; each text against the first opaque ground behind it.
CONTRAST = """
const luminance = (c) => c.slice(0, 3).map((v) => v / 255)
  .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const groundOf = (e) => {
  for (; e; e = e.parentElement) {
    const c = parts(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const poor = new Set();
for (const e of document.querySelectorAll("body *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !e.getClientRects().length || e.closest("script, .counts")) continue;
  const style = getComputedStyle(e);
  const color = parts(e instanceof SVGElement ? style.fill : style.color);
  const [a, b] = [luminance(color), luminance(groundOf(e))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) poor.add(e.tagName + "." + e.getAttribute("class") + " "
    + ((a + 0.05) / (b + 0.05)).toFixed(2));
}
return [...poor];
"""


def look_with_script(url, width, dark):
    with browser.Browser(width, 900, dark) as page:
        page.open(url)
        where = f"{width} px, {'dark' if dark else 'light'}: "
        wide = page.run("return document.documentElement.scrollWidth")
        check(wide <= width, f"{where}{wide} px wide")
        poor = page.run(CONTRAST)
        check(not poor, f"{where}contrast {poor}")
        if width == 1280 and not dark:
            for look in (look_at_parts, look_at_names, look_at_tables, look_at_matrix, look_at_curves,
                         look_at_theme):
                look(page)
        complaints = page.console()
        check(not complaints, f"{where}console {complaints}")
        asked = [u for u in page.requests() if not u.startswith(("data:", "chrome:", "about:")) and u != url]
        check(not asked, f"{where}requests {asked}")


def look_without_script(url):
    with browser.Browser(1280, 900, script=False) as page:
        page.open(url)
        # Asked of the document tree, as the page's own scripts are off.
        root = page.devtools("DOM.getDocument", depth=1)["root"]["nodeId"]

        def count(selector):
            return len(page.devtools("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"])
        check(count("button") == 0, "no button that does nothing")
        check(count("#class-table tbody tr") == len(CLASSES), "the table of classes without script")
        check(count("path.line") > 4 and count(".cells rect") > 4, "figures without script")


def main():
    zvit, folder = sys.argv[1:3]
    lacking = browser.missing()
    if lacking:
        print(f"skipped: no {lacking}")
        return browser.SKIPPED
    folder = os.path.abspath(folder)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    url = make_report(zvit, folder)
    for width, dark in ((1280, False), (768, True), (360, False)):
        look_with_script(url, width, dark)
    look_without_script(url)
    print("failures:", len(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
