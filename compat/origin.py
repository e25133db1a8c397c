"""A loopback web server that behaves in named ways and keeps every request it saw.

Paths (NAME is one of the samples a.bin b.bin c.bin empty.bin big.bin):
  /file/NAME            ranges, ETag, Last-Modified; the last path segment may be anything that
                        percent-decodes to a name below /file (query ignored)
  /norange/NAME         ignores Range, no Accept-Ranges
  /chunked/NAME         chunked, no length; /close/NAME: no length, ends by closing
  /slow/RATE/NAME       RATE bytes a second
  /cut/COUNT/N/NAME     the first COUNT answers break off after N bytes
  /busy/COUNT/CODE/NAME the first COUNT answers are CODE
  /status/CODE          that status
  /to/CODE/REST         redirect to /REST; /loop redirects to itself; /nowhere has no Location
  /auth/NAME            Basic user:pass
  /named/NAME?HEADER    Content-Disposition: the percent-decoded query
  /silent               accepts and says nothing
  /stall/N/NAME         the header and N bytes, then nothing
  /                     an index
"""

import base64
import email.utils
import hashlib
import random
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

MODIFIED = 1_500_000_000
SIZES = {
    "a.bin": 300_000, "b.bin": 70_000, "c.bin": 1, "empty.bin": 0, "big.bin": 6_000_000,
    "1.bin": 1_000, "2.bin": 2_000, "3.bin": 3_000, "index.html": 500,
    # Names that need escaping in an URL.
    "with space.bin": 400, "ümlaut.bin": 401, "plus+semi;.bin": 402, "tar.gz": 403, "no-ext": 404,
    "a/b": 405, "back\\slash": 406, "quo\"te": 407,
}
BODIES = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}


def digest(name, algorithm="sha256"):
    return hashlib.new(algorithm, BODIES[name]).hexdigest()


class Origin(socketserver.ThreadingTCPServer):
    """The server; `requests` holds (method, path, headers by lower-case name)."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests = []
        self.lock = threading.Lock()
        self.seen = {}
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def count(self, path):
        """How often this path was asked for before."""
        with self.lock:
            before = self.seen.get(path, 0)
            self.seen[path] = before + 1
            return before

    def handle_error(self, *_):
        pass  # a client that leaves early is part of the tests

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.requests.append((self.command, self.path, headers))
        path = self.path.partition("?")[0]
        parts = path.split("/")[1:]
        answer = getattr(self, "on_" + (parts[0] or "index"), None)
        if answer is None:
            self.plain(404)
        else:
            answer(*parts[1:])

    do_HEAD = do_GET

    def log_message(self, *_):
        pass

    def on_index(self, *_):
        self.body("index.html")

    def on_file(self, *names):
        self.body(unquote("/".join(names)) or "index.html")

    def on_norange(self, name):
        self.body(name, ranges=False)

    def on_slow(self, rate, name):
        self.body(name, rate=int(rate))

    def on_cut(self, count, after, name):
        earlier = self.server.count(self.path)
        self.body(name, cut=int(after) if earlier < int(count) else None)

    def on_busy(self, count, code, name):
        if self.server.count(self.path) < int(count):
            self.plain(int(code))
        else:
            self.body(name)

    def on_status(self, code):
        self.plain(int(code))

    def on_to(self, code, *rest):
        self.plain(int(code), Location=self.server.url + "/" + "/".join(rest))

    def on_loop(self, *_):
        self.plain(302, Location=self.server.url + "/loop")

    def on_nowhere(self, *_):
        self.plain(302)

    def on_auth(self, name):
        wanted = "Basic " + base64.b64encode(b"user:pass").decode()
        if self.headers.get("Authorization") == wanted:
            self.body(name)
        else:
            self.plain(401, **{"WWW-Authenticate": 'Basic realm="compat"'})

    def on_named(self, name):
        self.body(name, **{"Content-Disposition": unquote(self.path.partition("?")[2])})

    def on_chunked(self, name):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = BODIES[name]
        for at in range(0, len(data), 50_000):
            chunk = data[at : at + 50_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def on_close(self, name):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(BODIES[name])
        self.close_connection = True

    def on_silent(self, *_):
        time.sleep(20)
        self.close_connection = True

    def on_stall(self, count, name):
        self.body(name, cut=int(count), stall=60)

    def plain(self, code, **headers):
        text = b"" if code in (204, 304) else b"this is not the file\n"
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def body(self, name, ranges=True, rate=None, cut=None, stall=0, **headers):
        data = BODIES.get(name)
        if data is None:
            return self.plain(404)
        since = self.headers.get("If-Modified-Since")
        if since and email.utils.parsedate_to_datetime(since).timestamp() >= MODIFIED:
            return self.plain(304)
        span = self.headers.get("Range") if ranges else None
        start, end = parse_range(span, len(data))
        if start >= len(data) > 0:
            return self.plain(416, **{"Content-Range": f"bytes */{len(data)}"})
        self.send_response(206 if span else 200)
        self.send_header("Last-Modified", email.utils.formatdate(MODIFIED, usegmt=True))
        self.send_header("ETag", f'"{digest(name)[:16]}"')
        if ranges:
            self.send_header("Accept-Ranges", "bytes")
        if span:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Content-Type", "application/octet-stream")
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send(data[start:end], rate, cut, stall)

    def send(self, data, rate, cut, stall):
        if cut is not None:
            self.wfile.write(data[:cut])
            time.sleep(stall)
            self.close_connection = True
        elif rate:
            step = max(1, rate // 20)
            for at in range(0, len(data), step):
                self.wfile.write(data[at : at + step])
                time.sleep(0.05)
        else:
            self.wfile.write(data)


def parse_range(span, size):
    """[start, end) of `bytes=a-b` or `bytes=a-`; the whole without one."""
    if not span:
        return 0, size
    first, _, last = span.removeprefix("bytes=").partition("-")
    return int(first), min(size, int(last) + 1 if last else size)
