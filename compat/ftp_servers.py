#!/usr/bin/env python3
"""Downloads from real vsftpd, proftpd (with TLS) and OpenSSH servers, directly and by way of squid
and dante; failures have the exit code that aria2c has; half-finished downloads change hands.

A server that is not installed fails its checks; scripts/test installs them all. SFTP by password
needs a user of the system, which only root can make for the time of the test.
"""

import base64
import contextlib
import getpass
import hashlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import lib
from ftp_peers import PASSWORD, USER, Peers

BIG = random.Random("ftp").randbytes(24 * lib.MIB + 4321)
SMALL = random.Random("small").randbytes(70_001)
OPTIONS = ["--no-conf", "--no-netrc", "--file-allocation=none", "--summary-interval=0",
           "--console-log-level=error", "--timeout=10", "--retry-wait=1", "--max-tries=3", "-k1M"]
SSH_USER, SSH_PASSWORD = "arioso-compat", "pw"
EIGHT = ("-x8", "-s8")


class Site:
    """What is served, and by whom."""

    def __init__(self, peers):
        self.peers = peers
        root = peers.root
        (root / "big.bin").write_bytes(BIG)
        (root / "empty.bin").write_bytes(b"")
        (root / "d" / "e f").mkdir(parents=True)
        (root / "d" / "e f" / "small \u00fc.bin").write_bytes(SMALL)
        self.ports = {}

    def url(self, name, path, scheme="ftp", login=True, host="127.0.0.1"):
        lib.check(name in self.ports, f"{name} does not run")
        user = f"{USER}:{quote(PASSWORD, safe='')}@" if login and not name.startswith("vsftpd") else ""
        return f"{scheme}://{user}{host}:{self.ports[name]}/{path}"

    def sftp(self, path, login=f"{SSH_USER}:{SSH_PASSWORD}@", host="127.0.0.1"):
        lib.check("sshd" in self.ports, "sshd does not run")
        return f"sftp://{login}{host}:{self.ports['sshd']}{self.peers.root}/{path}"


def run(program, *args, env=None):
    """Runs the program; gives its exit code, output and folder."""
    folder = Path(tempfile.mkdtemp(dir=lib.WORK))
    done = subprocess.run(
        [program.path, *OPTIONS, f"--dir={folder}", *map(str, args)], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=90, check=False,
        env=lib.quiet_environment(folder) | (env or {}))
    return done.returncode, done.stdout + done.stderr, folder


def fetch(program, *args, data=BIG, name="f", env=None):
    code, output, folder = run(program, "-o", name, *args, env=env)
    lib.check(code == 0, f"exit {code}: {output[-600:]}")
    same(folder / name, data)
    shutil.rmtree(folder)


def same(path, data):
    got = path.read_bytes()
    lib.check(hashlib.sha256(got).digest() == hashlib.sha256(data).digest(),
              f"{path.name}: {len(got)} bytes of {len(data)} are not the file's")


def fails_alike(program, code, *args):
    """Both fail with this code, and no password is shown."""
    for who in (program, lib.aria2c()):
        found, output, folder = run(who, *args)
        shutil.rmtree(folder)
        lib.check(found == code, f"{who} exits {found}, not {code}: {output[-400:]}")
        if who is program:
            lib.check(PASSWORD not in output and "wr0ng" not in output, "a password is shown")


def fails(program, code, *args, env=None):
    found, output, folder = run(program, *args, env=env)
    left = [path.name for path in folder.iterdir() if path.suffix != ".aria2"]
    shutil.rmtree(folder)
    lib.check(found == code, f"exit {found}, not {code}: {output[-400:]}")
    lib.check(not left, f"left {left}")
    lib.check(PASSWORD not in output and "wr0ng" not in output, "a password is shown")


def swap(first, second, url, connections):
    """One downloads a part and is ended; the other goes on from its control file."""
    folder = Path(tempfile.mkdtemp(dir=lib.WORK))
    args = [*OPTIONS, "--auto-save-interval=1", f"-x{connections}", f"-s{connections}",
            "-d", folder, "-o", "f", url]
    control = folder / "f.aria2"
    process = lib.start(first, "--max-download-limit=6M", *args, cwd=folder)
    try:
        half = lambda: control.exists() and len(lib.read_control_file(control).done) > 6 * lib.MIB
        lib.wait_for("a part of the file", half, timeout=40)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
    lib.check(process.returncode == 7, f"{first} exits {process.returncode}")
    done = len(lib.read_control_file(control).done)
    lib.check(done < len(BIG) * 0.95, "too fast for this test")
    began = time.monotonic()
    process = lib.start(second, *args, cwd=folder)
    output, _ = process.communicate(timeout=60)
    lib.check(process.returncode == 0, f"{second} exits {process.returncode}: {output[-800:]}")
    same(folder / "f", BIG)
    lib.check(not control.exists(), "the control file is still there")
    shutil.rmtree(folder)
    return f"{done} of {len(BIG)} bytes kept, {time.monotonic() - began:.1f} s"


def pause(program, url):
    with lib.scratch("ftp") as home, lib.Server(
            program, home, "--max-overall-download-limit=8M", "--file-allocation=none") as server:
        gid = server.call("aria2.addUri", [url], {"out": "f", "split": "4", "min-split-size": "1M",
                                                  "max-connection-per-server": "4"})
        server.wait_bytes(gid, 4 * lib.MIB)
        server.call("aria2.pause", gid)
        server.wait_status(gid, "paused")
        kept = int(server.status(gid)["completedLength"])
        server.call("aria2.changeGlobalOption", {"max-overall-download-limit": "0"})
        server.call("aria2.unpause", gid)
        status = server.wait_status(gid, "complete")
        same(Path(status["files"][0]["path"]), BIG)
        return f"{kept} bytes at the pause"


def reuses(program, site, reuse):
    """Three files of one server: one login where connections are kept."""
    server = f"reuse {reuse}"
    log = site.peers.folder / f"proftpd-{site.ports[server]}.commands"
    before = log.read_text().count("PASS")
    folder = Path(tempfile.mkdtemp(dir=lib.WORK))
    links = folder / "links"
    links.write_text("".join(
        f"{site.url(server, path)}\n  out=f{number}\n" for number, path in
        enumerate(["big.bin", "d/e%20f/small%20%C3%BC.bin", "empty.bin"])))
    code, output, out = run(program, "-j1", "-x1", f"--input-file={links}",
                            f"--ftp-reuse-connection={reuse}")
    lib.check(code == 0, f"exit {code}: {output[-400:]}")
    for number, data in enumerate([BIG, SMALL, b""]):
        same(out / f"f{number}", data)
    shutil.rmtree(folder)
    shutil.rmtree(out)
    time.sleep(0.3)
    count = log.read_text().count("PASS") - before
    wanted = 1 if reuse == "true" else 3
    lib.check(count == wanted, f"{count} logins, not {wanted}")


@contextlib.contextmanager
def ssh_user(peers):
    """A user with a password, for as long as the test runs."""
    if os.getuid() != 0:
        yield False
        return
    subprocess.run(["useradd", "-M", "-d", peers.root, SSH_USER], check=False, capture_output=True)
    subprocess.run(["chpasswd"], input=f"{SSH_USER}:{SSH_PASSWORD}", text=True, check=True)
    try:
        yield True
    finally:
        subprocess.run(["userdel", SSH_USER], check=False, capture_output=True)


def agent(program, site, key):
    socket = site.peers.folder / "agent"
    env = {"SSH_AUTH_SOCK": str(socket)}
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        lib.wait_for("the agent", socket.exists, timeout=10)
        subprocess.run(["ssh-add", "-q", key], env=os.environ | env, check=True)
        fetch(program, *EIGHT, site.sftp("big.bin", login=f"{me()}@"), env=env)
    finally:
        process.terminate()
        process.wait(10)


def me():
    return getpass.getuser()


def ftp_cases(program, site, peers):
    for name in ("vsftpd", "proftpd"):
        big = lambda name=name: site.url(name, "big.bin")
        yield f"{name}, 1 connection", lambda big=big: fetch(program, "-x1", big())
        yield f"{name}, 8 connections", lambda big=big: fetch(program, *EIGHT, big())
        yield f"{name}, active", lambda big=big: fetch(program, *EIGHT, "--ftp-pasv=false", big())
        yield f"{name}, directories and UTF-8", lambda name=name: fetch(
            program, site.url(name, "d/e%20f/small%20%C3%BC.bin"), data=SMALL)
        yield f"{name}, an empty file", lambda name=name: fetch(
            program, site.url(name, "empty.bin"), data=b"")
        yield f"{name}, ascii", lambda name=name: fetch_text(program, site.url(name, "t.txt"))
        for what, path, code in (("missing file", "no.bin", 3), ("missing directory", "no/x", 3),
                                 ("directory", "d", 3), ("no file name", "d/", 1)):
            yield f"{name}, {what}", lambda name=name, path=path, code=code: fails_alike(
                program, code, site.url(name, path))
        yield f"{name}, wrong password", lambda name=name: fails_alike(
            program, 21, "--ftp-user=user", "--ftp-passwd=wr0ng",
            site.url(name, "big.bin", login=False))
        yield f"{name}, pause and resume", lambda big=big: pause(program, big())
        for first, second in ((program, lib.aria2c()), (lib.aria2c(), program)):
            for connections in (1, 4):
                yield (f"{name}, {first} to {second}, {connections}",
                       lambda first=first, second=second, big=big, connections=connections:
                       swap(first, second, big(), connections))
    yield "proftpd, %2F names the root", lambda: fetch(
        program, site.url("proftpd", "%2F" + str(peers.root).lstrip("/") + "/big.bin"))
    yield "proftpd, user by option", lambda: fetch(
        program, f"--ftp-user={USER}", f"--ftp-passwd={PASSWORD}",
        site.url("proftpd", "big.bin", login=False))
    for reuse in ("true", "false"):
        yield f"proftpd, reuse {reuse}", lambda reuse=reuse: reuses(program, site, reuse)
    yield "proftpd, no REST", lambda: fetch(program, *EIGHT, site.url("no rest", "big.bin"))
    yield "proftpd, two connections allowed", lambda: fetch(
        program, *EIGHT, site.url("few", "big.bin"))
    for passive in ("true", "false"):
        yield f"proftpd, IPv6, passive {passive}", lambda passive=passive: fetch(
            program, *EIGHT, f"--ftp-pasv={passive}", site.url("six", "big.bin", host="[::1]"))
    trust = f"--ca-certificate={peers.pem}"
    for count in (("-x1",), EIGHT):
        yield f"proftpd, AUTH TLS {count[0]}", lambda count=count: fetch(
            program, *count, trust, "--ftp-tls=require", site.url("tls", "big.bin"))
        yield f"proftpd, ftps {count[0]}", lambda count=count: fetch(
            program, *count, trust, site.url("ftps", "big.bin", scheme="ftps"))
    # Each of its data connections has to go on with a TLS session of the control connection.
    for count in (("-x1",), EIGHT):
        yield f"vsftpd, AUTH TLS {count[0]}", lambda count=count: fetch(
            program, *count, trust, "--ftp-tls=require", site.url("vsftpd tls", "big.bin"))
        yield f"vsftpd, ftps {count[0]}", lambda count=count: fetch(
            program, *count, trust, site.url("vsftpd ftps", "big.bin", scheme="ftps"))
    yield "vsftpd, remote time", lambda: dated(program, site, site.url("vsftpd", "dated.bin"))
    yield "vsftpd, too slow", lambda: fails_alike(
        program, 5, "--lowest-speed-limit=100K", "--max-tries=1", site.url("vsftpd slow", "big.bin"))
    yield "proftpd, TLS 1.2, session reuse required", lambda: fetch(
        program, *EIGHT, trust, "--ftp-tls=require", site.url("tls12", "big.bin"))
    yield "proftpd, AUTH TLS tried in vain", lambda: fetch(
        program, "--ftp-tls=try", site.url("proftpd", "big.bin"))
    yield "proftpd, AUTH TLS required in vain", lambda: fails(
        program, 21, "--ftp-tls=require", site.url("proftpd", "big.bin"))
    yield "proftpd, TLS not trusted", lambda: fails(
        program, 1, "--ftp-tls=require", site.url("tls", "big.bin"))
    yield "proftpd, TLS not checked", lambda: fetch(
        program, "--ftp-tls=require", "--check-certificate=false", site.url("tls", "big.bin"))
    yield "proftpd, TLS wanted by the server", lambda: fails(
        program, 21, site.url("tls", "big.bin"))
    yield "nobody listens", lambda: fails_alike(program, 1, "ftp://127.0.0.1:1/x")
    proxy = lambda name, scheme="http": f"--all-proxy={scheme}://127.0.0.1:{site.ports.get(name, 1)}"
    yield "squid, GET", lambda: fetch(program, proxy("squid"), site.url("proftpd", "big.bin"))
    yield "squid, GET, missing file", lambda: fails_alike(
        program, 3, proxy("squid"), site.url("proftpd", "no.bin"))
    yield "squid, CONNECT", lambda: fetch(
        program, *EIGHT, proxy("squid"), "--proxy-method=tunnel", site.url("proftpd", "big.bin"))
    yield "squid, CONNECT, ftps", lambda: fetch(
        program, trust, proxy("squid"), site.url("ftps", "big.bin", scheme="ftps"))
    yield "dante, SOCKS 5", lambda: fetch(
        program, *EIGHT, proxy("dante", "socks5"), site.url("proftpd", "big.bin"))


def dated(program, site, url, *args):
    """The file's time is the one it has on the server, where that is wanted."""
    there = int((site.peers.root / "dated.bin").stat().st_mtime)
    for wanted in ("true", "false"):
        code, output, folder = run(program, "-o", "f", f"--remote-time={wanted}", *args, url)
        lib.check(code == 0, f"exit {code}: {output[-400:]}")
        same = int((folder / "f").stat().st_mtime) == there
        lib.check(same == (wanted == "true"), f"remote-time={wanted}: {same}")
        shutil.rmtree(folder)


def by_netrc(program, site, url, user, password):
    netrc = site.peers.folder / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {user} password {password}\n")
    netrc.chmod(0o600)
    allow = ("--no-netrc=false", f"--netrc-path={netrc}")
    fetch(program, *allow, url)


def fetch_text(program, url):
    """Lines end as the server sends them."""
    code, output, folder = run(program, "-o", "f", "--ftp-type=ascii", url)
    lib.check(code == 0, f"exit {code}: {output[-400:]}")
    same(folder / "f", b"one\r\ntwo\r\n")
    shutil.rmtree(folder)


def sftp_cases(program, site, peers, has_password):
    key = peers.folder / "user_ed25519"
    blob = lambda: base64.b64decode((peers.folder / "host_ed25519.pub").read_text().split()[1])
    pin = lambda kind: "--ssh-host-key-md={}={}".format(
        kind, hashlib.new(kind.replace("-", "") if kind != "md5" else kind, blob()).hexdigest())
    by_key = (f"--ssh-private-key={key}",)
    url = lambda path="big.bin", **more: site.sftp(path, login=f"{me()}@", **more)
    yield "sshd, key, 1 connection", lambda: fetch(program, "-x1", *by_key, url())
    yield "sshd, key, 8 connections", lambda: fetch(program, *EIGHT, *by_key, url())
    yield "sshd, IPv6", lambda: fetch(program, *EIGHT, *by_key, url(host="[::1]"))
    yield "sshd, remote time", lambda: dated(program, site, url("dated.bin"), *by_key)
    yield "sshd, agent", lambda: agent(program, site, key)
    yield "sshd, UTF-8", lambda: fetch(
        program, *by_key, url("d/e%20f/small%20%C3%BC.bin"), data=SMALL)
    yield "sshd, an empty file", lambda: fetch(program, *by_key, url("empty.bin"), data=b"")
    for kind in ("md5", "sha-1", "sha-256"):
        yield f"sshd, pinned by {kind}", lambda kind=kind: fetch(program, *by_key, pin(kind), url())
    yield "sshd, missing file", lambda: fails(program, 3, *by_key, url("no.bin"))
    yield "sshd, directory", lambda: fails(program, 3, *by_key, url("d"))
    yield "sshd, missing key file", lambda: fails(program, 1, "--ssh-private-key=/no", url())
    proxy = lambda name, scheme: f"--all-proxy={scheme}://127.0.0.1:{site.ports.get(name, 1)}"
    yield "sshd, squid", lambda: fetch(program, *EIGHT, *by_key, proxy("squid", "http"), url())
    yield "sshd, dante", lambda: fetch(program, *EIGHT, *by_key, proxy("dante", "socks5"), url())
    yield "sshd, nobody listens", lambda: fails_alike(program, 1, "sftp://u:p@127.0.0.1:1/x")
    yield "sshd, wrong password", lambda: fails_alike(
        program, 1, site.sftp("big.bin", login=f"{SSH_USER}:wr0ng@"))
    yield "sshd, wrong pin", lambda: fails_alike(
        program, 1, "--ssh-host-key-md=sha-1=" + "0" * 40, site.sftp("big.bin"))
    if not has_password:
        return
    yield "sshd, password", lambda: fetch(program, *EIGHT, site.sftp("big.bin"))
    yield "sshd, netrc", lambda: by_netrc(
        program, site, site.sftp("big.bin", login=""), SSH_USER, SSH_PASSWORD)
    yield "sshd, pause and resume", lambda: pause(program, site.sftp("big.bin"))
    for first, second in ((program, lib.aria2c()), (lib.aria2c(), program)):
        yield (f"sshd, {first} to {second}", lambda first=first, second=second:
               swap(first, second, site.sftp("big.bin"), 4))


def main():
    lib.WORK.mkdir(parents=True, exist_ok=True)
    program, suite = lib.program(), lib.Suite("ftp_servers")
    peers = Peers(Path(tempfile.mkdtemp(prefix="arioso-ftp-")))
    site = Site(peers)
    (peers.root / "t.txt").write_bytes(b"one\ntwo\n")
    (peers.root / "dated.bin").write_bytes(SMALL)
    os.utime(peers.root / "dated.bin", (978_307_200, 978_307_200))
    tls = peers.tls_lines
    servers = {
        "vsftpd": lambda: peers.vsftpd("ascii_download_enable=YES"),
        "vsftpd slow": lambda: peers.vsftpd("anon_max_rate=20000"),
        "vsftpd tls": lambda: peers.vsftpd(*peers.vsftpd_tls_lines()),
        "vsftpd ftps": lambda: peers.vsftpd(*peers.vsftpd_tls_lines(), "implicit_ssl=YES"),
        "proftpd": peers.proftpd,
        "reuse true": peers.proftpd,
        "reuse false": peers.proftpd,
        "no rest": lambda: peers.proftpd("AllowRetrieveRestart off"),
        "few": lambda: peers.proftpd("MaxClientsPerUser 2"),
        "six": lambda: peers.proftpd(address="::1"),
        "tls": lambda: peers.proftpd(*tls("TLSRequired on")),
        "tls12": lambda: peers.proftpd(*tls("TLSRequired on", "TLSProtocol TLSv1.2")),
        "ftps": lambda: peers.proftpd(*tls("TLSRequired on", "TLSOptions UseImplicitSSL")),
        "sshd": peers.sshd,
        "squid": peers.squid,
        "dante": peers.dante,
    }
    try:
        for name, start in servers.items():
            suite.run(f"{name} starts", lambda: site.ports.__setitem__(name, start()))
        with ssh_user(peers) as has_password:
            cases = [*ftp_cases(program, site, peers),
                     *sftp_cases(program, site, peers, has_password)]
            suite.run_all(cases, workers=3)
    finally:
        peers.stop()
        shutil.rmtree(peers.folder, ignore_errors=True)
    suite.finish()


main()
