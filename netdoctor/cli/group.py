"""The click group: names every command, imports the one that is called.

Knows nothing of options; those are in the commands' own modules.
"""

from __future__ import annotations

from importlib import import_module

import click

from netdoctor import __version__
from netdoctor.cli.main import COMMANDS

EPILOG = (
    "Exit status: 0 nothing found, or done; 1 findings, or a flow that does not connect; 2 the command could not do its"
    " work; 3 with --strict: something could not be judged; 5 a change was taken back; 130 interrupted."
)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every command, in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"netdoctor.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={
        "auto_envvar_prefix": "NETDOCTOR",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    },
)
@click.version_option(__version__, prog_name="netdoctor", message="%(prog)s %(version)s")
def netdoctor() -> None:
    """Find out why a packet does not arrive on this container host, and repair it with proof.

    Nothing is changed but by `fix --apply` and `fix --undo`.
    """
