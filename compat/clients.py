#!/usr/bin/env python3
"""Drives clients of aria2 against the program under test.

Client libraries walk over every RPC method (clients/tour.py); aria2p also runs its own test suite;
yt-dlp and Persepolis (without its windows) fetch through it; of clients that cannot be installed
here, what they send and read is replayed (clients/browsers.py, applications.py, servers.py,
commands.py).

    compat/clients.py [PATTERN]     only checks whose name matches

What is excepted is printed with its reason behind each check. Torrents and metalinks are excepted
for as long as the program answers that it does not support them.
"""

import fnmatch
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "clients"
sys.path.insert(0, str(HERE))

import packages  # noqa: E402

packages.install()

from applications import APPLICATIONS  # noqa: E402
from aria2p_suite import aria2p_suite  # noqa: E402
from browsers import BROWSERS  # noqa: E402
from commands import COMMANDS  # noqa: E402
from lib import Server, Suite, program, scratch  # noqa: E402
from libraries import LIBRARIES  # noqa: E402
from servers import SERVERS  # noqa: E402
from tour import missing_features, tour  # noqa: E402


def main():
    pattern = sys.argv[1] if len(sys.argv) > 1 else "*"
    binary = program()
    with scratch("clients") as work, Server(binary, work) as server:
        missing = missing_features(server)
    suite = Suite("clients")
    suite.run_all(
        case
        for case in [
            ("aria2p's own tests", aria2p_suite, binary, missing),
            *((name, tour, name, binary, missing) for name in LIBRARIES),
            *BROWSERS.items(),
            *APPLICATIONS.items(),
            *SERVERS.items(),
            *COMMANDS.items(),
        ]
        if fnmatch.fnmatch(case[0], pattern)
    )
    suite.finish()


main()
