"""Text from strangers made safe to print."""

import json

import msgspec
import pytest

from netdoctor.model.text import printable, safe_json

HOSTILE = "\x1b[2J\x9b31m\x07\r\n\u202ecod\u2066.exe\x7f\u2028"


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x200F, 0x2028])
def test_nothing_that_steers_a_terminal_gets_through(code):
    assert chr(code) not in printable(f"a{chr(code)}b")


def test_what_people_write_stays_as_it_is():
    assert printable("Müller's café 日本 € → x") == "Müller's café 日本 € → x"


def test_json_with_hostile_strings_is_plain_and_still_the_same_value():
    document = safe_json(msgspec.json.encode({"name": HOSTILE}))
    assert document == printable(document)
    assert json.loads(document) == {"name": HOSTILE}
