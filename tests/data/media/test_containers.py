"""A media path is a file: no name and no content reaches a network or another file."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from elman.data.media import containers
from elman.data.media.audio import read_sound
from elman.data.media.video import read_frames
from elman.errors import DataError

RATE = 8000
TONE = (0.5 * np.sin(np.arange(2000) / 9)).astype(np.float32)
FRAMES = np.random.default_rng(1).integers(0, 256, (3, 16, 24, 3)).astype(np.uint8)
Requests = tuple[int, list[bytes]]


@pytest.fixture
def requests() -> Iterator[Requests]:
    """A local port, and what was asked there."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                asked.append(connection.recv(99))
                connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture
def film(tmp_path: Path, write_video: Callable[..., Path]) -> Path:
    return write_video(tmp_path / "film.mkv", FRAMES, TONE, rate=RATE)


@pytest.mark.parametrize("scheme", ["http", "tcp", "ftp"])
def test_a_folder_named_as_a_protocol_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, film: Path, requests: Requests, scheme: str
) -> None:
    port, asked = requests
    monkeypatch.chdir(tmp_path)
    decoy = Path(f"{scheme}:/127.0.0.1:{port}/film.mkv")
    decoy.parent.mkdir(parents=True)
    decoy.write_bytes(film.read_bytes())
    assert len(read_frames(f"{scheme}://127.0.0.1:{port}/film.mkv")) == len(FRAMES)
    assert len(read_sound(decoy).samples) == len(TONE)
    assert asked == []


@pytest.mark.parametrize("name", ["con:cat.mkv", "file:film.mkv", "data:film.mkv", "pipe:0.mkv", "-.mkv", "%03d.mkv"])
def test_any_name_is_that_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, film: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    film.rename(name)
    np.testing.assert_array_equal(read_frames(name, colour=True), FRAMES)
    np.testing.assert_allclose(read_sound(name).samples, TONE, atol=1e-4)


def test_a_name_of_bytes_that_are_no_text(tmp_path: Path, film: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mkv"))
    film.rename(path)
    assert len(read_frames(path)) == len(FRAMES)
    soundfile.write(tmp_path / "tone.wav", TONE, RATE)
    wave = (tmp_path / "tone.wav").rename(path.with_suffix(".wav"))
    assert len(read_sound(wave).samples) == len(TONE)


def test_a_decoy_hides_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, film: Path) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    secret.mkdir()
    film.rename(secret / "film.mkv")
    decoy = Path(f"concat:{secret}/film.mkv")
    decoy.parent.mkdir(parents=True)
    soundfile.write(decoy, TONE[:500], RATE, format="WAV")
    assert len(read_sound(decoy).samples) == 500


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile film.mkv\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="x">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>{url}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "pls": "[playlist]\nFile1={url}\nNumberOfEntries=1\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("target", ["http", "file"])
def test_no_playlist_is_followed(tmp_path: Path, film: Path, requests: Requests, kind: str, target: str) -> None:
    port, asked = requests
    url = f"http://127.0.0.1:{port}/film.mkv" if target == "http" else str(film)
    path = tmp_path / "list.mp4"
    path.write_text(PLAYLISTS[kind].format(url=url, port=port))
    for read in (read_frames, read_sound):
        with pytest.raises(DataError, match=r"list\.mp4 cannot be read as a video"):
            read(path)
    assert asked == []


def test_standard_input_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("tone.wav", TONE, RATE)
    Path("tone.wav").rename("-")  # libsndfile's name of standard input
    assert len(read_sound("-").samples) == len(TONE)


def test_samples_without_a_header_are_no_sound(tmp_path: Path) -> None:
    for suffix in (".vox", ".gsm", ".raw", ".sd2"):  # formats that libsndfile takes from the name alone
        path = tmp_path / f"tone{suffix}"
        path.write_bytes(TONE.tobytes())
        with pytest.raises(DataError, match=r"cannot be read as a sound"):
            read_sound(path)


def test_an_unusual_format_is_refused_by_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.voc", TONE, RATE, format="VOC")
    with pytest.raises(DataError, match=r"tone\.voc has an unsupported format\n.*WAV.*\n.*VOC.*\n.*save it as \.wav"):
        read_sound(tmp_path / "tone.voc")


def test_frames_that_are_too_large_are_refused_before_they_take_memory(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "MOST_PIXELS", 16 * 24)
    assert len(read_frames(film)) == len(FRAMES)
    monkeypatch.setattr(containers, "MOST_PIXELS", 16 * 24 - 1)
    with pytest.raises(DataError, match=r"film\.mkv has too large frames\n.*at most 383 pixels\n.*24 x 16\n.*scale"):
        read_frames(film)
