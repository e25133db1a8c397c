"""Torrents with other people's clients at the other end: libtorrent, transmission, qBittorrent,
aria2c and opentracker, all real, all on the loopback device.

  torrents.py            everything
  torrents.py WORD...    only the checks whose name holds one of the words
"""

import contextlib
import hashlib
import os
import re
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import lib
import peers
from peers import BOTH, EITHER, ENCRYPTED, IP, IP6, PLAIN, TCP, UTP
from peers import Command, Libtorrent, QBittorrent, Tracker, Transmission, closing, noise, torrent

SIZE = 12 * lib.MIB + 12345
TIMEOUT = int(os.environ.get("TIMEOUT", "90"))


class World:
    """A folder, the program, and a torrent of one file that most checks share."""

    def __init__(self, folder, program):
        self.folder, self.program = folder, program
        self.data = noise("one", SIZE)
        self.count = 0
        self.lock = threading.Lock()

    def place(self, name):
        with self.lock:
            self.count += 1
            path = self.folder / f"{self.count}-{name}"
        path.mkdir()
        return path

    def one(self, *trackers, **more):
        return torrent(self.place("torrent"), "one.bin", self.data, trackers=trackers, **more)

    def ours(self, *args, name="ours"):
        return Command(self.place(name), self.program, *args)

    def theirs(self, kind, *args, **settings):
        place = self.place(kind.__name__)
        return kind(place, *args, **settings)

    def finish(self, client, what, folder=None, timeout=TIMEOUT):
        def tail():
            return f" ({client.tail()[-300:]})" if isinstance(client, Command) else ""
        try:
            lib.wait_for(f"{client.name} to have it", client.is_done, timeout)
        except lib.Failed as error:
            raise lib.Failed(f"{error}{tail()}") from None

        def is_right():
            # Other clients say so before they have written everything.
            with contextlib.suppress(lib.Failed):
                what.check(folder or client.folder)
                return True
        if not isinstance(client, Command):
            with contextlib.suppress(lib.Failed):
                lib.wait_for("the files", is_right, 20, 0.5)
        what.check(folder or client.folder)


def crypto_args(crypto):
    return {PLAIN: [], EITHER: [],
            ENCRYPTED: ["--bt-force-encryption=true"]}[crypto]


# ---- one at each end --------------------------------------------------------------------------


class Aria2c(Command):
    name = "aria2c"

    def __init__(self, folder, crypto, _transport):
        super().__init__(folder, lib.aria2c(), *crypto_args(crypto))


KINDS = (Libtorrent, Transmission, QBittorrent, Aria2c)


def other(world, kind, crypto, transport, ip):
    host = {"host": ip} if kind is Libtorrent else {}
    return world.theirs(kind, crypto, transport, **host)


def telling(client, ip):
    """A tracker that tells all of all; where the address matters, of this client only."""
    return Tracker() if ip == IP else Tracker((ip, client.port), learns=False)


def announced(tracker, client):
    lib.wait_for(f"{client.name} to announce itself", lambda: tracker.events(client.port), 30)


def download_from(world, kind, crypto, transport, ip):
    """The other client seeds, we fetch."""
    with closing(other(world, kind, crypto, transport, ip)) as seed, telling(seed, ip) as tracker, \
            closing(world.ours()) as leech:
        what = world.one(tracker.url)
        seed.add(what, seed=True)
        if isinstance(seed, Aria2c):
            announced(tracker, seed)
        leech.add(what)
        world.finish(leech, what)


def download_from_forced(world, kind):
    """We insist on encryption, the other end leaves it open."""
    with Tracker() as tracker, closing(world.theirs(kind, EITHER, TCP)) as seed, \
            closing(world.ours(*crypto_args(ENCRYPTED))) as leech:
        what = world.one(tracker.url)
        seed.add(what, seed=True)
        leech.add(what)
        world.finish(leech, what)


def seed_to(world, kind, crypto, transport, ip):
    """We seed, the other client fetches."""
    with closing(world.ours()) as seed, closing(other(world, kind, crypto, transport, ip)) as leech, \
            telling(leech, ip) as tracker:
        what = world.one(tracker.url)
        # Whoever is told of the other comes last.
        if ip == IP:
            seed.add(what, seed=True)
            announced(tracker, seed)
            leech.add(what)
        else:
            leech.add(what)
            if not isinstance(leech, Libtorrent):  # It has no way to a tracker of the other family.
                announced(tracker, leech)
                # Transmission hangs up on peers for a moment more.
                time.sleep(2)
            seed.add(what, seed=True)
        world.finish(leech, what)


def dialled_by_utp(world, ours_seed, crypto):
    """Transmission cannot do without TCP, but prefers uTP where it dials: we know nobody to dial."""
    log = world.place("log") / "log.txt"
    with closing(world.ours(f"--log={log}", "--log-level=debug")) as ours, \
            closing(world.theirs(Transmission, crypto)) as theirs, \
            Tracker((IP, ours.port), learns=False) as tracker:
        what = world.one(tracker.url)
        ours.add(what, seed=ours_seed)
        announced(tracker, ours)
        theirs.add(what, seed=not ours_seed)
        world.finish(theirs if ours_seed else ours, what)
        carriers = set(re.findall(r"peer connected.*utp=(\w+)", log.read_text()))
        lib.check(carriers == {"true"}, f"by uTP: {carriers or 'nobody'}")


# ---- discovery --------------------------------------------------------------------------------


def mixed_swarm(world):
    """Eight clients of five makes around a real opentracker, by HTTP and UDP."""
    place = world.place("opentracker")
    with contextlib.ExitStack() as stack:
        tracker = stack.enter_context(peers.OpenTracker(place, world.one().hash))
        what = world.one(tracker.http, tracker.udp)
        by_udp = world.one(tracker.udp)
        seed = stack.enter_context(closing(world.theirs(Libtorrent)))
        seed.add(what, seed=True)
        leeches = [world.theirs(Transmission), world.theirs(QBittorrent), world.theirs(Libtorrent),
                   world.theirs(Libtorrent, ENCRYPTED),
                   Command(world.place("aria2c"), lib.aria2c(), "--seed-time=1"),
                   world.ours("--seed-time=1", name="http"), world.ours(name="udp")]
        for leech in leeches:
            stack.enter_context(closing(leech))
        for leech in leeches:
            leech.add(by_udp if leech is leeches[-1] else what)
        world.finish(leeches[-1], what)
        for leech in leeches[:-1]:
            if isinstance(leech, Command):
                # It goes on seeding for a minute.
                lib.wait_for(f"{leech.name} to have it all", lambda: hashlib.sha1(
                    b"".join(p.read_bytes() for p in [leech.folder / "one.bin"] if p.exists())
                ).digest() == hashlib.sha1(world.data).digest(), TIMEOUT, 0.5)
            else:
                world.finish(leech, what)


def magnet_by_dht(world):
    """A magnet link and nothing else: metadata and peers come by DHT nodes of libtorrent."""
    settings = {"enable_dht": True}
    nodes = [world.theirs(Libtorrent, **settings) for _ in range(4)]
    with closing(*nodes), closing(world.ours(
            "--enable-dht=true", f"--dht-entry-point={IP}:{nodes[1].port}",
            f"--dht-file-path={world.folder}/dht.dat")) as leech:
        for node in nodes:
            for other in nodes:
                if other is not node:
                    node.session.add_dht_node((IP, other.port))
        what = world.one()
        nodes[0].add(what, seed=True)
        lib.wait_for("the DHT of libtorrent",
                     lambda: all(n.session.status().dht_nodes >= 1 for n in nodes), 60)
        handle = nodes[0].handles[0]

        def announced():
            handle.force_dht_announce()
            time.sleep(1)
            return True
        announced()
        leech.add(what.magnet())
        world.finish(leech, what)


def magnet_by_tracker(world):
    with Tracker() as tracker, closing(world.theirs(Transmission)) as seed, \
            closing(world.ours()) as leech:
        what = world.one(tracker.url)
        seed.add(what, seed=True)
        leech.add(what.magnet(tracker.url).replace("&tr=", "&tr.1="))
        world.finish(leech, what)


def magnet_with_peer(world):
    with closing(world.theirs(Libtorrent)) as seed, closing(world.ours()) as leech:
        what = world.one()
        seed.add(what, seed=True)
        leech.add(what.magnet(x_pe=f"{IP}:{seed.port}"))
        world.finish(leech, what)


def our_dht_serves(world):
    """Two of ours and one libtorrent: the peer is found through our node."""
    ours = world.ours("--enable-dht=true", f"--dht-file-path={world.folder}/dht2.dat",
                      "--dht-entry-point=127.0.0.1:1")
    with closing(ours), closing(world.theirs(Libtorrent, enable_dht=True)) as leech:
        what = world.one()
        ours.add(what, seed=True)
        time.sleep(2)
        leech.session.add_dht_node((IP, ours.port))
        leech.add(what)

        def found():
            leech.handles[0].force_dht_announce()
            time.sleep(1)
            return leech.is_done()
        lib.wait_for("libtorrent to find us by DHT", found, TIMEOUT)


def by_exchange_only(world):
    """The tracker names one peer that has nothing; that one names the seed."""
    with contextlib.ExitStack() as stack:
        seed = stack.enter_context(closing(world.theirs(Libtorrent)))
        middle = stack.enter_context(closing(world.theirs(Libtorrent)))
        tracker = stack.enter_context(Tracker((IP, middle.port), learns=False))
        ours = stack.enter_context(closing(world.ours("--enable-peer-exchange=true")))
        bare, what = world.one(), world.one(tracker.url)
        seed.add(bare, seed=True)
        handle = middle.add(bare)
        handle.prioritize_files([0])
        middle.connect(IP, seed.port)
        lib.wait_for("the two to meet", lambda: handle.status().num_peers, 30)
        ours.add(what)
        world.finish(ours, what)


def by_local_discovery_only(world):
    with closing(world.theirs(Libtorrent, enable_lsd=True)) as seed, \
            closing(world.ours("--bt-enable-lpd=true", f"--bt-lpd-interface={IP}")) as leech:
        what = world.one()
        leech.add(what)
        time.sleep(1)
        handle = seed.add(what, seed=True)

        def done():
            handle.force_lsd_announce() if hasattr(handle, "force_lsd_announce") else None
            return leech.is_done()
        lib.wait_for("the peer next door", done, TIMEOUT, 1)
        what.check(leech.folder)


def tracker_is_told(world):
    """started, completed and stopped, each in time."""
    with Tracker() as tracker, closing(world.theirs(Libtorrent)) as seed, \
            closing(world.ours()) as leech:
        what = world.one(tracker.url)
        seed.add(what, seed=True)
        leech.add(what)
        world.finish(leech, what)
        events = [event for event in tracker.events(leech.port) if event]
        lib.check(events[:1] == ["started"] and events[-1:] == ["stopped"]
                  and events.count("completed") == 1, f"told {events}")
        last = [ask for ask in tracker.seen if ask.get("port") == str(leech.port)][-1]
        lib.check(last["left"] == "0" and int(last["downloaded"]) >= SIZE, f"told {last}")


# ---- sources side by side ---------------------------------------------------------------------


def web_seed_only(world):
    """No peers at all: nginx is the only source; several files."""
    root, state = world.place("www"), world.place("nginx")
    files = {f"d{i % 7}/f{i}.bin": noise(f"w{i}", 40_000 + 9_973 * i) for i in range(40)}
    with lib.Nginx(root, state) as nginx, closing(world.ours()) as leech:
        what = torrent(world.place("t"), "many", files, **{"url-list": [nginx.url + "/"]})
        what.store(root)
        leech.add(what)
        world.finish(leech, what)


def web_seed_and_peers(world):
    root, state = world.place("www"), world.place("nginx")
    with lib.Nginx(root, state, rate=1_000_000) as nginx, Tracker() as tracker, \
            closing(world.theirs(Libtorrent, upload_rate_limit=2_000_000)) as seed, \
            closing(world.ours()) as leech:
        what = world.one(tracker.url, **{"url-list": [f"{nginx.url}/one.bin"]})
        what.store(root)
        seed.add(what, seed=True)
        leech.add(what)
        world.finish(leech, what)
        by_web, by_peer = sum(r.sent for r in nginx.requests()), seed.uploaded()
        lib.check(by_web > lib.MIB and by_peer > lib.MIB, f"{by_web} by nginx, {by_peer} by peer")
        waste = by_web + by_peer - SIZE
        lib.check(waste < 3 * lib.MIB, f"{waste} bytes were fetched twice")
        return f"nginx {by_web / SIZE:.0%}, peer {by_peer / SIZE:.0%}"


class Liar:
    """A peer that has everything and sends rubbish in every block."""

    def __init__(self, what):
        # At an address of its own: the honest one must not be banned with it.
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.what, self.sent, self.connections = what, 0, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
            if stream.read(1) != b"\x13" or len(stream.read(67)) < 67:
                return
            self.connections += 1
            count = -(-self.what.total // self.what.piece_len)
            bits = bytearray(b"\xff" * (count // 8))
            if count % 8:
                bits.append(0xFF00 >> (count % 8) & 0xFF)
            connection.sendall(b"\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(self.what.hash)
                               + b"-XX0001-" + bytes(12)
                               + struct.pack(">IB", 1 + len(bits), 5) + bits
                               + struct.pack(">IB", 1, 1))
            while head := stream.read(4):
                body = stream.read(struct.unpack(">I", head)[0])
                if body[:1] == b"\x06":
                    index, begin, length = struct.unpack(">III", body[1:13])
                    self.sent += 1
                    connection.sendall(struct.pack(">IBII", 9 + length, 7, index, begin)
                                       + b"\xbd" * length)

    def close(self):
        self.listener.close()


def corrupt_peer(world):
    """Beside an honest seed, one peer lies: the file is right and the liar gets nothing more."""
    what = world.one()
    with closing(Liar(what)) as liar, \
            closing(world.theirs(Libtorrent, upload_rate_limit=3_000_000)) as seed, \
            Tracker(("127.0.0.1", liar.port), (IP, seed.port), learns=False) as tracker, \
            closing(world.ours()) as leech:
        what = world.one(tracker.url)
        seed.add(what, seed=True)
        leech.add(what)
        world.finish(leech, what)
        lib.check(liar.connections > 0, "the liar was never asked")
        blocks = SIZE // 16384
        lib.check(liar.sent < blocks // 2, f"{liar.sent} blocks were taken from the liar")
        return f"{liar.sent} bad blocks taken of {blocks}"


def many_files(world):
    """10,000 files, the odd one empty."""
    files = {f"{i // 100:03}/{i:05}.txt": noise(f"m{i}", i % 3000) for i in range(10_000)}
    with Tracker() as tracker, closing(world.theirs(Libtorrent)) as seed, \
            closing(world.ours()) as leech:
        what = torrent(world.place("t"), "ten-thousand", files, 64 * 1024, [tracker.url])
        seed.add(what, seed=True)
        leech.add(what)
        world.finish(leech, what, timeout=150)


def selected_files(world):
    """Only what was asked for is left when it is done."""
    files = {f"f{i}.bin": noise(f"s{i}", 700_000 + i) for i in range(1, 7)}
    with Tracker() as tracker, closing(world.theirs(Libtorrent)) as seed, \
            closing(world.ours("--select-file=2,4-5", "--bt-remove-unselected-file=true",
                               "--index-out=4=renamed/four.bin")) as leech:
        what = torrent(world.place("t"), "some", files, trackers=[tracker.url])
        seed.add(what, seed=True)
        leech.add(what)
        lib.wait_for("the selected files", leech.is_done, TIMEOUT)
        what.check(leech.folder, only=["some/f2.bin", "some/f5.bin"])
        lib.check((leech.folder / "renamed/four.bin").read_bytes() == files["f4.bin"], "f4 differs")
        there = sorted(p.name for p in leech.folder.rglob("*.bin"))
        lib.check(there == ["f2.bin", "f5.bin", "four.bin"], f"left: {there}")


def private_torrent(world):
    """Nobody is told of its peers."""
    with Tracker() as tracker, closing(world.theirs(Libtorrent)) as seed, \
            closing(world.ours("--enable-peer-exchange=true", "--enable-dht=true",
                               "--dht-entry-point=127.0.0.1:1")) as leech:
        what = world.one(tracker.url, info={"private": 1})
        seed.add(what, seed=True)
        leech.add(what)
        world.finish(leech, what)


def hybrid_torrent(world):
    """Versions 1 and 2 in one; made by libtorrent."""
    lt = peers.lt
    place = world.place("hybrid")
    for name in ("a.bin", "b.bin"):
        (place / "both").mkdir(exist_ok=True)
        (place / "both" / name).write_bytes(noise(name, 900_001))
    storage = lt.file_storage()
    lt.add_files(storage, str(place / "both"))
    made = lt.create_torrent(storage, 65536)
    lt.set_piece_hashes(made, str(place))
    raw = lt.bencode(made.generate())
    (place / "both.torrent").write_bytes(raw)
    info = raw[raw.index(b"4:info") + 6:]
    files = {f"both/{n}": noise(n, 900_001) for n in ("a.bin", "b.bin")}
    what = peers.Torrent(place / "both.torrent", "both", files, info, 65536)
    hybrid = lt.torrent_info(raw)
    with closing(world.theirs(Libtorrent)) as seed, \
            Tracker((IP, seed.port), learns=False) as tracker, \
            closing(world.ours(f"--bt-tracker={tracker.url}")) as leech:
        lib.check(hybrid.info_hashes().has_v2(), "libtorrent made no hybrid")
        seed.add(what, seed=True)
        leech.add(what)
        world.finish(leech, what)


# ---- restarts ---------------------------------------------------------------------------------


def server(world, home, state, *args):
    return lib.Server(world.program, home, *peers.QUIET[1:], f"--listen-port={args[0]}", *args[1:],
                      state=state)


def upload(world, run, what, **options):
    import base64
    data = base64.b64encode(what.path.read_bytes()).decode()
    return run.call("aria2.addTorrent", data, [], options)


def restart_in_mid_download(world):
    """SIGKILL half-way: no more than 16 MiB and what comes in a second is fetched again."""
    home, state, port = world.place("home"), world.place("state"), peers.free_port()
    rate, size = 8_000_000, 48 * lib.MIB
    with Tracker() as tracker, \
            closing(world.theirs(Libtorrent, upload_rate_limit=rate)) as seed:
        what = torrent(world.place("t"), "big.bin", noise("big", size), trackers=[tracker.url])
        seed.add(what, seed=True)
        with server(world, home, state, port, "--seed-time=0") as run:
            gid = upload(world, run, what)
            run.wait_bytes(gid, size // 2)
            run.kill()
        with server(world, home, state, port, "--seed-time=0") as run:
            status = run.wait_status(gid, "complete", timeout=TIMEOUT)
            what.check(run.downloads)
            lib.check(status["infoHash"] == what.hash, "another info hash")
        waste = seed.uploaded() - size
        lib.check(waste < 18 * lib.MIB + rate, f"{waste} bytes were fetched again")
        return f"{waste / lib.MIB:.1f} MiB fetched again"


def restart_in_mid_seeding(world):
    """It seeds again after a crash, and remembers what it has given."""
    home, state, port = world.place("home"), world.place("state"), peers.free_port()
    with Tracker() as tracker, closing(world.theirs(Libtorrent)) as first, \
            closing(world.theirs(Libtorrent)) as second:
        what = world.one(tracker.url)
        what.store(home / "downloads")
        with server(world, home, state, port, "--seed-ratio=0.0", "--check-integrity=true") as run:
            gid = upload(world, run, what)
            first.add(what)
            world.finish(first, what)
            before = lib.wait_for("the figure", lambda: int(
                run.status(gid)["uploadLength"]) >= SIZE and int(run.status(gid)["uploadLength"]), 30)
            lib.check(run.status(gid).get("seeder") == "true", "not shown as a seeder")
            time.sleep(11)
            run.kill()
        first.close_session = None
        with server(world, home, state, port, "--seed-ratio=0.0", "--check-integrity=true") as run:
            lib.wait_for("it to seed", lambda: run.status(gid).get("seeder") == "true", 30)
            after = int(run.status(gid)["uploadLength"])
            lib.check(after >= before // 2, f"{before} bytes given before, {after} after")
            second.add(what)
            world.finish(second, what)


def swap_with_aria2c(world, ours_first):
    """One begins, the other goes on from the same control file."""
    theirs = lib.aria2c()
    first, then = (world.program, theirs) if ours_first else (theirs, world.program)
    folder = world.place("swap")
    with Tracker() as tracker, \
            closing(world.theirs(Libtorrent, upload_rate_limit=1_500_000)) as seed:
        what = world.one(tracker.url)
        seed.add(what, seed=True)
        with closing(Command(folder, first)) as begun:
            begun.add(what)
            part = folder / "one.bin"
            lib.wait_for("a third of it", lambda: part.exists() and seed.uploaded() > SIZE // 3, 60)
            begun.process.terminate()
            begun.process.wait(20)
        lib.check((folder / "one.bin.aria2").exists(), "no control file was left")
        with closing(Command(folder, then)) as other:
            other.add(what)
            world.finish(other, what)
        waste = seed.uploaded() - SIZE
        lib.check(waste < 3 * lib.MIB, f"{waste} bytes were fetched again")


# ---- RPC --------------------------------------------------------------------------------------


def calls(world):
    """What RPC says of a torrent while it is fetched and seeded."""
    home, port = world.place("home"), peers.free_port()
    with Tracker() as tracker, closing(world.theirs(Libtorrent, upload_rate_limit=500_000)) as seed:
        what = world.one(tracker.url, comment="a comment", **{"creation date": 1234567890})
        seed.add(what, seed=True)
        with server(world, home, None, port, "--seed-ratio=0.0") as run:
            gid = upload(world, run, what)
            run.wait_bytes(gid, SIZE // 8)
            status, others = run.status(gid), run.call("aria2.getPeers", gid)
            lib.check(status["bittorrent"]["comment"] == "a comment"
                      and status["bittorrent"]["mode"] == "single"
                      and status["bittorrent"]["info"]["name"] == "one.bin"
                      and status["bittorrent"]["announceList"] == [[tracker.url]], f"{status}")
            lib.check(status["seeder"] == "false" and status["numSeeders"] == "1"
                      and status["connections"] == "1", f"{status}")
            lib.check(len(others) == 1 and others[0]["ip"] == IP and others[0]["seeder"] == "true"
                      and others[0]["peerId"].startswith("%2DLT") and
                      int(others[0]["downloadSpeed"]) > 0, f"{others}")
            seed.session.apply_settings({"upload_rate_limit": 0})
            done = lib.wait_for("it to seed",
                                lambda: (s := run.status(gid))["seeder"] == "true" and s, TIMEOUT)
            lib.check(done["status"] == "active" and set(done["bitfield"][:4]) == {"f"}, f"{done}")
            run.call("aria2.forcePause", gid)
            run.wait_status(gid, "paused")
            run.call("aria2.unpause", gid)
            lib.wait_for("it to seed again",
                         lambda: run.status(gid).get("seeder") == "true", TIMEOUT)
            run.call("aria2.remove", gid)
            # aria2 calls what was complete so, whoever ended it.
            run.wait_status(gid, "removed", "complete")
            what.check(run.downloads)


def seed_ratio_ends_it(world):
    """--seed-ratio: the command ends by itself when it has given enough."""
    with Tracker() as tracker, closing(world.ours("--seed-ratio=0.5")) as seed, \
            closing(world.theirs(Libtorrent)) as leech:
        what = world.one(tracker.url)
        what.store(seed.folder)
        seed.add(what, args=["--check-integrity=true", "--seed-time=10"])
        lib.wait_for("our announcement", lambda: tracker.events(seed.port), 30)
        leech.add(what)
        lib.wait_for("it to end", seed.is_done, TIMEOUT)


def pairs():
    """Every way for two clients to meet: name, check, its parameters. Left out is what the other
    client cannot do: aria2c knows no uTP; Transmission has no switch that turns TCP off, and dials
    by IPv6 only where it has a public address."""
    for kind in KINDS:
        carriers = (TCP, UTP) if kind in (Libtorrent, QBittorrent) else (TCP,)
        for ip, family in ((IP, "IPv4"), (IP6, "IPv6")):
            for crypto in (PLAIN, ENCRYPTED):
                for carrier in carriers:
                    words = f"{crypto}, {carrier}, {family}"
                    yield f"{kind.name} gives, {words}", download_from, kind, crypto, carrier, ip
                    yield f"{kind.name} takes, {words}", seed_to, kind, crypto, carrier, ip
                if kind is Transmission and ip == IP:
                    words = f"{crypto}, {UTP}, {family}"
                    yield f"{kind.name} gives, {words}", dialled_by_utp, False, crypto
                    yield f"{kind.name} takes, {words}", dialled_by_utp, True, crypto
        if kind is not Aria2c:
            yield f"{kind.name} gives, we insist on encryption", download_from_forced, kind


def cases(world):
    yield from pairs()
    yield "eight clients around opentracker", mixed_swarm
    yield "magnet by DHT of libtorrent", magnet_by_dht
    yield "magnet by tracker, tr.1=", magnet_by_tracker
    yield "magnet with its peer in the link", magnet_with_peer
    yield "libtorrent finds us through our DHT node", our_dht_serves
    yield "peers by exchange only", by_exchange_only
    yield "peers by local discovery only", by_local_discovery_only
    yield "the tracker is told of the stages", tracker_is_told
    yield "web seed only, 40 files", web_seed_only
    yield "web seed and peer fill one file", web_seed_and_peers
    yield "a peer that lies", corrupt_peer
    yield "10,000 files", many_files
    yield "selected files", selected_files
    yield "private torrent", private_torrent
    yield "hybrid torrent", hybrid_torrent
    yield "SIGKILL while fetching", restart_in_mid_download
    yield "SIGKILL while seeding", restart_in_mid_seeding
    yield "we begin, aria2c goes on", swap_with_aria2c, True
    yield "aria2c begins, we go on", swap_with_aria2c, False
    yield "what RPC says", calls
    yield "seed-ratio ends it", seed_ratio_ends_it


def main():
    words = sys.argv[1:]
    lib.WORK.mkdir(parents=True, exist_ok=True)
    suite = lib.Suite("torrents")
    with tempfile.TemporaryDirectory(prefix="torrents-", dir=lib.WORK) as folder, \
            peers.addresses():
        world = World(Path(folder), lib.program())
        wanted = [(name, function, world, *rest) for name, function, *rest in cases(world)
                  if not words or any(word in name for word in words)]
        suite.run_all(wanted, workers=5)
    suite.finish()


main()
