"""Kills a busy server again and again.

A World is one server with its nginx, its torrents and a ledger of what it must still know.
"""

import http.client
import random
import re
import statistics
import threading
import time
from collections import defaultdict

import peers
from lib import (
    MIB, ROOT, SOCKET_SLACK, Failed, Nginx, NotInTime, RpcError, Server, check, free_port, program, sample,
    wait_for,
)
from storm_ledger import SURE, Entry, Ledger
from storm_sources import KINDS, Files, Swarms, encoded, waiting

# As long as this may a machine with too much to do hold up what takes no time elsewhere.
LATE_MAX = 2.0
CONNECTIONS = 4
SLOTS = 3
ENTRIES = 1000
# Per kill and active download: one second or 16 MiB may be fetched again.
LOSS_MAX = 16 * MIB
# What rules the entries that only wait; (option, values).
VARIED = (
    ("max-download-limit", ["0", "1048576", "2097152"]), ("split", ["1", "3", "7"]),
    ("max-tries", ["2", "9"]), ("referer", ["http://r.test/a", "http://r.test/b?c=d"]),
    ("user-agent", ["one/1", "two/2 (a; b)"]), ("retry-wait", ["1", "5"]),
)


def failpoints():
    """Every named failpoint of the source."""
    names = set()
    for path in (ROOT / "src").rglob("*.rs"):
        names.update(re.findall(r'failpoint::hit\("([\w.]+)"\)', path.read_text()))
    return sorted(names)


def temporary(name):
    """Where the control file of this data file is written before it is renamed."""
    number = 0xCBF29CE484222325
    for byte in (name or "").encode():
        number = (number ^ byte) * 0x100000001B3 % 2**64
    return f".{number:016x}.aria2__temp"


class World(Ledger):
    """One server, killed many times."""

    def __init__(self, number, seed, work, rate, size, swarm_seed=None, binary=None, args=()):
        work.mkdir(parents=True)
        swarms = swarm_seed and Swarms(swarm_seed, work / "seed", min(size, 48 * MIB) + 99,
                                       min(CONNECTIONS * rate, 8 * MIB))
        super().__init__(random.Random(f"{seed}/{number}"), swarms)
        self.work, self.rate = work, rate
        self.root = work / "root"
        self.root.mkdir()
        self.files = Files(self.root, sample(f"storm-{size // MIB}.bin", size + 4321))
        self.args = args
        self.listen = peers.free_port() if swarm_seed else free_port()
        self.binary = binary or program()
        self.port = free_port()
        self.names = 0
        self.wrong, self.refetched, self.kills = [], [], 0
        self.late = []  # refetches above the bound
        self.unanswered = []  # kills after which a start gave no answer in time
        self.named = defaultdict(int)
        self.tried = set()
        self.starts = []

    # ---- the driver ---------------------------------------------------------------------------

    def run(self, kills, points=()):
        """Kills so often; `points` are failpoints to die at, one for each kill that has one."""
        points = list(points)
        with Nginx(self.root, self.work / "nginx", self.rate) as self.nginx:
            with self.server() as server:
                self.fill(server)
                server.call("aria2.saveSession")
                time.sleep(SURE + 0.3)
                self.look(server)
                killed = self.kill(server)
            for number in range(1, kills):
                point = points[number % len(points)] if points else None
                with self.server(point) as server:
                    if self.compare(server, killed):
                        killed = self.live_and_die(server, point)
                    else:
                        killed = time.monotonic()  # it died while it was asked
                        server.process.wait(5)
                        self.note_kill(server, point)
            with self.server() as server:
                self.compare(server, killed)
                self.finish(server)
            self.account()

    def server(self, point=None):
        self.started = time.time()
        self.starts.append(self.started)
        # What is passed seldom is not waited for a second time.
        passes = self.random.randint(1, 4) if point and point not in self.tried else 1
        self.tried.add(point)
        env = {"ARIOSO_FAILPOINT": f"{point}:{passes}"} if point else None
        while True:
            try:
                return Server(
                    self.binary, self.work, *peers.QUIET[1:], f"-x{CONNECTIONS}",
                    f"-s{CONNECTIONS}", "-k1M", f"-j{SLOTS}", "--max-download-result=3",
                    "--history-limit=5000",
                    "--console-log-level=warn", "--seed-time=0",
                    "--rpc-save-upload-metadata=false",
                    f"--listen-port={self.listen}",
                    "--file-allocation=" + self.random.choice(["none", "prealloc", "falloc"]),
                    *self.args, state=self.work / "state", port=self.port, env=env,
                )
            except NotInTime as error:
                # Told in the table; a second time in a row it counts.
                check(not self.unanswered or self.unanswered[-1] != self.kills, error)
                print(error, flush=True)
                self.unanswered.append(self.kills)
                self.starts.append(time.time())
            except Failed as error:
                check(env is not None, error)
                self.note_kill(None, point)  # it died before it could answer
                env = None

    def fill(self, server):
        """Results, active, waiting, paused: about a thousand entries."""
        def batch(numbers):
            calls, sent = [], []
            for number in numbers:
                options = {name: self.random.choice(values) for name, values in VARIED
                           if self.random.random() < 0.5}
                method, what, info_hash = waiting(number)
                calls.append({"methodName": method, "params": [
                    "token:compat", *what, {**options, "pause": "true"}]})
                sent.append((options, info_hash))
            for answer, (options, info_hash) in zip(server.call("system.multicall", calls), sent):
                gid = answer[0] if isinstance(answer[0], str) else answer[0][0]
                self.entries[gid] = Entry(time.monotonic(), "paused", options, info_hash=info_hash)

        (self.root / "small.bin").write_bytes(b"x" * 70_000)
        small = server.call("aria2.addUri", [f"{self.nginx.url}/small.bin"])
        missing = server.call("aria2.addUri", [f"{self.nginx.url}/missing.bin"])
        wait_for("results", lambda: len(self.stopped(server)) == 2)
        for gid in (small, missing):
            self.entries[gid] = Entry(time.monotonic(), "live", {})
        for _ in range(SLOTS + 3):
            self.add(server)
        removed = self.add(server)
        server.call("aria2.changePosition", removed, 0, "POS_SET")
        for part in range(9):
            batch(range(part * 111, part * 111 + ENTRIES // 9 - 2))

    def live_and_die(self, server, point):
        """Some calls, then death: at a failpoint, or at any instant."""
        due = time.monotonic() + (
            self.random.uniform(2.0, 7.0) if point else self.random.uniform(0.05, 2.4))
        death = {"by": point}
        stop = threading.Event()

        def reaper():
            # How late this thread is woken shows what the server's threads have to wait as well.
            last, late = time.monotonic(), 0
            while server.process.poll() is None and time.monotonic() < due and not stop.is_set():
                time.sleep(0.004)
                last, late = time.monotonic(), max(late, time.monotonic() - last - 0.004)
            death["at"] = time.monotonic() - min(LATE_MAX, 5 * late)
            if server.process.poll() is None:
                death["by"] = None
            server.kill()

        thread = threading.Thread(target=reaper)
        thread.start()
        try:
            while server.process.poll() is None:
                self.act(server)
                self.look(server)
                time.sleep(self.random.uniform(0, 0.25))
        except (OSError, http.client.HTTPException, ValueError):
            pass  # killed in the middle of a call
        finally:
            thread.join(10)
            stop.set()
        self.note_kill(server, death["by"])
        return death["at"]

    def kill(self, server):
        at = time.monotonic()
        server.kill()
        self.note_kill(server, None)
        return at

    def note_kill(self, server, point):
        """It is dead: at this failpoint, or at any instant."""
        self.kills += 1
        self.named[point or "any instant"] += 1
        if server and self.swarms:
            self.swarms.note_kill(server.downloads)

    # ---- calls that are written down ----------------------------------------------------------

    def add(self, server):
        """One more download that can end, of each kind in turn."""
        self.names += 1
        kind = KINDS[self.names % len(KINDS)] if self.swarms else "http"
        name = f"file{self.names}.bin"
        options = {"max-tries": "0", "retry-wait": "1"}
        gid = f"{self.random.getrandbits(63) | 1:016x}"
        url, info_hash = f"{self.nginx.url}/{name}", None
        if kind in ("http", "metalink"):
            self.files.add(name)
        else:
            torrent, link, info_hash = self.swarms.add(name)
        if kind == "metalink":
            # The answer names its GID.
            self.unborn[name] = options
            document = encoded(self.files.metalink(name, url))
            [gid] = server.call("aria2.addMetalink", document, options)
            self.entries[gid] = Entry(time.monotonic(), "live", options, name, kind)
            del self.unborn[name]
            return gid
        # Written down before: the kill may come between the deed and the answer.
        entry = Entry(float("inf"), "live", options, name, kind, info_hash)
        self.entries[gid] = entry
        options = options | {"gid": gid}
        if kind == "torrent":
            server.call("aria2.addTorrent", encoded(torrent), [], options)
        else:
            server.call("aria2.addUri", [link if kind == "magnet" else url], options)
        entry.facts[0] = (time.monotonic(), "live", entry.facts[0][2])
        return gid

    def act(self, server):
        deed = self.random.choice(["add", "pause", "unpause", "move", "option", "forget", "none"])
        unfinished = [gid for gid, entry in self.entries.items()
                      if entry.result is None and entry.facts[-1][1] != "gone"]
        if deed == "add":
            live = sum(entry.real is not None and entry.result is None
                       for entry in self.entries.values())
            if live < SLOTS + 4:
                self.add(server)
            return
        if deed == "none" or not unfinished:
            return
        gid = self.random.choice(unfinished)
        entry = self.entries[gid]
        reals = [gid for gid in unfinished if self.entries[gid].real]
        try:
            if deed in ("pause", "unpause") and reals:
                gid = self.random.choice(reals)
                entry = self.entries[gid]
                wish = "paused" if deed == "pause" else "live"
                self.moves.append((float("inf"), gid))
                self.say(entry, lambda: server.call(f"aria2.{deed}", gid), wish)
            elif deed == "move":
                self.moves.append((float("inf"), gid))
                place = self.random.randrange(ENTRIES)
                server.call("aria2.changePosition", gid, place, "POS_SET")
            elif deed == "option" and not entry.real:
                name, values = self.random.choice(VARIED)
                value = self.random.choice(values)
                self.say(entry, lambda: server.call("aria2.changeOption", gid, {name: value}),
                         **{name: value})
            elif deed == "forget" and not entry.real:
                self.say(entry, lambda: server.call("aria2.remove", gid), "gone")
        except RpcError:
            pass  # it has ended meanwhile, or is so already
        finally:
            self.moves = [(min(at, time.monotonic()), moved) for at, moved in self.moves]

    def wait_complete(self, server, gid):
        def probe():
            row = self.about(server, gid)
            check(row and row["status"] != "error", f"{gid} is {row}")
            return row["status"] == "complete" and row

        return wait_for(f"{gid} to be complete", probe, 120)

    # ---- the end ------------------------------------------------------------------------------

    def finish(self, server):
        """Lets everything that can end do so, and looks at the files."""
        for gid in [gid for gid, entry in self.entries.items() if entry.real]:
            try:
                server.call("aria2.unpause", gid)
            except RpcError:
                pass
        for gid, entry in self.entries.items():
            if entry.kind == "magnet":
                self.wait_complete(server, gid)
        self.adopt(server, self.stopped(server) + server.call("aria2.tellActive", ["gid"])
                   + server.call("aria2.tellWaiting", 0, 5000, ["gid"]))
        reals = {gid: entry for gid, entry in self.entries.items() if entry.real}
        for gid, entry in reals.items():
            try:
                shown = self.wait_complete(server, gid)["files"][0]
            except Failed as error:
                self.wrong.append(f"{entry.real}: {error}")
                continue
            if entry.kind == "magnet":
                continue
            source = self.swarms if entry.kind == "torrent" else self.files
            if not source.is_right(server.downloads, entry.real):
                self.wrong.append(f"{entry.real}: wrong bytes")
            path = server.downloads / entry.real
            if entry.kind != "torrent" and shown != str(path):
                self.wrong.append(f"{entry.real} was written to {shown}")
        expected = {entry.real for entry in reals.values()} | {"small.bin"}
        for path in server.downloads.iterdir():
            # Of a download that was added in the last second before a kill.
            name = path.name.removesuffix(".aria2")
            forgotten = name in self.forgotten or name in map(temporary, self.forgotten)
            if path.name not in expected and not forgotten:
                self.wrong.append(f"{path.name} is left behind")
        if self.swarms:
            self.swarms.note_end()

    def account(self):
        """Bytes fetched again after each kill."""
        self.nginx.stop()
        bound = max(LOSS_MAX, CONNECTIONS * self.rate) + SOCKET_SLACK * CONNECTIONS
        again, late = Files.refetched(self.nginx.requests(), self.starts, bound)
        self.refetched += again
        self.late += late
        if self.swarms:
            self.late += self.swarms.late


def table(worlds, points):
    """Prints what the kills cost."""
    again = sorted(sum((world.refetched for world in worlds), [])) or [0]
    swarms = [world.swarms for world in worlds if world.swarms]
    of_torrents = sorted(sum((swarm.again for swarm in swarms), [])) or [0]
    died = {name for world in worlds for name in world.named} & set(points)
    missed = ", ".join(sorted(set(points) - died))
    ended = lambda kind: sum(entry.kind == kind and bool(entry.real)
                             for world in worlds for entry in world.entries.values())
    rows = [
        ("kills", sum(world.kills for world in worlds)),
        ("  at named failpoints", sum(world.named[name] for world in worlds for name in died)),
        ("failpoints died at", f"{len(died)} of {len(points)}{missed and '; not ' + missed}"),
        ("entries in each queue", ENTRIES),
        ("downloads completed", ", ".join(f"{kind} {ended(kind)}" for kind in KINDS)),
        ("fetched again, median per kill", f"{statistics.median(again) / MIB:.2f} MiB"),
        ("fetched again, worst kill", f"{again[-1] / MIB:.2f} MiB"),
        ("  of a torrent, median", f"{statistics.median(of_torrents) / MIB:.2f} MiB"),
        ("  of a torrent, worst kill", f"{of_torrents[-1] / MIB:.2f} MiB"),
        ("fetched again beyond the bound", sum(len(world.late) for world in worlds)),
        ("starts without an answer in time", sum(len(world.unanswered) for world in worlds)),
        ("lost or changed entries", sum(len(world.lost) for world in worlds)),
        ("wrong files", sum(len(world.wrong) for world in worlds)),
    ]
    for name, figure in rows:
        print(f"  {name:32} {figure}", flush=True)
    for world in worlds:
        for text in world.late[:9] + world.wrong[:9] + world.lost[:9]:
            print(f"    {world.work.name}: {text}", flush=True)
