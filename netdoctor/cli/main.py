"""The program `netdoctor`: its commands, and how every failure becomes one line and an exit status.

Knows nothing of what a command does; each is imported when it is called, so that `--version` stays instant.
"""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

from netdoctor import __version__
from netdoctor.cli.status import FAILED, INTERRUPTED, OK

# command -> module of this package and what `--help` says of it; the module is imported when it is called
COMMANDS = {
    "snapshot": "read the network state of this host, or saved tool output, into one file",
    "show": "the rulesets as they were parsed, or the network as a graph",
    "trace": "one flow, hop by hop, request and reply",
    "check": "what is wrong on this node, or in a snapshot",
    "explain": "the page of one rule of the catalogue",
    "demo": "replay a failure in throw-away namespaces: broken, found, fixed, undone",
    "fix": "repairs, each with its proof; apply, keep and undo them",
    "doctor": "what netdoctor itself needs and has here",
}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with an exit status of INTERFACE.md."""
    words = sys.argv[1:] if arguments is None else arguments
    if words == ["--version"]:
        print(f"netdoctor {__version__}")  # noqa: T201  # the fast way: nothing else is imported
        sys.exit(OK)
    gc.set_threshold(50_000)  # what a command reads lives until it ends: looking for garbage took a tenth of its time
    sys.exit(run_words(words))


def run_words(words: list[str]) -> int:
    """Run the command line and return its exit status; every expected failure has become one line."""
    import click

    from netdoctor.cli.group import netdoctor
    from netdoctor.model.errors import NetdoctorError

    try:
        status = netdoctor.main(args=words, prog_name="netdoctor", standalone_mode=False)
        sys.stdout.flush()
    except NetdoctorError as error:
        return _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return OK
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "netdoctor"
        return _fail(f"{error.format_message()} Try `{command} --help`.")
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _interrupted()
    except click.ClickException as error:
        return _fail(error.format_message())
    except BrokenPipeError:
        # The reader (`| head`) has gone: nothing more to say, and nothing to complain about when Python closes stdout.
        sys.stdout = None
        return OK
    except RecursionError:
        return _fail("this input is nested too deeply to be read; is it what its name says?")
    return status if isinstance(status, int) else OK


def _fail(message: str) -> int:
    from netdoctor.model.text import printable

    print(f"netdoctor: {printable(message)}", file=sys.stderr)  # noqa: T201
    return FAILED


def _interrupted() -> int:
    print("netdoctor: interrupted", file=sys.stderr)  # noqa: T201
    return INTERRUPTED


if __name__ == "__main__":
    main()
