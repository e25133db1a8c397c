"""What the downloads of a storm come from: nginx, Metalinks, and a seed for torrents and magnets.

All downloads of a world have the same bytes and names of their own, so that each is a file, a
torrent and a swarm of its own.
"""

import base64
import hashlib
import os
import threading

import peers
from lib import MIB, SOCKET_SLACK, Ranges, read_control_file, sample, sha256

PIECE = 256 * 1024
# A socket's worth, and what the seed counts late.
SEED_SLACK = 2 * MIB
KINDS = ("http", "torrent", "magnet", "metalink") if peers.lt else ("http", "metalink")
# Nobody answers there.
NOWHERE = "http://127.0.0.1:9"


def encoded(document):
    return base64.b64encode(document).decode()


def metalink(name, size, url, pieces=(), digest=None):
    """A Metalink of version 4 for one file."""
    hashes = "".join(f"<hash>{piece}</hash>" for piece in pieces)
    return ('<metalink xmlns="urn:ietf:params:xml:ns:metalink">'
            f'<file name="{name}"><size>{size}</size>'
            + (f'<hash type="sha-256">{digest}</hash>' if digest else "")
            + (f'<pieces length="{MIB}" type="sha-1">{hashes}</pieces>' if hashes else "")
            + f"<url>{url}</url></file></metalink>").encode()


def waiting(number):
    """Method, document (if any) and info hash of an entry that is never begun."""
    kind = number % 8
    if kind == 0 and peers.lt:
        info = peers.bencode({"name": f"waiting{number}", "length": 1, "piece length": PIECE,
                              "pieces": hashlib.sha1(b"x").digest()})
        torrent = b"d8:announce%d:%s4:info%se" % (len(NOWHERE), NOWHERE.encode(), info)
        return "aria2.addTorrent", [encoded(torrent), []], hashlib.sha1(info).hexdigest()
    if kind == 1 and peers.lt:
        info_hash = hashlib.sha1(b"%d" % number).hexdigest()
        return "aria2.addUri", [[f"magnet:?xt=urn:btih:{info_hash}"]], info_hash
    if kind == 2:
        document = metalink(f"waiting{number}", 9, f"{NOWHERE}/{number}")
        return "aria2.addMetalink", [encoded(document)], None
    return "aria2.addUri", [[f"{NOWHERE}/{number}"]], None


class Seed:
    """One libtorrent for all worlds, and the tracker that tells of it."""

    def __init__(self, work):
        self.session = peers.Libtorrent(work, unchoke_slots_limit=-1, connections_limit=2000,
                                        alert_mask=0)
        self.tracker = peers.Tracker((peers.IP, self.session.port), learns=False)
        # Shared by the worlds' threads.
        self.lock = threading.Lock()

    def add(self, torrent, folder, rate):
        with self.lock:
            arguments = peers.lt.add_torrent_params()
            arguments.ti = peers.lt.torrent_info(torrent)
            arguments.save_path = str(folder)
            flags = peers.lt.torrent_flags
            arguments.flags |= flags.seed_mode
            arguments.flags &= ~(flags.auto_managed | flags.paused)
            handle = self.session.session.add_torrent(arguments)
            handle.set_upload_limit(rate)
            self.session.handles.append(handle)
            return handle

    def close(self):
        self.session.close()
        self.tracker.close()


class Swarms:
    """The torrents of one world, and what was sent of each."""

    def __init__(self, seed, folder, size, rate):
        self.seed, self.folder, self.rate = seed, folder, rate
        whole = sample(f"storm-torrent-{size // MIB}.bin", size)
        data = whole.path.read_bytes()
        self.total, self.sha256 = len(data), whole.sha256
        cut = len(data) // 3
        self.parts = {"a.bin": data[:cut], "deep/b.bin": data[cut:]}
        self.pieces = b"".join(hashlib.sha1(data[at:at + PIECE]).digest()
                               for at in range(0, len(data), PIECE))
        for name, part in self.parts.items():
            self.store("whole", name).write_bytes(part)
        self.handles, self.lost, self.at_kill = {}, {}, {}
        self.again, self.late = [], []

    def store(self, torrent, name):
        path = self.folder / torrent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, name):
        """A torrent of this name is seeded from now on. Its bytes and its magnet link."""
        files = [{"length": len(part), "path": path.split("/")} for path, part in self.parts.items()]
        for path in self.parts:
            os.link(self.folder / "whole" / path, self.store(name, path))
        info = {"name": name, "piece length": PIECE, "pieces": self.pieces, "files": files}
        tracker = self.seed.tracker.url
        torrent = peers.bencode({"announce": tracker, "info": info})
        info_hash = hashlib.sha1(peers.bencode(info)).hexdigest()
        self.handles[name] = self.seed.add(torrent, self.folder, self.rate)
        self.lost[name] = 0
        return torrent, f"magnet:?xt=urn:btih:{info_hash}&tr={tracker}", info_hash

    def uploaded(self, name):
        return self.handles[name].status().total_payload_upload

    def note_kill(self, downloads):
        """What was sent, and what control files claim; before the next start."""
        self.at_kill = {}
        for name in self.handles:
            control = downloads / (name + ".aria2")
            claimed = len(read_control_file(control).done) if control.exists() else None
            self.at_kill[name] = (self.uploaded(name), claimed)

    def note_start(self, name, complete):
        """Judges what the kill cost this torrent."""
        sent, claimed = self.at_kill.pop(name, (0, 0))
        if claimed is None:
            # Where all of it was sent it is finished, or `note_end` finds it fetched again.
            finished = complete or sent - self.lost[name] >= self.total
            claimed = self.total if finished else 0
        cost = max(0, sent - self.lost[name] - claimed)
        self.lost[name] += cost
        self.again.append(cost)
        if cost > max(16 * MIB, self.rate) + SEED_SLACK:
            self.late.append(f"{name}: {cost / MIB:.1f} MiB of a torrent again: {sent / MIB:.1f} "
                             f"were sent, {claimed / MIB:.1f} are claimed")

    def note_end(self):
        """What control files claimed was not fetched again."""
        for name in self.handles:
            extra = self.uploaded(name) - self.total
            if extra > self.lost[name] + 2 * SEED_SLACK:
                self.late.append(f"{name}: {extra / MIB:.1f} MiB of a torrent again, though only "
                                 f"{self.lost[name] / MIB:.1f} MiB were lost")

    def is_right(self, downloads, name):
        """Whether all of its files are there with the right bytes."""
        digest = hashlib.sha256()
        for path in self.parts:
            file = downloads / name / path
            if not file.exists():
                return False
            digest.update(file.read_bytes())
        return digest.hexdigest() == self.sha256


class Files:
    """The plain files of one world, some of them named by Metalinks."""

    def __init__(self, root, one):
        self.root, self.sample = root, one
        data = one.path.read_bytes()
        self.pieces = [hashlib.sha1(data[at:at + MIB]).hexdigest()
                       for at in range(0, len(data), MIB)]

    def add(self, name):
        (self.root / name).symlink_to(self.sample.path)

    def metalink(self, name, url):
        return metalink(name, self.sample.size, url, self.pieces, self.sample.sha256)

    def is_right(self, downloads, name):
        path = downloads / name
        return path.exists() and sha256(path) == self.sample.sha256

    @staticmethod
    def refetched(requests, starts, bound):
        """From nginx's log: bytes fetched again after each start, and what is beyond the bound."""
        by_file, again, late = {}, [], []
        for request in requests:
            if request.path.startswith("/file") and request.sent > 0:
                by_file.setdefault(request.path, []).append(request)
        for after, begin in enumerate(starts[1:], 1):
            end = starts[after + 1] if after + 1 < len(starts) else float("inf")
            total = 0
            for path, all_of_it in by_file.items():
                had = Ranges([(one.start(), one.start() + one.sent)
                              for one in all_of_it if one.began < begin])
                here = [one for one in all_of_it if begin <= one.began < end]
                cost = sum(had.overlap(one.start(), one.start() + one.sent) for one in here)
                total += cost
                if cost > bound + SOCKET_SLACK * len(here):
                    late.append(f"{path}: {cost / MIB:.1f} MiB again after kill {after}")
            again.append(total)
        return again, late
