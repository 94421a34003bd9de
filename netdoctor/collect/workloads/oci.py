"""The parts of an OCI runtime configuration that name a container and its network namespace.

Knows nothing of which runtime keeps the file where. `process` (arguments, environment) and mounts are never decoded.
Source: opencontainers/runtime-spec config.md
"""

from __future__ import annotations

import msgspec


class _Namespace(msgspec.Struct):
    type: str = ""
    path: str | None = None


class _Linux(msgspec.Struct):
    namespaces: list[_Namespace] | None = None


class Config(msgspec.Struct):
    """The fields of config.json that netdoctor reads."""

    annotations: dict[str, str] | None = None
    linux: _Linux | None = None

    @property
    def notes(self) -> dict[str, str]:
        """The annotations."""
        return self.annotations or {}

    @property
    def netns_path(self) -> str | None:
        """The network namespace that it joins; None where it makes its own, or stays in the host's."""
        return next((space.path for space in self._spaces if space.type == "network"), None)

    @property
    def shares_host(self) -> bool:
        """Whether it stays in the network namespace of the host."""
        return all(space.type != "network" for space in self._spaces)

    @property
    def _spaces(self) -> list[_Namespace]:
        return (self.linux.namespaces if self.linux else None) or []
