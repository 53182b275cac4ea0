#!/usr/bin/env python3
"""Sends zvit serve what clients send, good and bad, for a while, and looks at its answers, its memory and its descriptors:

    soak_serve.py [--zvit build/release/zvit] [--seconds 3600] [--seed N] [--rate REQUESTS_A_SECOND] [--clients N]

Good pictures have to be named as the first time, to the last digit; every other request has to get the code that docs/serve.md
gives it, and slow, silent and vanishing clients have to be let go. Every half minute the traffic rests: the server's memory
must not grow by 1 % after the warm-up, and its descriptors be those of the start. Prints a line for each kind of
request, with percentiles of the time it took; exit code 1 on any violation.
"""
import argparse
import asyncio
import collections
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

sys.dont_write_bytecode = True
from soak_process import descriptors, processor_seconds, resident, spread

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT = 4  # the server's: requests that trickle are let go after it
MIB = 1 << 20
FLAGS = ["--port", "0", "--threads", "1", "--timeout", str(TIMEOUT), "--max-body", "1", "--max-connections", "64", "--quiet"]
WARM_UP = 900  # seconds: each thread's heap grows until it once had the most that happens at a time
# glibc keeps freed memory for as long as it likes, so that a moment with many requests shows for a quarter of an hour. Told to
# give it back at once, what is resident at rest is what is held.
GIVE_BACK = {"MALLOC_TRIM_THRESHOLD_": "32768", "MALLOC_MMAP_THRESHOLD_": "32768"}


def png(width, height):
    """A picture of that many pixels by its own account, in few bytes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


class Wrong(Exception):
    pass


class Connection:
    async def open(self, port, receive=None):
        s = socket.socket()
        s.setblocking(False)
        if receive:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", port))
        # The reader takes no more than it is asked for, so that who reads slowly is slow.
        self.reader, self.writer = await asyncio.open_connection(sock=s, limit=receive or 65536)
        return self

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, head_only=False):
        """(code, headers, body); None where the connection was closed instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        code = int(lines[0].split()[1])
        if code == 100:
            return await self.answer(head_only)
        size = 0 if head_only or code in (304, 204) else int(headers.get("content-length", 0))
        return code, headers, await self.reader.readexactly(size)

    def close(self, abort=False):
        if abort:  # with a reset
            s = self.writer.get_extra_info("socket")
            if s is not None and s.fileno() >= 0:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


def post(body, query="", kind="application/octet-stream", more=""):
    kind = f"Content-Type: {kind}\r\n" if kind else ""
    return (f"POST /v1/classify{query} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {len(body)}\r\n{more}\r\n").encode() + body


def get(path, method="GET", host="localhost", more=""):
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


def form(parts):
    """parts: (name, file name or None, bytes)"""
    body = b""
    for name, filename, data in parts:
        file = f'; filename="{filename}"' if filename else ""
        body += f'--xx\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
    return body + b"--xx--\r\n"


class Soak:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.known = {}
        self.times = collections.defaultdict(list)
        self.counts, self.wrong = collections.Counter(), []
        with tarfile.open(ROOT / "tools" / "digits" / "digits.tar.gz") as tar:
            self.good = [tar.extractfile(m).read() for m, _ in zip((m for m in tar if m.name.endswith(".png")), range(200))]
        self.large = [(ROOT / "tests" / "golden" / name).read_bytes() for name in ("china_420.jpg", "flower_420.jpg")]
        self.gate = asyncio.Event()
        self.busy, self.stood_still = 0, 0.0

    # ---- kinds of traffic; each is given a connection, and raises Wrong ----

    async def exchange(self, c, request, code, head_only=False, what=None):
        """Sends it and takes the answer, which must have this code (or one of these)."""
        await c.send(request)
        answer = await c.answer(head_only)
        codes = code if isinstance(code, tuple) else (code,)
        if answer is None and None in codes:
            return None
        if answer is None or answer[0] not in codes:
            raise Wrong(f"{what or request[:80]!r}: expected {code}, got {answer and (answer[0], answer[2][:200])}")
        if answer[0] >= 400 and "json" in answer[1].get("content-type", ""):
            json.loads(answer[2])["error"]
        return answer

    def same(self, key, results):
        """What is said of a picture never changes."""
        text = re.sub(r'"milliseconds": ?[0-9.e+-]+', "", json.dumps(results))
        if self.known.setdefault(key, text) != text:
            raise Wrong(f"another answer than before: {text} instead of {self.known[key]}")

    async def picture(self, c):
        for _ in range(self.random.choice([1, 1, 3])):  # kept alive
            i = self.random.randrange(len(self.good))
            _, _, body = await self.exchange(c, post(self.good[i], "?topk=3"), 200)
            self.same(("good", i), json.loads(body)["results"])

    async def photo(self, c):
        i = self.random.randrange(2)
        _, _, body = await self.exchange(c, post(self.large[i], kind="image/jpeg"), 200)
        self.same(("large", i), json.loads(body)["results"])

    async def several(self, c):
        chosen = [self.random.randrange(len(self.good)) for _ in range(self.random.randint(1, 12))]
        parts = [("p", f"{i}.png", self.good[i]) for i in chosen] + [("p", "no.png", b"no picture"), ("topk", None, b"2")]
        body = form(parts)
        _, _, text = await self.exchange(c, post(body, kind="multipart/form-data; boundary=xx"), 200)
        results = json.loads(text)["results"]
        if len(results) != len(chosen) + 1 or "error" not in results[-1]:
            raise Wrong(f"form: {text[:300]!r}")
        for i, result in zip(chosen, results):
            self.same(("form", i), result)

    async def chunked(self, c):
        i = self.random.randrange(len(self.good))
        data, size = self.good[i], self.random.randint(1, 300)
        request = b"POST /v1/classify?topk=3 HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        request += b"".join(b"%x\r\n%s\r\n" % (len(data[k:k + size]), data[k:k + size]) for k in range(0, len(data), size)) + b"0\r\n\r\n"
        _, _, body = await self.exchange(c, request, 200)
        self.same(("good", i), json.loads(body)["results"])

    async def heat_map(self, c):
        i = self.random.randrange(len(self.good))
        _, _, body = await self.exchange(c, post(self.good[i], "?explain=1&topk=1"), 200)
        self.same(("heat", i), json.loads(body)["results"])

    async def overlay(self, c):
        i = self.random.randrange(2)
        _, _, body = await self.exchange(c, post(self.large[i], "?overlay=1"), 200)
        self.same(("overlay", i), json.loads(body)["results"])

    async def page(self, c):
        _, headers, _ = await self.exchange(c, get("/"), 200)
        await self.exchange(c, get("/", more=f'If-None-Match: {headers["etag"]}\r\n'), 304)
        for path in ("/page.js", "/page.css", "/v1/model", "/healthz", "/metrics"):
            await self.exchange(c, get(path), 200)
        await self.exchange(c, get("/", "HEAD"), 200, head_only=True)

    async def broken_picture(self, c):
        good = self.random.choice(self.good)
        cut = self.random.randrange(8, len(good) - 30)
        await self.exchange(c, post(self.random.choice([good[:cut], self.random.randbytes(self.random.randint(1, 5000)), b"GIF89a",
                                                        good[:33] + self.random.randbytes(200)])), 422)

    async def no_picture(self, c):
        await self.exchange(c, post(b""), (400, 422))

    async def many_pixels(self, c):
        await self.exchange(c, post(png(60000, 60000)), 413)

    async def bad_setting(self, c):
        query = self.random.choice(["?topk=0", "?topk=x", "?explain=2", "?nonsense=1", "?threshold=nan", "?explain=1&class=elephant",
                                    "?topk=%00", "?method=magic"])
        await self.exchange(c, post(self.random.choice(self.good), query), 400)

    async def bad_request(self, c):
        body = self.random.choice(self.good)
        request, code = self.random.choice([
            (get("/nothing"), 404), (get("/../../etc/passwd"), 404), (get("/v1/classify"), 405), (get("/", "DELETE"), 405),
            (get("/healthz", "POST", more="Content-Length: 0\r\n"), 405), (get("/", host="evil.example"), 421),
            (post(body, more="Origin: http://evil.example\r\n"), 403), (post(body, kind="text/plain"), 415),
            (post(body, more="Content-Encoding: gzip\r\n"), 415), (get("/v1/classify", "POST"), 411),
            (get("/v1/classify", "POST", more="Transfer-Encoding: gzip\r\n"), 501),
            (post(b"xx", kind="multipart/form-data; boundary=xx"), 400),
            (get("/v1/classify", "POST", more="Content-Length: -1\r\n"), (400, None)),
            (get("/", more="X: " + "y" * 40000 + "\r\n"), (431, 413, 400, None)), (get("/" + "y" * 40000), (414, 431, 400, None)),
            (self.random.randbytes(100) + b"\r\n\r\n", (400, 404, 405, 505, 501, 421, None)),
            (b"GET / HTTP/9.9\r\n\r\n", (400, 505, None)), (b"\r\n" * 50 + b"\0\0\0\r\n\r\n", (400, None))])
        await self.exchange(c, request, code)

    async def oversize(self, c):
        """Announced, or found out while it comes; who sends on may find the connection closed before the answer was read."""
        size = self.random.randint(MIB + 1, 3 * MIB)
        head = "Content-Length: %d\r\n" % size if self.random.random() < 0.5 else "Transfer-Encoding: chunked\r\n"
        request = get("/v1/classify", "POST", more=f"Content-Type: image/png\r\n{head}")
        try:
            await c.send(request)
            for _ in range(0, size, 65536):
                await c.send((b"10000\r\n" if "chunked" in head else b"") + bytes(65536) + (b"\r\n" if "chunked" in head else b""))
            if "chunked" in head:
                await c.send(b"0\r\n\r\n")
        except ConnectionError:
            pass
        try:
            answer = await c.answer()
        except ConnectionError:
            answer = None
        if answer is not None and answer[0] != 413:
            raise Wrong(f"{size} bytes: {answer[0]} {answer[2][:200]}")
        self.counts["oversize: answered" if answer else "oversize: cut off"] += 1

    async def slow_sender(self, c):
        """A byte now and then: is let go soon after the time-out."""
        request, begin = post(self.random.choice(self.good)), time.monotonic()
        cut = self.random.choice([self.random.randrange(1, 60), self.random.randrange(100, 200)])
        answered = asyncio.create_task(c.answer())
        try:
            await c.send(request[:cut])
            while not answered.done() and time.monotonic() - begin < 3 * TIMEOUT:
                await asyncio.sleep(0.3)
                await c.send(request[cut:cut + 1])
                cut += 1
        except ConnectionError:
            pass
        try:
            answer = await asyncio.wait_for(answered, 1)
        except asyncio.TimeoutError:
            raise Wrong(f"who sends a byte at a time is waited for after {3 * TIMEOUT} s") from None
        except ConnectionError:
            answer = None
        if answer is not None and answer[0] != 408:
            raise Wrong(f"who sends a byte at a time: {answer[0]}")
        self.counts["slow sender: 408" if answer else "slow sender: closed"] += 1

    async def slow_reader(self, c):
        """Takes its answers a little at a time: is cut off after the time-out, and so never gets all of them."""
        c.close(abort=True)
        s = socket.socket()
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        loop, begin, taken = asyncio.get_running_loop(), time.monotonic(), 0
        try:
            await loop.sock_connect(s, ("127.0.0.1", self.port))
            await asyncio.wait_for(loop.sock_sendall(s, get("/page.js") * 400), 5)  # more than the kernel's buffers hold
            while time.monotonic() - begin < 2.5 * TIMEOUT:
                await asyncio.sleep(0.2)
                taken += len(await asyncio.wait_for(loop.sock_recv(s, 64), 5))
            while data := await asyncio.wait_for(loop.sock_recv(s, 65536), 5):
                taken += len(data)
        except ConnectionError:
            pass
        except asyncio.TimeoutError:
            raise Wrong(f"who reads slowly still is served, {taken} bytes") from None
        finally:
            s.close()
        if taken > 400 * (ROOT / "tools/serve/page.js").stat().st_size:
            raise Wrong(f"who reads slowly got all of it, {taken} bytes")

    async def silent(self, c):
        """Says nothing, or nothing more: is let go after the time-out."""
        if self.random.random() < 0.5:
            await self.exchange(c, get("/healthz"), 200)
        begin = time.monotonic()
        try:
            await asyncio.wait_for(c.reader.read(), 3 * TIMEOUT)
        except asyncio.TimeoutError:
            raise Wrong("a silent connection stayed open") from None
        except ConnectionError:
            pass
        if time.monotonic() - begin < TIMEOUT / 2:
            raise Wrong(f"a silent connection was closed after {time.monotonic() - begin:.1f} s")

    async def abort(self, c):
        """Goes away at any point, well or badly."""
        request = post(self.random.choice(self.good + self.large), self.random.choice(["", "?explain=1", "?overlay=1"]))
        cut = self.random.choice([0, self.random.randrange(len(request)), len(request), len(request)])
        await c.send(request[:cut])
        await asyncio.sleep(0.05 * self.random.random() ** 2)
        c.close(abort=self.random.random() < 0.7)

    # weights; heat maps take longest, and who waits for a time-out holds a client
    KINDS = {"picture": 40, "photo": 4, "several": 6, "chunked": 6, "heat_map": 6, "overlay": 2, "page": 4, "broken_picture": 8,
             "no_picture": 1, "many_pixels": 2, "bad_setting": 4, "bad_request": 8, "oversize": 1.5, "slow_sender": 0.4,
             "slow_reader": 0.4, "silent": 0.4, "abort": 6}

    # ---- the whole ----

    async def client(self):
        names, weights = list(self.KINDS), list(self.KINDS.values())
        while time.monotonic() < self.end and len(self.wrong) < 20:
            await asyncio.sleep(self.random.expovariate(self.options.rate / self.options.clients))
            await self.gate.wait()
            kind = self.random.choices(names, weights)[0]
            begin = time.monotonic()
            c = None
            self.busy += 1
            try:
                c = await Connection().open(self.port)
                await asyncio.wait_for(getattr(self, kind)(c), 60)
                self.times[kind].append(time.monotonic() - begin)
            except (Wrong, OSError, ValueError, KeyError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
                if self.stood_still > begin:
                    self.counts["not judged: the machine stood still"] += 1
                    continue
                self.wrong.append(f"{kind}: {type(error).__name__}: {error}")
                print("WRONG", self.wrong[-1], flush=True)
            finally:
                self.busy -= 1
                if c:
                    c.close()

    async def tick(self):
        """Notes when the machine stood still for seconds, as when it was suspended: what was on its way then came too late."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.2)
            now = time.monotonic()
            if now - before > 3:
                self.stood_still = now
                print(f"the machine stood still for {now - before:.0f} s", flush=True)
            before = now

    async def at_rest(self):
        """Lets no new request begin until all have ended, and the server has noticed."""
        self.gate.clear()
        while self.busy:
            await asyncio.sleep(0.05)
        for _ in range(100):
            await asyncio.sleep(0.1)
            if descriptors(self.pid) == self.files:
                break
        self.rests.append((time.monotonic() - self.begin, resident(self.pid), descriptors(self.pid)))
        self.gate.set()

    async def load(self):
        self.begin = time.monotonic()
        self.end = self.begin + self.options.seconds
        await asyncio.sleep(0.5)
        self.files, self.rests = descriptors(self.pid), []
        self.gate.set()
        ticker = asyncio.create_task(self.tick())
        clients = [asyncio.create_task(self.client()) for _ in range(self.options.clients)]
        while time.monotonic() < self.end and not all(c.done() for c in clients):
            await asyncio.sleep(min(30, self.options.seconds / 8))
            await self.at_rest()
        await asyncio.gather(*clients)
        ticker.cancel()
        await self.at_rest()

    def serve(self):
        server = subprocess.Popen([self.options.zvit, "serve", self.options.model, *FLAGS], stdout=subprocess.PIPE, text=True,
                                  env=os.environ | GIVE_BACK)
        self.pid = server.pid
        self.port = int(server.stdout.readline().rsplit(":", 1)[1].strip("/\n"))
        try:
            asyncio.run(self.load())
            used = processor_seconds(self.pid)
        finally:
            server.terminate()
            code = server.wait(60)
        if code != 0:
            self.wrong.append(f"the server ended with {code}")
        self.report(used)

    def report(self, used):
        seconds = time.monotonic() - self.begin
        total = sum(map(len, self.times.values()))
        print(f"\n{seconds:.0f} s, seed {self.options.seed}: {total} exchanges, {len(self.wrong)} of them wrong; "
              f"the server used {used / seconds:.2f} of a core")
        print(f"  {'':16}{'times':>8}{'50 %':>9}{'90 %':>9}{'99 %':>9}{'longest':>9}  ms")
        for kind, times in sorted(self.times.items(), key=lambda item: -len(item[1])):
            times.sort()
            cells = "".join(f"{1000 * times[min(len(times) - 1, int(share * len(times)))]:9.1f}" for share in (0.5, 0.9, 0.99, 1))
            print(f"  {kind.replace('_', ' '):16}{len(times):8}{cells}")
        for name, count in sorted(self.counts.items()):
            print(f"  {name}: {count}")
        warm = [r for r in self.rests if r[0] >= min(WARM_UP, seconds / 4)]
        memory = [r[1] for r in warm]
        print(f"  memory at rest, {len(memory)} times after the warm-up: {min(memory) >> 10} to {max(memory) >> 10} KiB "
              f"({100 * spread(memory):.2f} %); descriptors: {self.files} at the start, "
              f"{min(r[2] for r in self.rests)} to {max(r[2] for r in self.rests)} at rest")
        if any(r[2] != self.files for r in self.rests):
            self.wrong.append("descriptors stayed open")
        if seconds < 900:
            print("  (the warm-up takes longer than this: memory is not judged)")
            return
        third = len(memory) // 3
        floors = [min(memory[:third]), min(memory[-third:])]  # what is never given back, which is what a leak adds to
        print(f"  the least memory of the first and of the last third: {floors[0] >> 10} and {floors[1] >> 10} KiB "
              f"({100 * (floors[1] / floors[0] - 1):+.2f} %)")
        if floors[1] > 1.01 * floors[0]:
            self.wrong.append("memory is not flat")
            print("\n".join(f"    {r[0]:6.0f} s {r[1] >> 10} KiB {r[2]}" for r in self.rests))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--zvit", default=ROOT / "build/release/zvit")
    parser.add_argument("--model", default=ROOT / "tests/models/digits-zeros.safetensors")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=float, default=40, help="exchanges begun in a second, all clients together")
    parser.add_argument("--clients", type=int, default=24)
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(1 << 32)
    print(f"seed {options.seed}", flush=True)
    soak = Soak(options)
    soak.serve()
    for text in soak.wrong:
        print("FAILED:", text)
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
