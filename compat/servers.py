"""Real servers for the compat scripts, each on a free port, from temporary configurations: what
those of HTTP and of FTP have in common, and the proxies squid and dante.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import lib


def find(*names):
    path = os.environ["PATH"] + f":/usr/sbin:/usr/local/sbin:{lib.ROOT}/target/peers/usr/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise lib.Failed(f"{names[0]} is not installed")


class Servers:
    """A folder to serve, a key and a certificate, and the servers that run.

    Servers that give up root serve the folder as another user, so it is open to all.
    """

    def __init__(self, folder):
        self.folder = folder
        folder.chmod(0o755)
        self.root = folder / "files"
        self.root.mkdir()
        self.processes = []
        self.key, self.pem = folder / "key.pem", folder / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-keyout", self.key, "-out", self.pem, "-subj",
             "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost",
             "-addext", "basicConstraints=critical,CA:FALSE"],
            check=True, capture_output=True)

    def start(self, port, *command, env=None):
        log = open(self.folder / f"server-{port}.log", "wb")
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, cwd=self.folder, env=env,
                                   start_new_session=True)
        self.processes.append(process)
        for _ in range(150):
            for address in ("127.0.0.1", "::1"):
                with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
                    return port
            if process.poll() is not None:
                break
            time.sleep(0.1)
        raise lib.Failed(f"{command[0]} did not start: {Path(log.name).read_text()[-800:]}")

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def squid(self):
        port, user = lib.free_port(), getpass.getuser()
        logs = self.folder / "squid"
        logs.mkdir()
        if os.getuid() == 0:
            # It refuses to stay root; Debian's package makes this user.
            user = "proxy"
            shutil.chown(logs, user)
        conf = self.folder / "squid.conf"
        conf.write_text(f"""
            http_port 127.0.0.1:{port}
            acl CONNECT method CONNECT
            http_access allow localhost
            http_access deny all
            cache deny all
            ftp_passive on
            pid_filename {logs}/squid.pid
            access_log stdio:{logs}/access.log
            cache_log {logs}/cache.log
            coredump_dir {logs}
            cache_effective_user {user}
            shutdown_lifetime 1 seconds
            """)
        return self.start(port, find("squid"), "-N", "-n", f"arioso{port}", "-f", conf)

    def dante(self):
        port, user = lib.free_port(), getpass.getuser()
        conf = self.folder / "danted.conf"
        conf.write_text(f"""
            logoutput: {self.folder}/dante.log
            internal: 127.0.0.1 port = {port}
            external: lo
            clientmethod: none
            socksmethod: none
            user.privileged: {user}
            user.unprivileged: {user}
            client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
            socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 log: connect error }}
            """)
        return self.start(port, find("danted", "sockd"), "-f", conf)
