"""What a server that is killed must still know: every answered RPC call is a fact.

After each kill the server is started on the same state and everything is compared. What was
answered less than a second (and the time of the answer's way) before the kill may be forgotten;
nothing else.
"""

import http.client
import time
from pathlib import Path

from lib import RpcError

# Answered this long before a kill, a call counts: a second, and what the machine's load may add.
SURE = 1.4
# A finished file may take this long to reach a disk that four servers write to.
SYNC = 10


class Entry:
    """What is known of one GID: wishes with the time of their answer, newest last."""

    def __init__(self, at, wish, options, real=None, kind="http", info_hash=None):
        self.facts = [(at, wish, dict(options))]
        self.real = real  # name of the file, if it is a download that can end
        self.kind = kind
        self.info_hash = info_hash
        self.result = None  # what tellStopped showed of it
        self.leads_to = None  # GID of the torrent of a magnet link
        self.fresh = False  # it came to be after the last start

    def say(self, at, wish=None, **options):
        _, old, before = self.facts[-1]
        self.facts.append((at, wish or old, before | options))

    def allowed(self, killed):
        """Facts that may hold after the kill; None: it may be unknown."""
        sure = [fact for fact in self.facts if fact[0] <= killed - SURE]
        rest = [fact for fact in self.facts if fact[0] > killed - SURE]
        return (sure[-1:] or [None]) + rest

    def settle(self, wish, options):
        self.facts = [(self.facts[0][0] if self.fresh else 0.0, wish, options)]
        self.fresh = False


class Ledger:
    """The entries of one server, and what was found to be lost."""

    def __init__(self, chance, swarms):
        self.random, self.swarms = chance, swarms
        self.entries, self.forgotten = {}, set()
        # Names of downloads whose GID is in an answer that did not come.
        self.unborn = {}
        self.lost = []
        self.moves, self.orders = [], []

    # ---- what was said and seen ---------------------------------------------------------------

    def say(self, entry, call, wish=None, **options):
        """Writes a change down, first as one that nobody has confirmed."""
        before = list(entry.facts)
        entry.say(float("inf"), wish, **options)
        try:
            call()
        except RpcError:
            entry.facts = before
            raise
        _, wish, options = entry.facts[-1]
        entry.facts[-1] = (time.monotonic(), wish, options)

    def look(self, server):
        """Notes results and the order of the queue."""
        at = time.monotonic()
        waiting = [row["gid"] for row in server.call("aria2.tellWaiting", 0, 5000, ["gid"])]
        self.orders.append((at, waiting))
        for row in self.stopped(server):
            entry = self.entries.get(row["gid"])
            if entry and entry.result is None:
                entry.result = (time.monotonic(), row)

    @staticmethod
    def stopped(server, **query):
        """Results, those in the history with them."""
        keys = ["gid", "status", "errorCode", "errorMessage", "totalLength", "completedLength", "infoHash",
                "followedBy", "following", "files"]
        rows = server.call("aria2.searchDownloadResult", query, 0, 5000, keys)
        for row in rows:
            row["files"] = [file["path"] for file in row["files"]]
        return rows

    def about(self, server, gid):
        """A download or a result, wherever it is."""
        try:
            row = server.status(gid, "gid", "status", "infoHash", "followedBy", "following", "files")
            row["files"] = [file["path"] for file in row["files"]]
            return row
        except RpcError:
            return next(iter(self.stopped(server, gidPrefix=gid)), None)

    # ---- after a restart ----------------------------------------------------------------------

    def compare(self, server, killed):
        """Compares everything with the ledger; False if the server died meanwhile."""
        try:
            keys = ["gid", "status", "infoHash"]
            listed = server.call("aria2.tellActive", keys)
            waiting = server.call("aria2.tellWaiting", 0, 5000, keys)
            stopped = self.stopped(server)
            listed += self.between(server, listed + waiting + stopped)
            self.adopt(server, listed + waiting + stopped)
            touched = [gid for gid, entry in self.entries.items()
                       if len(entry.facts) > 1 and not entry.real]
            sampled = set(self.random.sample(list(self.entries), 12)) | set(touched)
            present = {row["gid"] for row in listed + waiting}
            options = {gid: server.call("aria2.getOption", gid) for gid in sampled & present}
        except (OSError, http.client.HTTPException, ValueError):
            return False
        except RpcError:
            return self.compare(server, killed)  # one ended between two calls
        states = {row["gid"]: row["status"] for row in listed + waiting + stopped}
        why = {row["gid"]: row.get("errorMessage") for row in stopped}
        self.compare_states(states, why, killed)
        self.compare_content(listed + waiting + stopped)
        self.compare_results(stopped, states, killed)
        self.compare_options(options, killed)
        self.compare_order([row["gid"] for row in waiting], killed)
        for gid, entry in list(self.entries.items()):
            self.settle(gid, entry, states.get(gid), options.get(gid))
        self.orders, self.moves = [(0.0, [row["gid"] for row in waiting])], []
        return True

    def between(self, server, rows):
        """What changed its list between the calls that gave the rows."""
        missing = self.entries.keys() - {row["gid"] for row in rows}
        found = []
        for gid in missing:
            if row := self.about(server, gid):
                found.append(row)
        return found

    def adopt(self, server, rows):
        """Makes entries of what is there rightly, though no answer has told its GID."""
        found = {row["gid"] for row in rows}
        # It may have come between the calls that gave the rows.
        found |= {gid for row in rows for gid in row.get("followedBy", [])}
        for gid in found - self.entries.keys():
            row = self.about(server, gid)
            if row is None:
                self.lost.append(f"{gid} is named and not there")
                continue
            parent = self.entries.get(row.get("following"))
            name = Path(row["files"][0]).name
            if parent and parent.kind == "magnet":
                if parent.leads_to in self.entries and parent.leads_to in found:
                    self.lost.append(f"{row['following']} led to {parent.leads_to} and {gid}")
                parent.leads_to = gid
                # It may be so new that the next kill undoes it.
                self.entries[gid] = Entry(time.monotonic(), "live", {}, parent.real, "torrent",
                                          parent.info_hash)
                self.entries[gid].fresh = True
            elif name in self.unborn:
                options = self.unborn.pop(name)
                self.entries[gid] = Entry(0.0, "live", options, name, "metalink")
            else:
                self.lost.append(f"{gid} came from nowhere: {row}")

    def compare_content(self, rows):
        """What torrents and links stand for, and what links have led to."""
        for row in rows:
            entry = self.entries.get(row["gid"])
            if entry and entry.info_hash != row.get("infoHash"):
                self.lost.append(f"info hash of {row['gid']} is {row.get('infoHash')}")
            if entry and entry.kind == "magnet" and row["status"] == "complete":
                if entry.leads_to is None or row.get("followedBy") != [entry.leads_to]:
                    self.lost.append(f"{row['gid']} has led to {row.get('followedBy')}, not to "
                                     f"{entry.leads_to}")

    def compare_states(self, states, why, killed):
        for gid, entry in self.entries.items():
            wishes = {fact and fact[1] for fact in entry.allowed(killed)}
            state = states.get(gid)
            if state in ("complete", "error"):
                # Whether rightly so is seen from the result and the file.
                fits = entry.real or "live" in wishes
            elif state is None or state == "removed":
                fits = None in wishes or "gone" in wishes
            else:
                fits = ("paused" if state == "paused" else "live") in wishes
            if not fits:
                told = [round(killed - at, 1) for at, _, _ in entry.facts]
                self.lost.append(f"{gid} is {state}, but was {wishes} ({entry.kind} {entry.real}), "
                                 f"said {told} s before: {why.get(gid)}")

    def compare_results(self, stopped, states, killed):
        rows = {row["gid"]: row for row in stopped}
        for gid, entry in self.entries.items():
            if entry.result is None:
                continue
            at, row = entry.result
            # The store says complete once the file is synced. A file that was finished before
            # the kill is found finished then, without a fetch.
            again = entry.real and at > killed - SYNC and gid in states
            if gid not in rows and at <= killed - SURE and not again:
                self.lost.append(f"result {gid} is gone ({states.get(gid)})")
            elif gid in rows and rows[gid] != row:
                # What was told in the last second may have been done once more.
                if at <= killed - SURE:
                    self.lost.append(f"result {gid} was {row}, is {rows[gid]}")
                entry.result = (at, rows[gid])

    def compare_options(self, options, killed):
        for gid, own in options.items():
            facts = [fact for fact in self.entries[gid].allowed(killed) if fact]
            if not any(all(own.get(name) == value for name, value in wanted.items())
                       for _, _, wanted in facts):
                self.lost.append(f"options of {gid}: {facts[-1][2]} expected")

    def compare_order(self, now, killed):
        sure = [(at, order) for at, order in self.orders if at <= killed - SURE]
        if not sure:
            return
        at, order = sure[-1]
        moved = {gid for when, gid in self.moves if when >= at - 0.1}
        # What was started since comes back at the front. It waits there where one of those that ran
        # with it had ended, which the store is told only when the file is on the disk.
        moved |= {gid for gid, entry in self.entries.items() if entry.real
                  and any(fact and fact[1] == "live" for fact in entry.allowed(killed))}
        present, known = set(now), set(order)
        before = [gid for gid in order if gid in present and gid not in moved]
        after = [gid for gid in now if gid in known and gid not in moved]
        for place, (old, new) in enumerate(zip(before, after)):
            if old != new:
                real = new in self.entries and self.entries[new].real
                self.lost.append(f"order differs from place {place} of {len(before)}: {new} is "
                                 f"there ({real}), {old} was")
                break

    def settle(self, gid, entry, state, options):
        if entry.kind == "torrent" and entry.real:
            self.swarms.note_start(entry.real, state == "complete")
        if state is None or state == "removed":
            self.forgotten.add(self.entries.pop(gid).real)
            return
        wanted = entry.facts[-1][2]
        if options is not None:
            wanted = {name: options.get(name) for name in wanted}
        elif len(entry.facts) > 1 and entry.real is None and state not in ("complete", "error"):
            wanted = {}
        if state not in ("complete", "error"):
            entry.result = None
        entry.settle("paused" if state == "paused" else "live", wanted)

