"""A headless Chromium through chromedriver, with the standard library alone."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

SKIPPED = 77
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--hide-scrollbars",
]


def missing():
    """What is not there, or None."""
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        return "chromium"
    return None if shutil.which("chromedriver") else "chromedriver"


class Browser:
    def __init__(self, width, height, dark=False, script=True):
        self.folder = tempfile.mkdtemp(prefix="zvit-browser-")
        self.log = open(os.path.join(self.folder, "driver.log"), "w+b")
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=self.log, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": self.folder, "HOME": self.folder})
        try:
            self.base = f"http://127.0.0.1:{self.port()}"
            self.open_session(width, height, dark, script)
        except BaseException:
            self.close()
            raise

    def port(self):
        for _ in range(600):
            with open(self.log.name, encoding="utf-8", errors="replace") as log:
                for line in log:
                    if "started successfully on port" in line:
                        return int(line.split()[-1].rstrip("."))
            if self.driver.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError("chromedriver does not start")

    def open_session(self, width, height, dark, script):
        options = {
            "binary": shutil.which("chromium") or shutil.which("chromium-browser"),
            "args": FLAGS + [f"--user-data-dir={self.folder}/profile",
                             f"--window-size={max(width, 600)},{height}"],
            "perfLoggingPrefs": {"enableNetwork": True, "enablePage": False},
        }
        answer = self.send("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.base += "/session/" + answer["sessionId"]
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=width < 600)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.devtools("Emulation.setScriptExecutionDisabled", value=not script)

    def send(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        # Not through a proxy: it is this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"].splitlines()[0]) from None

    def devtools(self, command, **parameters):
        return self.send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.send("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys):
        """Keys as the WebDriver standard numbers them."""
        codes = {"Tab": "\ue004", "Enter": "\ue007", "Left": "\ue012", "Up": "\ue013",
                 "Right": "\ue014", "Down": "\ue015", "Home": "\ue011", "End": "\ue010"}
        actions = [{"type": kind, "value": codes.get(key, key)}
                   for key in keys for kind in ("keyDown", "keyUp")]
        self.send("POST", "/actions", {"actions": [
            {"type": "key", "id": "keys", "actions": actions}]})

    def point(self, x, y):
        self.send("POST", "/actions", {"actions": [{
            "type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
            "actions": [{"type": "pointerMove", "duration": 0, "x": int(x), "y": int(y)}]}]})

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.send("GET", "/screenshot")))

    def console(self):
        """What the page complained of."""
        return [entry["message"] for entry in self.send("POST", "/se/log", {"type": "browser"})]

    def requests(self):
        """What was asked for, but for the page's own parts and what it is itself."""
        urls = []
        for entry in self.send("POST", "/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        return urls

    def close(self):
        try:
            if "/session/" in getattr(self, "base", ""):
                self.send("DELETE", "")
        except (RuntimeError, OSError):
            pass
        self.driver.terminate()
        self.driver.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.close()
