"""Downloads through real servers: nginx (HTTP/1.1, HTTP/2, TLS, connection limits, signed
redirects), Apache httpd, and through real proxies: squid and dante.

A server that is not installed fails its checks; scripts/test installs them all.
"""

import hashlib
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import lib
from servers import Servers, find

SMALL = {f"s{number:03}.bin": random.Random(number).randbytes(1000 + number) for number in range(60)}
BIG = random.Random("big").randbytes(40 * lib.MIB)
OPTIONS = ["--no-conf", "--no-netrc", "--file-allocation=none", "--summary-interval=0",
           "--console-log-level=error", "--timeout=10", "--retry-wait=1", "-k1M"]


class World(Servers):
    """Servers of HTTP, with files to serve, and the proxies."""

    def __init__(self, folder):
        super().__init__(folder)
        (self.root / "big.bin").write_bytes(BIG)
        for name, data in SMALL.items():
            (self.root / name).write_bytes(data)

    def nginx(self):
        plain, tls = lib.free_port(), lib.free_port()
        conf = self.folder / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        conf.write_text(f"""
            {user} daemon off; pid nginx.pid; error_log stderr; worker_processes 1;
            events {{ worker_connections 256; }}
            http {{
              access_log {self.folder}/access.log; client_body_temp_path tmp; proxy_temp_path tmp;
              fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
              limit_conn_zone $server_port zone=few:1m;
              log_format brief '$server_protocol $status $request_uri $connection';
              server {{
                listen 127.0.0.1:{plain}; root {self.root};
                location /few/ {{ alias {self.root}/; limit_conn few 2; limit_rate 8m; }}
                location /slow/ {{ alias {self.root}/; limit_rate 4m; }}
                location /away/ {{ return 302 http://127.0.0.1:{plain}/big.bin; }}
                location /zip/ {{ alias {self.root}/; gzip on; gzip_types *; gzip_min_length 1; }}
              }}
              server {{
                listen 127.0.0.1:{tls} ssl http2; root {self.root};
                ssl_certificate {self.pem}; ssl_certificate_key {self.key};
                access_log {self.folder}/tls.log brief; keepalive_requests 20;
              }}
            }}""")
        self.start(plain, find("nginx"), "-p", self.folder, "-c", conf)
        return plain, tls

    def apache(self):
        port = lib.free_port()
        conf = self.folder / "apache.conf"
        modules = next((path for path in (Path("/usr/lib/apache2/modules"),
                        Path("/usr/lib64/httpd/modules")) if path.exists()), None)
        lib.check(modules, "no Apache modules")
        names = ("mpm_event authz_core authz_user authn_core authn_file auth_basic alias deflate "
                 "filter mime dir").split()
        loads = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names)
        password = subprocess.run(["openssl", "passwd", "-apr1", "p w:d"], check=True,
                                  capture_output=True, text=True).stdout.strip()
        (self.folder / "users").write_text(f"user:{password}\n")
        conf.write_text(f"""
            ServerRoot {self.folder}
            ServerName 127.0.0.1
            Listen 127.0.0.1:{port}
            PidFile {self.folder}/apache.pid
            ErrorLog {self.folder}/apache.log
            {loads}
            DocumentRoot {self.root}
            TypesConfig /dev/null
            Alias /private {self.root}
            <Directory {self.root}>
              Require all granted
            </Directory>
            <Location /private>
              AuthType Basic
              AuthName compat
              AuthUserFile {self.folder}/users
              Require valid-user
            </Location>""")
        return self.start(port, find("apache2", "httpd"), "-X", "-f", conf)


def download(program, *args, expect=0):
    """Runs the program; gives the folder it downloaded to."""
    folder = Path(tempfile.mkdtemp(dir=lib.WORK))
    done = subprocess.run([program.path, *OPTIONS, f"--dir={folder}", *map(str, args)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
                          check=False)
    lib.check(done.returncode == expect, f"exit {done.returncode}: {done.stdout[-600:]}")
    return folder


def same(folder, name, data):
    got = (folder / name).read_bytes()
    lib.check(hashlib.sha256(got).digest() == hashlib.sha256(data).digest(),
              f"{name}: {len(got)} bytes of {len(data)} are not the file's")
    shutil.rmtree(folder)


def many(program, *args, base):
    links = Path(tempfile.mkdtemp(dir=lib.WORK)) / "links"
    links.write_text("".join(f"{base}/{name}\n" for name in SMALL))
    folder = download(program, "-j8", f"--input-file={links}", *args)
    for name, data in SMALL.items():
        lib.check((folder / name).read_bytes() == data, f"{name} differs")
    shutil.rmtree(folder)
    shutil.rmtree(links.parent)


def main():
    lib.WORK.mkdir(parents=True, exist_ok=True)
    program, suite = lib.program(), lib.Suite("http_servers")
    world = World(Path(tempfile.mkdtemp(prefix="arioso-http-")))
    ports = {}

    def server(name, start):
        def run():
            ports[name] = start()
        suite.run(f"{name} starts", run)

    def url(name, path):
        lib.check(name in ports, f"{name} does not run")
        return f"http://127.0.0.1:{ports[name]}/{path}"

    def big(*args, address):
        same(download(program, "-x8", "-s8", "-o", "f", *args, address()), "f", BIG)

    def trust():
        return f"--ca-certificate={world.pem}"

    def nginx():
        plain, ports["tls"] = world.nginx()
        return plain

    def tls(path):
        return url("tls", path).replace("http:", "https:")

    def versions():
        """Protocols and connections nginx has seen on its TLS port since the last call."""
        log = world.folder / "tls.log"
        rows = [line.split() for line in log.read_text().splitlines()]
        log.write_text("")
        return rows

    def segments_have_connections():
        versions()
        big(trust(), address=lambda: tls("big.bin"))
        time.sleep(0.3)
        count = len({row[3] for row in versions()})
        lib.check(count >= 4, f"{count} connections for 8 segments")
        return f"{count} connections"

    def small_files_share():
        versions()
        many(program, trust(), base=tls("")[:-1])
        time.sleep(0.3)
        rows = versions()
        shared = [row for row in rows if row[0] == "HTTP/2.0"]
        lib.check(len(shared) > len(SMALL) // 2, f"{len(shared)} of {len(rows)} by HTTP/2")
        count = len({row[3] for row in shared})
        # nginx sends GOAWAY after 20 requests.
        lib.check(count <= 8, f"{count} HTTP/2 connections for {len(shared)} files")
        return f"{len(shared)} of {len(rows)} over {count}"

    def mirrors_of_two_kinds():
        same(download(program, "-x4", "-s8", "-o", "f", url("nginx", "slow/big.bin"),
                      url("apache", "big.bin")), "f", BIG)

    def few_connections():
        same(download(program, "-x8", "-s8", "-o", "f", "--max-tries=3",
                      url("nginx", "few/big.bin")), "f", BIG)
        log = (world.folder / "access.log").read_text().splitlines()
        asked = sum("/few/" in line for line in log)
        lib.check(asked < 60, f"{asked} requests to a server that bears two connections")
        return f"{asked} requests"

    def private(user, code):
        address = url("apache", "private/s001.bin")
        folder = download(program, f"--http-user={user}", "--http-passwd=p w:d", address,
                          expect=code)
        if code == 0:
            same(folder, "s001.bin", SMALL["s001.bin"])

    def proxied(log, *args, address, saw="127.0.0.1"):
        path = world.folder / log
        before = len(path.read_text()) if path.exists() else 0
        same(download(program, "-x4", "-s4", "-o", "f", *args, address()), "f", BIG)
        # squid notes a tunnel when it ends.
        for _ in range(100):
            if saw in path.read_text()[before:]:
                return
            time.sleep(0.1)
        raise lib.Failed(f"{log} saw nothing of {saw}")

    def proxy(name, scheme="http"):
        return f"--all-proxy={scheme}://127.0.0.1:{ports.get(name, 1)}"

    try:
        server("nginx", nginx)
        server("apache", world.apache)
        server("squid", world.squid)
        server("dante", world.dante)
        cases = [
            ("nginx, 8 segments", lambda: big(address=lambda: url("nginx", "big.bin"))),
            ("nginx, redirect", lambda: big(address=lambda: url("nginx", "away/x"))),
            ("nginx, compressed on the way",
             lambda: big("--http-accept-gzip", address=lambda: url("nginx", "zip/big.bin"))),
            ("nginx, two connections allowed", few_connections),
            ("nginx, TLS and HTTP/2 offered, segments apart", segments_have_connections),
            ("nginx, HTTP/2, 60 small files share", small_files_share),
            ("nginx, TLS not trusted", lambda: shutil.rmtree(
                download(program, tls("s001.bin"), expect=1))),
            ("apache, 8 segments", lambda: big(address=lambda: url("apache", "big.bin"))),
            ("apache, 60 small files", lambda: many(program, base=url("apache", "")[:-1])),
            ("apache, login", lambda: private("user", 0)),
            ("apache, wrong login", lambda: private("nobody", 24)),
            ("nginx and apache as mirrors", mirrors_of_two_kinds),
            ("squid, http", lambda: proxied("squid/access.log", proxy("squid"),
                                            address=lambda: url("nginx", "big.bin"))),
            ("squid, tunnel for http", lambda: proxied(
                "squid/access.log", proxy("squid"), "--proxy-method=tunnel",
                address=lambda: url("nginx", "big.bin"), saw="CONNECT")),
            ("squid, tunnel for https", lambda: proxied(
                "squid/access.log", proxy("squid"), trust(), address=lambda: tls("big.bin"))),
            ("dante, socks5", lambda: proxied("dante.log", proxy("dante", "socks5"),
                                              address=lambda: url("nginx", "big.bin"))),
            ("dante, socks5h and TLS", lambda: proxied(
                "dante.log", proxy("dante", "socks5h"), trust(),
                address=lambda: tls("big.bin").replace("127.0.0.1", "localhost"))),
        ]
        for name, run in cases:
            suite.run(name, run)
    finally:
        world.stop()
        shutil.rmtree(world.folder, ignore_errors=True)
    suite.finish()


main()
