"""The servers of ftp_servers.py: vsftpd, proftpd with TLS, OpenSSH, each on a free port, from
temporary configurations, and with virtual users where the server can have them.
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

USER, PASSWORD = "user", "p w:d%"


def find(*names):
    path = os.environ["PATH"] + f":/usr/sbin:/usr/local/sbin:{lib.ROOT}/target/peers/usr/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise lib.Failed(f"{names[0]} is not installed")


class Peers:
    """A folder to serve, keys and certificates, and the servers that run.

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

    # ---- FTP ------------------------------------------------------------------------------------

    def vsftpd(self, *lines, address="listen=YES\nlisten_address=127.0.0.1"):
        """Anonymous only: its other users are the system's."""
        port = lib.free_port()
        first = lib.free_port()
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        conf = self.folder / f"vsftpd-{port}.conf"
        conf.write_text("\n".join([
            address, f"listen_port={port}", "background=NO", "anonymous_enable=YES",
            "local_enable=NO", "write_enable=NO", f"anon_root={self.root}",
            f"ftp_username={getpass.getuser()}", "run_as_launching_user=YES",
            f"secure_chroot_dir={empty}", "seccomp_sandbox=NO", "xferlog_enable=YES",
            "log_ftp_protocol=YES", f"vsftpd_log_file={self.folder}/vsftpd-{port}.log",
            f"pasv_min_port={first}", f"pasv_max_port={min(first + 200, 65000)}", *lines, ""]))
        conf.chmod(0o600)
        return self.start(port, find("vsftpd"), conf)

    def vsftpd_tls_lines(self):
        """Nothing goes unencrypted, and data connections have to reuse a session."""
        return [
            "ssl_enable=YES", "allow_anon_ssl=YES", "force_anon_logins_ssl=YES",
            "force_anon_data_ssl=YES", "require_ssl_reuse=YES", "ssl_ciphers=HIGH",
            f"rsa_cert_file={self.pem}", f"rsa_private_key_file={self.key}"]

    def proftpd(self, *lines, address="127.0.0.1", port=None):
        """One virtual user; `lines` may turn TLS on (see `tls_lines`)."""
        port = port or lib.free_port()
        users = self.folder / "proftpd.users"
        if not users.exists():
            shadow = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True,
                                    capture_output=True, text=True).stdout.strip()
            users.write_text(f"{USER}:{shadow}:{os.getuid()}:{os.getgid()}::{self.root}:/bin/sh\n")
            users.chmod(0o600)
        conf = self.folder / f"proftpd-{port}.conf"
        conf.write_text("\n".join([
            "ModulePath /usr/lib/proftpd", "ServerType standalone", f"Port {port}",
            f"DefaultAddress {address}", f"PidFile {self.folder}/proftpd-{port}.pid",
            f"ScoreboardFile {self.folder}/proftpd-{port}.scores", f"User {getpass.getuser()}",
            "Group nogroup", "RequireValidShell off", "RootLogin on", "AuthOrder mod_auth_file.c",
            f"AuthUserFile {users}", "UseReverseDNS off", f"SystemLog {self.folder}/proftpd-{port}.log",
            "TransferLog none", f"ExtendedLog {self.folder}/proftpd-{port}.commands ALL", "WtmpLog off",
            "MaxInstances 60", *lines, ""]))
        return self.start(port, find("proftpd"), "-n", "-q", "-c", conf)

    def tls_lines(self, *more):
        return [
            "LoadModule mod_tls.c", "<IfModule mod_tls.c>", "TLSEngine on",
            f"TLSLog {self.folder}/proftpd-tls.log", f"TLSECCertificateFile {self.pem}",
            f"TLSECCertificateKeyFile {self.key}", "TLSProtocol TLSv1.2 TLSv1.3",
            "TLSVerifyClient off", *more, "</IfModule>"]

    # ---- SFTP -----------------------------------------------------------------------------------

    def ssh_keys(self):
        for name in ("host_ed25519", "user_ed25519"):
            path = self.folder / name
            if not path.exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return self.folder / "user_ed25519"

    def sshd(self, *lines):
        """The launching user by key. As root, a user with a password can be made beside it."""
        self.ssh_keys()
        port = lib.free_port()
        allowed = self.folder / "authorized_keys"
        shutil.copy(self.folder / "user_ed25519.pub", allowed)
        allowed.chmod(0o600)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        conf = self.folder / f"sshd-{port}.conf"
        conf.write_text("\n".join([
            f"Port {port}", "ListenAddress 127.0.0.1", "ListenAddress ::1",
            f"HostKey {self.folder}/host_ed25519", f"PidFile {self.folder}/sshd-{port}.pid",
            f"AuthorizedKeysFile {allowed}", "StrictModes no", "UsePAM no",
            "PasswordAuthentication yes", "PermitRootLogin yes", "MaxStartups 100",
            "Subsystem sftp internal-sftp", "UseDNS no", *lines, ""]))
        return self.start(port, find("sshd"), "-D", "-e", "-f", conf)

    # ---- proxies --------------------------------------------------------------------------------

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
