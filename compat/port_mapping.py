#!/usr/bin/env python3
"""--bt-port-mapping behind a real router: miniupnpd on nftables, in network namespaces. It speaks
UPnP and PCP; what only knows NAT-PMP is played by a few lines.

  outside (44.55.66.9) --- 44.55.66.1 router 10.99.0.1 --- 10.99.0.2 inside: the program

A torrent is given by the program; whether a mapping works is asked by a peer outside, who says
hello to the router's address. Needs root, network namespaces and nftables: a kernel without them
has no router to ask, and that is said.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import lib
import peers

WAN, OUTSIDE, LAN, INSIDE = "44.55.66.1", "44.55.66.9", "10.99.0.1", "10.99.0.2"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
# What miniupnpd expects to find: it fills the chains.
TABLE = """
table inet filter {
  chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
"""
# From outside: the info hash of who answers at that port.
HELLO = """
import socket, sys
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
peer.settimeout(5)
peer.sendall(b"\\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(sys.argv[3]) + b"-XX0001-" + bytes(12))
print(peer.recv(68, socket.MSG_WAITALL)[28:48].hex())
"""

# A router of the old kind (RFC 6886): says so when it is spoken to by PCP.
NAT_PMP = """
import socket, struct, subprocess
router = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
router.bind(("%s", 5351))
chain = ["inet", "filter", "prerouting_miniupnpd"]
while True:
    ask, client = router.recvfrom(1100)
    if ask[0]:
        router.sendto(struct.pack(">BBHI", 0, 128 | ask[1], 1, 9), client)
        continue
    port, wanted, seconds = struct.unpack(">HHI", ask[4:12])
    protocol = {1: "udp", 2: "tcp"}[ask[1]]
    rule = ["iif", "wan", protocol, "dport", str(port), "dnat", "ip", "to", f"{client[0]}:{port}"]
    words = ["add", "rule", *chain, *rule] if seconds else ["flush", "chain", *chain]
    subprocess.run(["nft", *words], check=True)
    router.sendto(struct.pack(">BBHIHHI", 0, 128 | ask[1], 0, 9, port, port, seconds), client)
""" % LAN


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          env=os.environ | {"PATH": PATH}, check=False, **more)


def must(*command, **more):
    done = run(*command, **more)
    lib.check(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """Three namespaces, one behind the other."""

    def __init__(self, number):
        self.outside, self.router, self.inside = (
            f"arioso-{os.getpid()}-{number}{end}" for end in "ori")
        self.names = (self.outside, self.router, self.inside)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.callback(self.remove)
            for name in self.names:
                must("ip", "netns", "add", name)
                self.within(name, "ip", "link", "set", "lo", "up")
            self.cable(self.outside, OUTSIDE, "wan", WAN)
            self.cable(self.inside, INSIDE, "lan", LAN)
            self.within(self.inside, "ip", "route", "add", "default", "via", LAN)
            self.within(self.router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
            self.within(self.router, "nft", "-f", "-", input=TABLE)
            stack.pop_all()
        return self

    def cable(self, end, address, device, other):
        must("ip", "link", "add", device, "netns", self.router, "type", "veth",
             "peer", "name", "eth0", "netns", end)
        for name, of, ip in ((end, "eth0", address), (self.router, device, other)):
            self.within(name, "ip", "addr", "add", f"{ip}/24", "dev", of)
            self.within(name, "ip", "link", "set", of, "up")

    @staticmethod
    def within(name, *command, **more):
        return must("ip", "netns", "exec", name, *command, **more)

    def mapped(self):
        """What the router lets in: (protocol, port)."""
        rules = self.within(self.router, "nft", "list", "chain", "inet", "filter",
                            "prerouting_miniupnpd")
        # nft knows no name for what miniupnpd matches the IP protocol by.
        found = re.findall(r"(0x6 th|0x11 th|tcp|udp) dport (\d+) dnat ip to (\S+):", rules)
        lib.check(all(to == INSIDE for _, _, to in found), f"mapped {rules}")
        names = {"0x6 th": "tcp", "0x11 th": "udp"}
        return sorted((names.get(name, name), int(port)) for name, port, _ in found)

    def answers(self, *ports):
        """Whether the router has a UDP socket at one of these ports."""
        table = self.within(self.router, "cat", "/proc/net/udp")
        return any(f":{port:04X} " in table for port in ports)

    def hello(self, port, info_hash):
        """Whether the torrent answers a peer outside."""
        done = run("ip", "netns", "exec", self.outside, sys.executable, "-c", HELLO, WAN, port,
                   info_hash)
        return done.stdout.strip() == info_hash

    def remove(self):
        for name in self.names:
            run("ip", "netns", "del", name)

    def __exit__(self, *_):
        self.remove()


class Process:
    """A program in a namespace."""

    def __init__(self, namespace, log, *command):
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", namespace, *map(str, command)], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
                env=lib.quiet_environment(log.parent) | {"PATH": PATH})

    def runs(self):
        status = self.process.poll()
        lib.check(status is None, f"ended with {status}")
        return True

    def tail(self):
        return self.log.read_text(errors="replace")[-1500:]

    def end(self, sign=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)


def miniupnpd(network, folder, *settings):
    conf = folder / "miniupnpd.conf"
    conf.write_text("\n".join([
        "ext_ifname=wan", f"ext_ip={WAN}",
        "listening_ip=lan", "http_port=0", "secure_mode=yes", "system_uptime=yes",
        "uuid=00000000-0000-0000-0000-000000000001", "upnp_table_name=filter",
        "upnp_nat_table_name=filter", "upnp_forward_chain=miniupnpd",
        "upnp_nat_chain=prerouting_miniupnpd",
        "upnp_nat_postrouting_chain=postrouting_miniupnpd", "force_igd_desc_v1=no",
        "lease_file=" + str(folder / "leases"),
        *settings, f"allow 1024-65535 {INSIDE}/32 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535", ""]))
    return Process(network.router, folder / "router.txt", shutil.which("miniupnpd", path=PATH), "-d",
                   "-f", conf, "-P", folder / "pid")


def nat_pmp(network, folder):
    return Process(network.router, folder / "router.txt", sys.executable, "-c", NAT_PMP)


def mapped_and_taken_back(number, begin, *settings, outlives=0):
    """Both doors are opened, a peer outside comes through, both are shut in the end.

    outlives: seconds after which they are still open.
    """
    with lib.scratch("port-mapping") as folder, Network(number) as network, \
            begin(network, folder, *settings) as router:
        lib.wait_for("the router", lambda: router.runs() and network.answers(1900, 5351), 40)
        what = peers.torrent(folder, "one.bin", peers.noise("mapped", 100_000))
        what.store(folder)
        port = lib.free_port()
        with Process(network.inside, folder / "ours.txt", lib.program().path, *peers.QUIET,
                     "--bt-port-mapping=true", "--console-log-level=info",
                     "--show-console-readout=false", "--seed-ratio=0.0",
                     "--check-integrity=true", f"--listen-port={port}", f"--dir={folder}",
                     what.path) as ours:
            doors = [("tcp", port), ("udp", port)]

            def let_in():
                lib.wait_for("the mappings",
                             lambda: router.runs() and network.mapped() == doors, 40, 0.2)
                lib.wait_for("a peer from outside",
                             lambda: network.hello(port, what.hash), 40, 0.2)

            try:
                let_in()
                if outlives:
                    time.sleep(outlives)
                    let_in()
            except lib.Failed as error:
                raise lib.Failed(f"{error}; mapped: {network.mapped()}; router: {router.tail()}; "
                                 f"ours: {ours.tail()}") from None
            ours.end()
            lib.check(network.mapped() == [], f"left: {network.mapped()}; {router.tail()}")


def main():
    suite = lib.Suite("port_mapping")
    try:
        with Network(0):
            pass
    except lib.Failed as error:
        print(f"NOT RUN: this machine can have no router: {error}", flush=True)
        suite.finish()
    kept = functools.partial(mapped_and_taken_back, outlives=12)
    cases = [
        ("UPnP", mapped_and_taken_back, 1, miniupnpd, "enable_natpmp=no", "enable_upnp=yes"),
        ("PCP", mapped_and_taken_back, 2, miniupnpd, "enable_natpmp=yes", "enable_upnp=no"),
        ("PCP that grants 8 seconds", kept, 3, miniupnpd, "enable_natpmp=yes", "enable_upnp=no",
         "min_lifetime=5", "max_lifetime=8"),
        ("NAT-PMP", mapped_and_taken_back, 4, nat_pmp),
    ]
    suite.run_all(cases, workers=4)
    suite.finish()


main()
