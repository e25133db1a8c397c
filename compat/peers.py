"""Other people's BitTorrent clients, for the torrent scripts: libtorrent (in this process),
transmission-daemon, qbittorrent-nox, aria2c, and a tracker of our own that writes down what it
is told.

Transmission refuses peers at 127.0.0.0/8, so that everything runs at two addresses that are put
on the loopback device for the time of the run.
"""

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import lib

try:
    import libtorrent as lt
except ImportError:
    lt = None

IP, IP6 = "10.231.7.1", "fd23:17::1"
PLAIN, EITHER, ENCRYPTED = "plain", "either", "encrypted"
BOTH, TCP, UTP = "tcp+utp", "tcp", "utp"


def _ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def addresses():
    """Puts IP and IP6 on the loopback device, with multicast for local discovery."""
    added = [_ip("addr", "add", f"{IP}/32", "dev", "lo").returncode == 0,
             _ip("-6", "addr", "add", f"{IP6}/128", "dev", "lo").returncode == 0]
    _ip("link", "set", "lo", "multicast", "on")
    routed = _ip("route", "add", "239.192.152.143/32", "dev", "lo").returncode == 0
    shown = _ip("addr", "show", "lo").stdout
    lib.check(IP in shown, f"{IP} cannot be put on the loopback device")
    try:
        yield
    finally:
        if added[0]:
            _ip("addr", "del", f"{IP}/32", "dev", "lo")
        if added[1]:
            _ip("-6", "addr", "del", f"{IP6}/128", "dev", "lo")
        if routed:
            _ip("route", "del", "239.192.152.143/32", "dev", "lo")


def free_port(host=""):
    """A port free for TCP and UDP, on every address if none is named."""
    while True:
        port = lib.free_port()
        with contextlib.suppress(OSError), socket.socket() as tcp, socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind((host, port))
            udp.bind((host, port))
            return port


# ---- torrents ---------------------------------------------------------------------------------


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    pairs = sorted((k.encode() if isinstance(k, str) else k, v) for k, v in value.items())
    return b"d" + b"".join(bencode(k) + bencode(v) for k, v in pairs) + b"e"


@dataclass
class Torrent:
    """A torrent, its file and the bytes it stands for."""

    path: Path
    name: str
    # Relative path -> bytes; one entry named `name` for a single file.
    files: dict
    info: bytes
    piece_len: int

    @property
    def hash(self):
        return hashlib.sha1(self.info).hexdigest()

    @property
    def total(self):
        return sum(map(len, self.files.values()))

    def magnet(self, *trackers, **fields):
        pairs = [("tr", tracker) for tracker in trackers] + list(fields.items())
        rest = "".join(f"&{k.replace('_', '.')}={urllib.parse.quote(v, safe='')}" for k, v in pairs)
        return f"magnet:?xt=urn:btih:{self.hash}{rest}"

    def store(self, folder):
        """Puts the whole content below `folder`."""
        for path, data in self.files.items():
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return Path(folder)

    def check(self, folder, only=None):
        for path, data in self.files.items():
            if only is None or path in only:
                target = Path(folder) / path
                lib.check(target.exists(), f"{path} is missing")
                lib.check(target.read_bytes() == data, f"{path} differs")


def torrent(folder, name, content, piece_len=256 * 1024, trackers=(), **more):
    """Makes a torrent: `content` is bytes (one file) or a dict of paths below `name`."""
    single = isinstance(content, bytes)
    data = content if single else b"".join(content.values())
    info = {
        "name": name,
        "piece length": piece_len,
        "pieces": b"".join(hashlib.sha1(data[at:at + piece_len]).digest()
                           for at in range(0, len(data), piece_len)),
    }
    if single:
        info["length"] = len(content)
    else:
        info["files"] = [{"length": len(body), "path": path.split("/")}
                         for path, body in content.items()]
    info.update(more.pop("info", {}))
    root = {"info": info, **more}
    if trackers:
        root["announce"] = trackers[0]
        root["announce-list"] = [[tracker] for tracker in trackers]
    path = Path(folder) / f"{name}.torrent"
    path.write_bytes(bencode(root))
    files = {name: content} if single else {f"{name}/{k}": v for k, v in content.items()}
    return Torrent(path, name, files, bencode(info), piece_len)


def noise(seed, size):
    return random.Random(seed).randbytes(size)


# ---- a tracker --------------------------------------------------------------------------------


class Tracker(http.server.ThreadingHTTPServer):
    """An HTTP tracker that tells of the peers given and of those that announce themselves."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *peers, learns=True, host=IP, interval=60):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # The system's choice: others here take ports at random.
        super().__init__((host, 0), _Answer)
        self.host, self.interval, self.learns = host, interval, learns
        self.peers = list(peers)
        self.seen = []
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/announce"

    def events(self, port=None):
        with self.lock:
            return [ask.get("event", "") for ask in self.seen
                    if port is None or ask.get("port") == str(port)]

    def answer(self, ask, address):
        with self.lock:
            self.seen.append(ask)
            peer = (address.removeprefix("::ffff:"), int(ask.get("port", 0)))
            others = [known for known in self.peers if known != peer]
            if self.learns and ask.get("event") != "stopped" and peer[1]:
                self.peers.append(peer) if peer not in self.peers else None
        compact = {4: b"", 6: b""}
        for host, port in others:
            if ":" in host:
                compact[6] += socket.inet_pton(socket.AF_INET6, host) + struct.pack(">H", port)
            else:
                compact[4] += socket.inet_aton(host) + struct.pack(">H", port)
        return bencode({"interval": self.interval, "peers": compact[4], "peers6": compact[6],
                        "complete": 1, "incomplete": 1})

    def close(self):
        self.shutdown()
        self.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = self.path.partition("?")[2]
        ask = dict(pair.partition("=")[::2] for pair in query.split("&"))
        body = self.server.answer(ask, self.client_address[0])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class OpenTracker:
    """The real opentracker, HTTP and UDP on one port. Debian's knows listed torrents only."""

    def __init__(self, folder, *hashes):
        self.port = free_port()
        Path(folder).chmod(0o755)
        listed = Path(folder) / "whitelist"
        listed.write_text("".join(f"{info_hash}\n" for info_hash in hashes))
        self.process = subprocess.Popen(
            ["opentracker", "-i", IP, "-p", str(self.port), "-P", str(self.port), "-d",
             str(folder), "-w", listed.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with lib.killed_on_failure(self.process):
            lib.wait_for("opentracker", self._answers, timeout=20)
        self.http = f"http://{IP}:{self.port}/announce"
        self.udp = f"udp://{IP}:{self.port}/announce"

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection((IP, self.port), 1):
            return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)


# ---- clients ----------------------------------------------------------------------------------
#
# Each has `add(torrent, folder)`, `is_done()`, `close()`; `port` is where it listens.


class Libtorrent:
    """A libtorrent session in this process."""

    name = "libtorrent"

    def __init__(self, folder, crypto=EITHER, transport=BOTH, host=IP, **settings):
        lib.check(lt is not None, "libtorrent is not installed")
        self.port = free_port() if host == IP else lib.free_port()
        self.folder, self.host = Path(folder), host
        listen = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        policy = {PLAIN: 2, EITHER: 1, ENCRYPTED: 0}[crypto]
        self.session = lt.session({
            "listen_interfaces": listen,
            "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
            "enable_natpmp": False, "allow_multiple_connections_per_ip": True,
            "in_enc_policy": policy, "out_enc_policy": policy,
            "allowed_enc_level": 2 if crypto == ENCRYPTED else 3, "prefer_rc4": True,
            "enable_incoming_tcp": transport != UTP, "enable_outgoing_tcp": transport != UTP,
            "enable_incoming_utp": transport != TCP, "enable_outgoing_utp": transport != TCP,
            "alert_mask": 0, "peer_connect_timeout": 5, "dht_restrict_routing_ips": False,
            "dht_restrict_search_ips": False, "dht_prefer_verified_node_ids": False,
            "dht_ignore_dark_internet": False, "dht_bootstrap_nodes": "",
            "ssrf_mitigation": False, "min_reconnect_time": 1,
            "close_redundant_connections": False, **settings,
        })
        # Or its rate limits would not count for peers as near as these.
        limited = lt.ip_filter()
        limited.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
        self.session.set_peer_class_filter(limited)
        self.handles = []

    def add(self, torrent, seed=False, paused=False, **params):
        arguments = lt.add_torrent_params()
        if isinstance(torrent, str):
            arguments = lt.parse_magnet_uri(torrent)
        else:
            arguments.ti = lt.torrent_info(torrent.path.read_bytes())
        arguments.save_path = str(self.folder)
        for name, value in params.items():
            setattr(arguments, name, value)
        if seed:
            torrent.store(self.folder)
            arguments.flags |= lt.torrent_flags.seed_mode
        arguments.flags &= ~lt.torrent_flags.auto_managed
        arguments.flags &= ~lt.torrent_flags.paused
        handle = self.session.add_torrent(arguments)
        self.handles.append(handle)
        return handle

    def connect(self, host, port):
        self.handles[0].connect_peer((host, port))

    def is_done(self):
        return all(handle.status().is_seeding for handle in self.handles)

    def uploaded(self):
        return sum(handle.status().total_payload_upload for handle in self.handles)

    def close(self):
        for handle in self.handles:
            self.session.remove_torrent(handle)
        self.session.pause()
        self.session = None


class Daemon:
    """A client that runs as a process of its own."""

    process = None

    def begin(self, command, log):
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env=lib.quiet_environment(self.home), start_new_session=True)

    def close(self):
        if self.process and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


class Transmission(Daemon):
    name = "transmission"

    def __init__(self, folder, crypto=EITHER, transport=BOTH, **settings):
        self.folder, self.home = Path(folder), Path(folder) / ".transmission"
        self.home.mkdir(parents=True)
        self.port, self.rpc_port = free_port(), lib.free_port()
        (self.home / "settings.json").write_text(json.dumps({
            "rpc-enabled": True, "rpc-port": self.rpc_port, "rpc-bind-address": "127.0.0.1",
            "rpc-whitelist-enabled": False, "rpc-host-whitelist-enabled": False,
            "rpc-authentication-required": False, "peer-port": self.port,
            "bind-address-ipv4": "0.0.0.0", "dht-enabled": False, "lpd-enabled": False,
            "pex-enabled": False, "port-forwarding-enabled": False,
            "encryption": {PLAIN: 0, EITHER: 1, ENCRYPTED: 2}[crypto],
            "utp-enabled": transport != TCP, "download-dir": str(self.folder),
            "peer-limit-per-torrent": 60, "speed-limit-up-enabled": False, **settings}))
        self.begin(["transmission-daemon", "-f", "-g", self.home], self.home / "log.txt")
        self.session = ""
        lib.wait_for("transmission", self._answers, timeout=20)

    def _answers(self):
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return self.call("session-get")

    def call(self, method, **arguments):
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=10)
            connection.request("POST", "/transmission/rpc",
                               json.dumps({"method": method, "arguments": arguments}),
                               {"X-Transmission-Session-Id": self.session})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 409:
                return json.loads(body)["arguments"]
            self.session = answer.headers["X-Transmission-Session-Id"]
        raise lib.Failed("transmission refuses calls")

    def add(self, torrent, seed=False):
        if seed:
            torrent.store(self.folder)
        self.call("torrent-add", metainfo=base64.b64encode(torrent.path.read_bytes()).decode())
        if seed:
            lib.wait_for("transmission to check its files", self.is_done, timeout=30)

    def is_done(self):
        found = self.call("torrent-get", fields=["percentDone", "status"])["torrents"]
        return bool(found) and all(t["percentDone"] == 1 and t["status"] in (5, 6) for t in found)


class QBittorrent(Daemon):
    name = "qbittorrent"

    def __init__(self, folder, crypto=EITHER, transport=BOTH):
        self.folder, self.home = Path(folder), Path(folder) / ".qbittorrent"
        conf = self.home / "qBittorrent" / "config" / "qBittorrent.conf"
        conf.parent.mkdir(parents=True)
        self.port, self.rpc_port = free_port(), lib.free_port()
        protocol = {BOTH: "Both", TCP: "TCP", UTP: "UTP"}[transport]
        encryption = {EITHER: 0, ENCRYPTED: 1, PLAIN: 2}[crypto]
        conf.write_text(f"""\
[LegalNotice]
Accepted=true
[BitTorrent]
Session\\Port={self.port}
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Encryption={encryption}
Session\\BTProtocol={protocol}
Session\\MultiConnectionsPerIp=true
Session\\DefaultSavePath={self.folder}
Session\\SSRFMitigation=false
Session\\QueueingSystemEnabled=false
[Network]
PortForwardingEnabled=false
[Preferences]
WebUI\\Enabled=true
WebUI\\Address=127.0.0.1
WebUI\\Port={self.rpc_port}
WebUI\\LocalHostAuth=false
WebUI\\CSRFProtection=false
WebUI\\HostHeaderValidation=false
WebUI\\UseUPnP=false
""")
        self.begin(["qbittorrent-nox", f"--profile={self.home}"], self.home / "log.txt")
        lib.wait_for("qbittorrent", self._answers, timeout=30)

    def _answers(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "app/version")

    def call(self, verb, path, body=None, kind=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=10)
        headers = {"Content-Type": kind} if kind else {}
        connection.request(verb, f"/api/v2/{path}", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        lib.check(answer.status == 200, f"qbittorrent: {path}: {answer.status} {text[:200]}")
        return text

    def add(self, torrent, seed=False):
        if seed:
            torrent.store(self.folder)
        parts = [("savepath", str(self.folder)), ("autoTMM", "false")]
        if seed:
            parts.append(("skip_checking", "true"))
        body = b"".join(
            f'--XX\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
            for k, v in parts)
        body += (b'--XX\r\nContent-Disposition: form-data; name="torrents"; filename="a.torrent"\r\n'
                 b"Content-Type: application/x-bittorrent\r\n\r\n" + torrent.path.read_bytes()
                 + b"\r\n--XX--\r\n")
        self.call("POST", "torrents/add", body, "multipart/form-data; boundary=XX")
        if seed:
            lib.wait_for("qbittorrent to seed", self.is_done, timeout=30)

    def is_done(self):
        found = json.loads(self.call("GET", "torrents/info"))
        done = ("uploading", "stalledUP", "forcedUP", "queuedUP")
        return bool(found) and all(t["progress"] == 1 and t["state"] in done for t in found)


# Options of aria2c and arioso that keep a run to itself.
QUIET = ("--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
         "--enable-peer-exchange=false", "--file-allocation=none", "--summary-interval=0",
         "--console-log-level=notice", "--check-certificate=false", "--bt-tracker-connect-timeout=5")


class Command(Daemon):
    """aria2c or arioso as a plain command with one torrent."""

    def __init__(self, folder, program, *args):
        self.folder, self.home, self.program = Path(folder), Path(folder) / ".home", program
        self.home.mkdir(parents=True, exist_ok=True)
        self.name, self.args = program.name, args
        self.port = free_port()
        self.log = self.home / "log.txt"

    def add(self, torrent, seed=False, args=()):
        """Starts it; a `str` is a magnet link."""
        if seed:
            torrent.store(self.folder)
            more = ["--check-integrity=true", "--seed-ratio=0.0"]
        else:
            more = ["--seed-time=0"]
        what = torrent if isinstance(torrent, str) else torrent.path
        self.begin([self.program.path, *QUIET, f"--listen-port={self.port}",
                    f"--dht-listen-port={self.port}", f"--dir={self.folder}", *more, *self.args,
                    *args, what], self.log)

    def tail(self):
        return self.log.read_text(errors="replace")[-1500:]

    def is_done(self):
        """Whether it has ended, and well."""
        status = self.process.poll()
        lib.check(status in (None, 0), f"{self.name} ended with {status}: {self.tail()}")
        return status == 0


@contextlib.contextmanager
def closing(*things):
    """Closes clients in the end, whatever happens."""
    stack = contextlib.ExitStack()
    with stack:
        for thing in things:
            stack.callback(thing.close)
        yield things if len(things) > 1 else things[0]
