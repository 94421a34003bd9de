"""What ss prints of sockets, as they are read."""

from __future__ import annotations

import pytest

from netdoctor.collect import sockets

LINE = 'tcp   LISTEN 0      128          0.0.0.0:3128      0.0.0.0:*    users:(("squid",pid=7,fd=3)) ino:41 sk:1'


@pytest.mark.parametrize(
    ("options", "transparent"),
    [
        ("", None),
        (" inet-sockopt: ( defer_connect)", False),
        (" inet-sockopt: ( recverr is_icsk freebind transparent mc_loop bind_address_no_port)", True),
    ],
)
def test_a_socket_is_transparent_where_ss_says_so_and_unknown_where_it_says_nothing(options, transparent):
    (socket,) = sockets.parse(LINE + options, {})
    assert (socket.port, socket.transparent, socket.program) == (3128, transparent, "squid")
