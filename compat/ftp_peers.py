"""The servers of ftp_servers.py: vsftpd, proftpd with TLS, OpenSSH, each on a free port, from
temporary configurations, and with virtual users where the server can have them.
"""

import getpass
import os
import shutil
import subprocess
from pathlib import Path

import lib
from servers import Servers, find

USER, PASSWORD = "user", "p w:d%"


class Peers(Servers):
    """Servers of FTP and SFTP, and the proxies."""

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
