"""The frames of a console: bytes in, frames out, however they are cut."""

from __future__ import annotations

import msgspec
import pytest

from supervisors.console.protocol import (
    MOST,
    Bye,
    Complete,
    Completions,
    Evaluate,
    Frames,
    FromClient,
    FromServer,
    Hello,
    Interrupt,
    Output,
    Ready,
    encodable,
    encode,
)

CLIENT = [Hello(1, has_colours=True, is_interactive=False), Evaluate(1, "1 + 1"), Interrupt(1), Complete(2, "tr")]
SERVER = [Output("2\n"), Ready(1, needs_more=True), Completions(2, ["tree("]), Bye("")]


def test_a_frame_is_its_length_and_a_map_in_messagepack() -> None:
    data = encode(Evaluate(1, "é"))
    assert data[:4] == b"\0\0\0" + bytes([len(data) - 4])
    assert msgspec.msgpack.decode(data[4:]) == {"type": "run", "number": 1, "source": "é"}


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(("kinds", "sent"), [(FromClient, CLIENT), (FromServer, SERVER)], ids=["client's", "server's"])
def test_frames_come_out_as_they_were_however_the_bytes_are_cut(
    size: int, kinds: object, sent: list[FromClient | FromServer]
) -> None:
    frames, data = Frames(kinds), b"".join(map(encode, sent))
    cuts = [data[start : start + size] for start in range(0, len(data), size)]
    assert [frame for cut in cuts for frame in frames.feed(cut)] == sent


def test_the_frames_of_the_other_side_are_refused() -> None:
    with pytest.raises(ValueError, match="Invalid value 'output'"):
        list(Frames(FromClient).feed(encode(Output("hello"))))


def test_a_frame_that_is_too_long_is_refused_before_it_has_come() -> None:
    with pytest.raises(ValueError, match=f"a frame may have {MOST} bytes, got {MOST + 1}"):
        list(Frames(FromClient).feed((MOST + 1).to_bytes(4, "big")))


@pytest.mark.parametrize(
    ("text", "written"), [("é\n", "é\n"), ("\ud800", "\\ud800"), ("\udcff.", "\\udcff.")], ids=ascii
)
def test_text_that_has_no_form_in_utf_8_is_escaped(text: str, written: str) -> None:
    assert encodable(text) == written
    encode(Output(encodable(text)))
