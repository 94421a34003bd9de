"""`python -m netdoctor.lab TOPOLOGY [--backend legacy] [WHERE [COMMAND …]]`: a shell, or one command, in a topology.

Knows nothing of what is done there; everything is gone when it ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from netdoctor.lab import topology
from netdoctor.lab.lab import Lab
from netdoctor.lab.process import environment
from netdoctor.model.errors import NetdoctorError


def main() -> int:
    """Return the command's exit status; 2 where the lab could not be built."""
    parser = argparse.ArgumentParser(prog="python -m netdoctor.lab", description="a shell in a throw-away network")
    parser.add_argument("--backend", choices=("nft", "legacy"), default="nft")
    parser.add_argument("topology", help="one of: " + ", ".join(topology.names()))
    parser.add_argument("where", nargs="?", help="a host or pod; the first host without it")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run there instead of a shell")
    given = parser.parse_args()
    try:
        with Lab(given.topology, backend=given.backend) as lab:
            where = given.where or lab.places[0]
            sys.stderr.write(f"{where}; there are: {', '.join(lab.places)}\n")
            words = lab.words(where, given.command or ["sh"])
            return subprocess.run(words, check=False, env=environment()).returncode
    except NetdoctorError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
