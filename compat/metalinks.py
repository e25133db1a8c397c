"""Metalinks of version 3 and 4 by arioso and by the real aria2c, served by a real nginx: the same
files and the same exit codes, from the command line, by URL and over RPC. Mirrors that corrupt, and
files that nginx, vsftpd and a libtorrent peer give together.
"""

import base64
import hashlib
import http.server
import random
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import ftp_peers
import lib
import peers

DATA = random.Random("metalink").randbytes(6 * lib.MIB + 12345)
OTHER = random.Random("other").randbytes(300_000)
PIECE = lib.MIB
SPOILT_PIECE = 3
OPTIONS = ["--no-conf", "--no-netrc", "--file-allocation=none", "--summary-interval=0",
           "--console-log-level=warn", "--timeout=10", "--retry-wait=0", "-k1M", "-s4", "-x4"]


def v4(*files):
    body = "".join(files)
    return f'<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink">{body}</metalink>'


def v3(*files):
    body = "".join(files)
    return ('<?xml version="1.0"?><metalink version="3.0" xmlns="http://www.metalinker.org/"><files>'
            f"{body}</files></metalink>")


def entry(name, *parts):
    return f'<file name="{name}">{"".join(parts)}</file>'


def sizes(data=DATA):
    return f"<size>{len(data)}</size>"


def whole(data=DATA, kind="sha-256"):
    digest = hashlib.new(kind.replace("-", ""), data).hexdigest()
    return f'<hash type="{kind}">{digest}</hash>'


def pieces(data=DATA, kind="sha-1"):
    digests = (hashlib.sha1(data[at:at + PIECE]).hexdigest() for at in range(0, len(data), PIECE))
    hashes = "".join(f"<hash>{digest}</hash>" for digest in digests)
    return f'<pieces length="{PIECE}" type="{kind}">{hashes}</pieces>'


def url(uri, priority=1):
    return f'<url priority="{priority}">{uri}</url>'


class Rig:
    """What is served, and the two programs."""

    def __init__(self, folder, nginx):
        self.folder, self.nginx = folder, nginx
        self.programs = {"ours": lib.program(), "aria2c": lib.aria2c()}

    def put(self, name, text):
        (self.folder / "www" / name).write_text(text)
        return f"{self.nginx.url}/{name}"

    def run(self, case, program, *args, before=None, feed=None):
        """Exit code, files with their contents, and all that was said."""
        home = lib.fresh(self.folder / f"{case}-{program}")
        if before:
            before(home)
        command = [self.programs[program].path, *OPTIONS, "-d", str(home), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=home,
                              input=feed or "", env=lib.quiet_environment(home))
        files = {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
                 for path in home.rglob("*")
                 if path.is_file() and path.suffix not in (".aria2",) and ".cache" not in path.parts}
        return done.returncode, files, done.stdout + done.stderr

    def both(self, case, *args, before=None, code=None, contents=True, feed=None):
        ours = self.run(case, "ours", *args, before=before, feed=feed)
        theirs = self.run(case, "aria2c", *args, before=before, feed=feed)
        lib.check(ours[0] == theirs[0],
                  f"exit code {ours[0]}, aria2c has {theirs[0]}: {ours[2][-600:]}")
        if code is not None:
            lib.check(ours[0] == code, f"exit code {ours[0]}, not {code}")
        if contents:
            lib.check(ours[1] == theirs[1], f"files {ours[1]}, aria2c has {theirs[1]}")
        else:
            lib.check(set(ours[1]) == set(theirs[1]), f"files {ours[1]}, aria2c has {theirs[1]}")
        return ours


class Corrupting(http.server.ThreadingHTTPServer):
    """Serves `data` in ranges and counts which of its bytes it was asked for."""

    daemon_threads = True

    def __init__(self, data, host="127.0.0.1"):
        super().__init__((host, 0), _Spoilt)
        self.data, self.lock, self.sent = data, threading.Lock(), []
        self.url = f"http://{host}:{self.server_address[1]}/x.bin"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def count(self, start, end):
        """How many bytes of [start, end) were sent, repeated ones each time."""
        with self.lock:
            return sum(max(0, min(end, b) - max(start, a)) for a, b in self.sent)

    def handle_error(self, *_):
        pass  # a client that leaves early is part of the test

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Spoilt(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def do_GET(self):
        data, span = self.server.data, self.headers.get("Range")
        first, _, last = (span or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first), min(len(data), int(last) + 1 if last else len(data))
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(end - start))
        if span:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        for at in range(start, end, 16384):
            chunk = data[at:min(end, at + 16384)]
            self.wfile.write(chunk)
            with self.server.lock:
                self.server.sent.append((at, at + len(chunk)))

    def log_message(self, *_):
        pass


def spoilt():
    data = bytearray(DATA)
    data[SPOILT_PIECE * PIECE + 77] ^= 1
    return bytes(data)


def cases(rig):
    base = rig.nginx.url
    good, small = f"{base}/good.bin", f"{base}/other.bin"

    def local(name, text):
        path = rig.folder / name
        path.write_text(text)
        return path

    def differ(name, text, *args, **how):
        def run():
            path = local(f"{name}.meta4", text)
            rig.both(name, "-M", path, *args, **how)
        return name, run

    def alike(name, *args, **how):
        def run():
            rig.both(name, *args, **how)
        return name, run

    def by_url(name, text, *args, as_name=None, **how):
        def run():
            rig.both(name, rig.put(as_name or f"{name}.meta4", text), *args, **how)
        return name, run

    two = v4(entry("a/x.bin", sizes(), whole(), url(good)), entry("y.bin", url(small)))
    many = v4(
        entry("en.bin", "<language>en</language><os>Linux</os><version>1</version>", url(small)),
        entry("de.bin", "<language>de</language><language>fr</language>", url(small)),
        entry("all.bin", url(small)))
    three = v3(
        f'<file name="x.bin">{sizes()}<verification>{whole(kind="md5")}'
        f'{pieces(kind="sha1")}</verification><resources>'
        f'<url type="http" preference="10">{base}/nothing</url>'
        f'<url type="http" preference="90">{good}</url></resources></file>')
    wrong = f'<hash type="sha-256">{"0" * 64}</hash>'

    def half(home):
        # What an interrupted download leaves is made by the program itself in `resumed`.
        (home / "x.bin").write_bytes(DATA)

    yield differ("version-4", two, code=0)
    yield differ("version-3", three, code=0)
    yield differ("pieces-and-hash", v4(entry("x.bin", sizes(), whole(), pieces(), url(good))), code=0)
    yield differ("pieces-not-checked", v4(entry("x.bin", sizes(), whole(), pieces(DATA[::-1]), url(good))),
                 "--realtime-chunk-checksum=false", code=0)
    yield differ("no-size", v4(entry("x.bin", whole(), url(good))), code=0)
    yield differ("wrong-whole-hash", v4(entry("x.bin", sizes(), wrong, url(good))), code=32)
    yield differ("wrong-hash-of-a-weak-kind",
                 v4(entry("x.bin", sizes(), f'<hash type="md5">{"0" * 32}</hash>', whole(), url(good))),
                 code=0)
    yield differ("wrong-size", v4(entry("x.bin", "<size>100</size>", url(good))), contents=False)
    yield differ("one-mirror-dead", v4(entry("x.bin", sizes(), url(f"{base}/nothing"), url(good, 2))),
                 code=0)
    yield differ("all-mirrors-dead", v4(entry("x.bin", sizes(), url(f"{base}/nothing"))), code=3,
                 contents=False)
    yield differ("base-uri", v4(entry("x.bin", sizes(), url("../good.bin"))),
                 f"--metalink-base-uri={base}/sub/m.meta4", code=0)
    for option in ("--metalink-language=fr", "--metalink-os=Linux", "--metalink-version=1",
                   "--metalink-language=xx", "--select-file=2-3"):
        yield differ("filter" + option.replace("=", "-"), many, option)
    yield differ("unsafe-name", v4(entry("../x.bin", url(good))), contents=False)
    yield differ("broken", "<metalink", contents=False)
    links = f"{rig.put('listed.meta4', two)}\n{small}\n  out=z.bin\n"
    yield alike("from-standard-input", "-M", "-", feed=two, code=0)
    yield alike("in-an-input-file", "-i", local("links.txt", links), code=0)
    yield alike("as-an-argument", local("argument.meta4", two), code=0)
    yield differ("there-already", v4(entry("x.bin", sizes(), whole(), url(good))), before=half)
    yield differ("there-already-checked", v4(entry("x.bin", sizes(), whole(), pieces(), url(good))),
                 "--check-integrity=true", before=half, code=0)
    yield by_url("by-url", two, code=0)
    yield by_url("by-url-mem", two, "--follow-metalink=mem", code=0)
    yield by_url("by-url-not-followed", two, "--follow-metalink=false", code=0)
    yield by_url("by-url-broken", "junk", code=0)
    yield by_url("by-url-relative", v4(entry("x.bin", url("good.bin"))), code=0)
    yield by_url("version-3-by-url", three, as_name="three.metalink", code=0)
    yield by_url("torrent-missing", v4(entry(
        "x.bin", sizes(), f'<metaurl mediatype="torrent">{base}/nothing.torrent</metaurl>',
        url(good))), "--follow-metalink=mem", contents=True)

    # A torrent that needs no peers: its web seed is nginx.
    seeded = peers.torrent(rig.folder / "www", "seeded", OTHER, 65536, **{"url-list": small}).path
    shutil.copy(seeded, rig.folder / "www" / "nameless")
    (rig.folder / "www" / "listless").write_text(two)
    alone = (*peers.QUIET, "--seed-time=0")
    for follow in ("true", "mem", "false"):
        for what, name in (("by-name", seeded.name), ("by-type", "nameless")):
            yield alike(f"torrent-{what}-{follow}", f"{base}/{name}", f"--follow-torrent={follow}",
                        f"--listen-port={peers.free_port()}", *alone, code=0)
        yield alike(f"metalink-by-type-{follow}", f"{base}/listless",
                    f"--follow-metalink={follow}", code=0)

    def near():
        """Of two mirrors the one in the wanted country is asked, whatever its priority."""
        for name in rig.programs:
            with Corrupting(OTHER) as first, Corrupting(OTHER) as wanted:
                text = v4(entry("x.bin", sizes(OTHER),
                                f'<url location="de" priority="1">{first.url}</url>',
                                f'<url location="jp" priority="2">{wanted.url}</url>'))
                path = local("near.meta4", text)
                code, _, said = rig.run("near", name, "-s1", "--metalink-location=us,jp", "-M", path)
                lib.check(code == 0, f"{name} exits {code}: {said[-600:]}")
                given = [mirror.count(0, len(OTHER)) for mirror in (first, wanted)]
                lib.check(given == [0, len(OTHER)], f"{name} has {given} bytes of them")

    def linked():
        """nginx names a mirror in a Link header and the digest in another (RFC 6249)."""
        digest = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
        wrong = base64.b64encode(hashlib.sha256(OTHER).digest()).decode()
        told = []
        with Corrupting(DATA, "127.0.0.2") as mirror:
            header = lambda name, text: f"add_header {name} '{text}';"
            link = header("Link", f'<{mirror.url}>; rel=duplicate; pri=1; geo=de')
            described = header("Link", f'<{base}/d.meta4>; rel=describedby; '
                                       'type="application/metalink4+xml"')
            for name, digest, code in (("right", digest, 0), ("wrong", wrong, 32)):
                lines = link + described + header("Digest", f"SHA-256={digest}")
                with lib.Nginx(rig.folder / "www", rig.folder / f"linked-{name}", rate=2 * lib.MIB,
                               lines=lines) as origin:
                    for program in rig.programs:
                        before = mirror.count(0, len(DATA))
                        found, files, said = rig.run(f"linked-{name}", program,
                                                     f"{origin.url}/good.bin", "-s2", "-x1")
                        lib.check(found == code, f"{program} exits {found}: {said[-600:]}")
                        given = mirror.count(0, len(DATA)) - before
                        lib.check(given > 0, f"{program} does not ask the mirror")
                        told.append(f"{given}")
                        if code == 0:
                            lib.check(list(files.values()) == [
                                hashlib.sha256(DATA).hexdigest()[:12]], f"{files}")
        return "from the mirror: " + ", ".join(told)

    def relations():
        """What follows and belongs to what, by URL and with a torrent for a file."""
        by_url = rig.put("relations.meta4", two)
        joined = v4(entry("seeded", sizes(OTHER), url(small), '<metaurl mediatype="torrent">'
                                                              f"{base}/{seeded.name}</metaurl>"))
        shapes = {}
        for name, program in rig.programs.items():
            home = lib.fresh(rig.folder / f"relations-{name}")
            port = f"--listen-port={peers.free_port()}"
            with lib.Server(program, home, *alone[1:], port) as server:
                parent = server.call("aria2.addUri", [by_url])
                torrent = server.call("aria2.addUri", [f"{base}/{seeded.name}"])
                idle = lambda: server.call("aria2.getGlobalStat")["numActive"] == "0"
                followed = lambda gid: server.status(gid).get("followedBy", [])
                lib.wait_for("the followers", lambda: followed(parent) and followed(torrent), 30)
                lib.wait_for("their end", idle, 60)
                # The same torrent again: only one of them may run at a time.
                document = base64.b64encode(joined.encode()).decode()
                gids = server.call("aria2.addMetalink", document, {"dir": str(home / "again")})
                ended = lambda: server.status(gids[-1])["status"] in ("complete", "error")
                lib.wait_for("the end", lambda: ended() and idle(), 60)
                rows = server.call("aria2.tellStopped", 0, 100)
                keys = ("followedBy", "following", "belongsTo")
                label = {parent: "metalink", torrent: "torrent"}
                label |= {gid: f"added {number}" for number, gid in enumerate(gids)}
                label |= {gid: f"file {at}" for at, gid in enumerate(followed(parent))}
                label |= {gid: "content" for gid in followed(torrent)}
                show = lambda value: ([label.get(gid, "other") for gid in value]
                                      if isinstance(value, list) else label.get(value, "other"))
                shapes[name] = sorted(
                    (label.get(row["gid"], "other"), row["status"],
                     str({key: show(row[key]) for key in keys if key in row})) for row in rows)
        lib.check(shapes["ours"] == shapes["aria2c"], f"{shapes['ours']}\n{shapes['aria2c']}")
        return f"{len(shapes['ours'])} downloads"

    def wrong_hash_beside_a_torrent():
        """62 of the known bugs: the Metalink's hash is checked after BitTorrent, too."""
        text = v4(entry("seeded", sizes(OTHER), wrong, url(small),
                        f'<metaurl mediatype="torrent">{base}/{seeded.name}</metaurl>'))
        path = local("beside.meta4", text)
        code, _, said = rig.run("beside", "ours", *alone, f"--listen-port={peers.free_port()}",
                                "-M", path)
        lib.check(code == 32, f"exit code {code}: {said[-600:]}")

    # Two of the three files of a torrent, which end where pieces do: aria2c never ends where they
    # do not and no peer comes.
    parts = {"a.bin": DATA[:2 * PIECE], "sub/b.bin": DATA[2 * PIECE:5 * PIECE], "c.bin": OTHER}
    several = peers.torrent(rig.folder / "www", "several", parts, PIECE).path
    for at, part in enumerate(parts.values()):
        (rig.folder / "www" / f"part{at}").write_bytes(part)

    def of_several(name, at, inside, *more, torrent=several.name):
        part = list(parts.values())[at]
        return entry(name, sizes(part), *more, url(f"{base}/part{at}"),
                     f'<metaurl mediatype="torrent" name="{inside}">{base}/{torrent}</metaurl>')

    two_parts = v4(of_several("m/A", 0, "several/a.bin"), entry("plain", url(small)),
                   of_several("B", 1, "several/sub/b.bin"))
    port = lambda: f"--listen-port={peers.free_port()}"
    yield differ("files-of-one-torrent", two_parts, *alone, port(), code=0)
    yield differ("files-of-one-torrent-one-selected", two_parts, *alone, port(), "--select-file=3",
                 code=0)
    yield differ("files-of-one-torrent-wrong-name",
                 v4(of_several("A", 0, "several/a.bin"), of_several("B", 1, "sub/b.bin")),
                 *alone, port(), code=0)
    yield differ("files-of-one-torrent-missing",
                 v4(*(of_several(name, at, f"several/{path}", torrent="nothing.torrent")
                      for at, (name, path) in enumerate((("A", "a.bin"), ("B", "sub/b.bin"))))),
                 *alone, port())

    def shown_of_one_torrent():
        """What both say of two files of one torrent, before it has come and in the end."""
        document = base64.b64encode(two_parts.encode()).decode()
        texts = {}
        for name, program in rig.programs.items():
            home = lib.fresh(rig.folder / f"several-{name}")
            with lib.Server(program, home, *alone[1:], port()) as server:
                gids = server.call("aria2.addMetalink", document, {"pause": "true"})
                shown = []

                def look():
                    for gid in gids:
                        status = server.status(gid)
                        files = [(file["path"].removeprefix(str(home)), file["length"], file["selected"],
                                  sorted({uri["uri"] for uri in file["uris"]}))
                                 for file in status["files"]]
                        whole = status.get("belongsTo")
                        shown.append((status.get("infoHash"), whole and gids.index(whole), files))

                look()
                for gid in gids:
                    server.call("aria2.unpause", gid)
                done = lambda: all(server.status(gid)["status"] == "complete" for gid in gids)
                lib.wait_for("the end", done, 60)
                look()
            texts[name] = shown
        lib.check(texts["ours"] == texts["aria2c"], f"{texts['ours']}\n{texts['aria2c']}")
        return f"{len(gids)} downloads"

    def hash_of_one_of_several():
        """aria2c looks at no hash of files that are one torrent's."""
        text = v4(of_several("A", 0, "several/a.bin", wrong), of_several("B", 1, "several/sub/b.bin"))
        code, _, said = rig.run("hash-of-several", "ours", *alone, port(), "-M",
                                local("hash-of-several.meta4", text))
        lib.check(code == 32, f"exit code {code}: {said[-600:]}")

    def corrupt():
        """The bad mirror goes first and alone: what it gave is good but for one piece."""
        with Corrupting(spoilt()) as one, Corrupting(DATA) as other:
            text = v4(entry("x.bin", sizes(), whole(), pieces(), url(one.url, 1),
                            url(other.url, 2)))
            path = local("corrupt.meta4", text)
            code, files, said = rig.run("corrupt", "ours", "-s1", "-M", path)
            lib.check(code == 0, f"exit code {code}: {said[-600:]}")
            lib.check(files.get("x.bin") == hashlib.sha256(DATA).hexdigest()[:12],
                      "the file is wrong")
            lib.check(one.url in said, f"the bad mirror is not named: {said[-600:]}")
            lib.check(other.url not in said, f"the good mirror is blamed: {said[-600:]}")
            start = SPOILT_PIECE * PIECE
            bad = one.count(start, start + PIECE), other.count(start, start + PIECE)
            lib.check(bad == (PIECE, PIECE), f"the bad piece was sent {bad} bytes")
            # What the one sent before it was dropped is not asked of the other.
            before = other.count(0, start)
            lib.check(before == 0, f"{before} bytes of good pieces were fetched again")
            return f"{other.count(0, len(DATA))} of {len(DATA)} bytes from the good mirror"

    def three_mirrors_and_a_torrent():
        """nginx, vsftpd, a server that corrupts, and a libtorrent seed that a tracker names."""
        folder = Path(tempfile.mkdtemp(prefix="arioso-metalinks-"))
        ftp = ftp_peers.Peers(folder)
        try:
            (ftp.root / "good.bin").write_bytes(DATA)
            ftp_port = ftp.vsftpd()
            with peers.addresses(), Corrupting(spoilt()) as bad_one:
                tracker = peers.Tracker()
                torrent = peers.torrent(rig.folder / "www", "x.bin", DATA, PIECE,
                                        trackers=[tracker.url])
                seed = peers.Libtorrent(folder / "seed")
                tracker.peers.append((peers.IP, seed.port))
                with peers.closing(seed):
                    seed.add(torrent, seed=True)
                    # Not the same host as the others': of one host one protocol is used.
                    text = v4(entry(
                        "x.bin", sizes(), whole(), pieces(),
                        f'<metaurl mediatype="torrent">{base}/x.bin.torrent</metaurl>',
                        url(bad_one.url, 1), url(good, 2),
                        url(f"ftp://localhost:{ftp_port}/good.bin", 3)))
                    path = local("together.meta4", text)
                    code, files, said = rig.run(
                        "together", "ours", *peers.QUIET, "--console-log-level=info",
                        "--max-download-limit=1500K", "-s3", "-x1", "--seed-time=0",
                        f"--listen-port={peers.free_port()}", "-M", path)
                    given = seed.uploaded()
                tracker.shutdown()
                tracker.server_close()
                told = len(tracker.seen)
            lib.check(code == 0, f"exit code {code}: {said[-1500:]}")
            lib.check(files.get("x.bin") == hashlib.sha256(DATA).hexdigest()[:12],
                      f"the file is wrong: {files}")
            lib.check(bad_one.url in said, f"the bad mirror is not named: {said[-1500:]}")
            by_ftp = (folder / f"vsftpd-{ftp_port}.log").read_text().count("OK DOWNLOAD")
            lib.check(told > 0, "the tracker was not asked")
            lib.check(given > 0, "nothing came from the seed")
            lib.check(by_ftp > 0, "nothing came by FTP")
            return (f"{given} bytes from the seed, {bad_one.count(0, len(DATA))} from the bad "
                    f"mirror, {by_ftp} transfers by FTP")
        finally:
            ftp.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def resumed():
        text = v4(entry("x.bin", sizes(), whole(), pieces(), url(good)))
        path = local("resumed.meta4", text)
        home = lib.fresh(rig.folder / "resumed-ours")
        command = [rig.programs["ours"].path, *OPTIONS, "-d", str(home), "-M", str(path)]
        process = subprocess.Popen([*command, "--max-download-limit=1M"], cwd=home,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=lib.quiet_environment(home))
        try:
            target = home / "x.bin"
            lib.wait_for("some bytes", lambda: target.exists()
                         and target.stat().st_blocks * 512 > 2 * lib.MIB)
            process.terminate()
            lib.check(process.wait(20) == 7, "an interrupted download has exit code 7")
        finally:
            if process.poll() is None:
                process.kill()
        before = len(rig.nginx.requests())
        done = subprocess.run(command, cwd=home, capture_output=True, timeout=60,
                              env=lib.quiet_environment(home))
        lib.check(done.returncode == 0, f"exit code {done.returncode}")
        lib.check(target.read_bytes() == DATA, "the file is wrong")
        sent = sum(request.sent for request in rig.nginx.requests()[before:])
        lib.check(sent < len(DATA), f"{sent} bytes were sent once more")
        return f"{sent} of {len(DATA)} bytes"

    def over_rpc():
        home = lib.fresh(rig.folder / "rpc")
        document = base64.b64encode(two.encode()).decode()
        bad_name = base64.b64encode(v4(entry("../x", url(good))).encode()).decode()
        texts = {}
        for name, program in rig.programs.items():
            own = home / name
            own.mkdir()
            with lib.Server(program, own) as server:
                gids = server.call("aria2.addMetalink", document, {"pause": "true"})
                files = [server.status(gid)["files"][0] for gid in gids]
                shown = [(file["length"], [uri["uri"] for uri in file["uris"]],
                          file["path"].split("/")[-1]) for file in files]
                errors = []
                for garbage in (bad_name, base64.b64encode(b"junk").decode()):
                    try:
                        server.call("aria2.addMetalink", garbage)
                    except lib.RpcError as error:
                        errors.append(str(error))
                texts[name] = (shown, errors)
        lib.check(texts["ours"] == texts["aria2c"], f"{texts['ours']} beside {texts['aria2c']}")

    yield "mirrors of the wanted country", near
    yield "mirrors that Link headers name", linked
    yield "what follows what", relations
    yield "a wrong hash beside a torrent", wrong_hash_beside_a_torrent
    yield "what both say of files of one torrent", shown_of_one_torrent
    yield "a wrong hash of one file of a torrent", hash_of_one_of_several
    yield "a corrupting mirror", corrupt
    yield "three mirrors, one corrupting, and a torrent", three_mirrors_and_a_torrent
    yield "resumed", resumed
    yield "over RPC", over_rpc


def main():
    suite = lib.Suite("metalinks")
    with lib.scratch("metalinks") as folder:
        root = folder / "www"
        root.mkdir()
        (root / "good.bin").write_bytes(DATA)
        (root / "other.bin").write_bytes(OTHER)
        types = {"nameless": "x-bittorrent", "listless": "metalink4+xml"}
        lines = "".join(f"location = /{name} {{ default_type application/{kind}; }}\n"
                        for name, kind in types.items())
        with lib.Nginx(root, folder / "nginx", lines=lines) as nginx:
            for name, run in cases(Rig(folder, nginx)):
                suite.run(name, run)
    suite.finish()


main()
