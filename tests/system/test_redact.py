"""No password reaches a message, a log or a file for others: one function hides them all."""

from __future__ import annotations

import functools
import http.server
import json
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import run_live
from samcam.live.profiles import load_profile, save_profile
from samcam.system.redact import hide_in_url, hide_secrets
from tests.conftest import RunCli
from tests.helpers.synthetic_video import VideoSpec, write_video

# The secret is in pieces, as what stands between them may be taken for the end of a password.
PIECES = ("s3", "cr3", "t-x")
FORMS = [
    "rtsp://user:s3cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3@cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3/cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3?cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3#cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3@x/cr3t-x@127.0.0.1:1/live",
    "rtsp://user:12/s3cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3@c@cr3@t-x@127.0.0.1:1/live",
    "rtsp://us:er:s3cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3%40cr3t-x@127.0.0.1:1/live",
    "rtsp://s3cr3t-x@127.0.0.1:1/live",
    "rtsp://:s3cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3cr3t-x@[::1]:1/live",
    "rtsp://[::1]:1/live?password=s3cr3t-x",
    "rtsps://user:s3 cr3t-x@127.0.0.1:1/live",
    "rtsp://user:s3'cr3t-x@127.0.0.1:1/live",
    'rtsp://user:s3"cr3t-x@127.0.0.1:1/live',
    "http://127.0.0.1:1/v.mp4?pwd=s3cr3t-x",
    "http://127.0.0.1:1/v.mp4?a=1&token=s3cr3t-x&b=2",
    "http://127.0.0.1:1/v.mp4?api_key=s3cr3t-x#t=3",
    "http://127.0.0.1:1/v.mp4?p%61ss=s3cr3t-x",
    "http://127.0.0.1:1/v.mp4?pwd=s3&cr3t-x&c=1",
    "http://127.0.0.1:1/v.mp4?pwd=s3#cr3t-x",
    "http://127.0.0.1:1/v.mp4#access_token=s3cr3t-x",
    "http://127.0.0.1:1/v?X-Amz-Credential=s3cr3t-x&X-Amz-Signature=s3cr3t-x",
    "http://127.0.0.1:1/v;jsessionid=s3cr3t-x?x=1",
    "http://127.0.0.1:1/videostream.cgi?loginuse=admin&loginpas=s3cr3t-x",
    "http://127.0.0.1:1/p?url=rtsp%3A%2F%2Fadmin%3As3cr3t-x%40cam%2Flive",
    "rtsp://127.0.0.1:1/user=admin&password=s3cr3t-x&channel=1&stream=0.sdp?",
    "rtsp://127.0.0.1:1/user=admin_password=s3cr3t-x_channel=1_stream=0.sdp",
    "srt://127.0.0.1:1?passphrase=s3cr3t-x&mode=caller",
    "user:s3cr3t-x@127.0.0.1:1/live",
    "http://127.0.0.1:1/v?hdnts=exp=1~acl=/*~hmac=s3cr3t-x",
    "http://127.0.0.1:1/v?x=exp=1~hmac=s3cr3t-x",
    "srt://127.0.0.1:1?streamid=s3cr3t-x",
    "srt://127.0.0.1:1?streamid=#!::r=live,u=me,s=s3cr3t-x&mode=caller",
    "rtsp:/user:s3cr3t-x@127.0.0.1:1/x",
    "rtsp:/user:s3/cr3t-x@127.0.0.1:1/x",
    "rtsp:user:s3/cr3t-x@127.0.0.1:1/x",
    "rtsp:///user:s3cr3t-x@127.0.0.1:1/x",
    "rtsp:\\\\user:s3cr3t-x@127.0.0.1:1/x",
    "http:/127.0.0.1:1/x?token=s3cr3t-x",
    "http://127.0.0.1:1/hls/token/s3cr3t-x/x.m3u8",
    "http://127.0.0.1:1/key/s3cr3t-x.m3u8",
    "http://127.0.0.1:1/stream_key/s3cr3t-x?x=1",
    "http://u:p\ns3cr3t-x@127.0.0.1:1/",
    "http://u:p\r\ns3 cr3t-x@127.0.0.1:1/",
    "rtsp://us er:Z s3cr3t-x@127.0.0.1:1/x",
    "rtmp://127.0.0.1:1/app/stream key=s3cr3t-x",
    "rtmp://127.0.0.1:1/app/stream live=1 key=s3cr3t-x",
    "http://127.0.0.1:1/auth/token/s3cr3t-x/x.ts",
    "http://127.0.0.1:1/v.mp4?md5=s3cr3t-x&e=1",
    "rtmp://127.0.0.1:1/app live=1 pubPasswd='s3 cr3t-x'",
    "http://127.0.0.1:1/v.mp4#s3cr3t-x",
    "http://127.0.0.1:1/v.mp4#s3cr3t-x==",
    "http://127.0.0.1:1/v.mp4#t=1&s3cr3t-x",
    "http://127.0.0.1:1/v.mp4?s3cr3t-x",
]


def leaks(text: str) -> bool:
    return any(piece in text for piece in PIECES)


@pytest.mark.parametrize("url", FORMS)
def test_twenty_forms_and_more(url: str) -> None:
    for text in (
        url,
        f"source {url!r}: cannot be opened; see http://127.0.0.1/x",
        f"[Errno 5] Input/output error: '{url}'",
        f"av.error.FFmpegError: [Errno 111] refused: {url!r}; last error log: [tcp] {url}",
    ):
        assert not leaks(hide_secrets(text)), text
        assert "***" in hide_secrets(text)
    assert not leaks(hide_in_url(url))
    assert hide_in_url(hide_in_url(url)) == hide_in_url(url)
    assert "127.0.0.1:1" in hide_in_url(url) or "::1" in url or "url=" in url


@pytest.mark.parametrize("url", FORMS)
def test_the_program_says_none_of_them(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The whole program, as far as it comes with a camera that does not answer."""
    arguments = ["--source", url, "--output", "none", "--set", f"source.fps={url}"]
    for words in (arguments, arguments[:4]):
        assert run_live.main(words) in (2, 3)
        said = capfd.readouterr()
        assert not leaks(said.out + said.err), said.err


@pytest.mark.parametrize(
    "text",
    [
        "http://host/a@b",
        "http://cam.local:8080/a@b.mp4",
        "http://[::1]:80/a?x=1&channel=2",
        "rtsp://***@host:554/live",
        "see https://obsproject.com/forum: a b",
        "12:30:45 INFO capture: source rtsp://10.0.0.5:554/live: rtsp, 640x360 at 30 fps",
        "source http://host: cannot be opened; ask me@x.org",
        "prompt: expected key=value, such as point=320,240",
        "git@github.com:a/b.git",
        "~/видео_🎥.mp4",
        "http://cam.local/live.m3u8?tcp#t=3",
        "http://cam.local/cgi?1234",
        "rtsps://cam.local:7441/AbCdEf?enableSrtp",
        "file:///media/token/a#2.mp4",
        "take#2.mp4, C:/videos/key/a.mp4, mask=m.png#2: no id 2",
        "12:30:45 INFO tcp: rtsp: 3 of 5; key=value fps=25 model=nano",
        "source rtsp://10.0.0.5/live fps=25 size=640x360: opened",
        "source http://host is slow: ask me@x.org about it",
        "http://cam.local/keyboard/a.mp4 and http://cam.local/authors/b.mp4",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert hide_secrets(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "http://" + "a" * 60_000 + "=",
        "http://h/?" + "a_" * 30_000,
        "http://h/?" + "&a" * 30_000,
        "a:" * 30_000 + "@",
        "//u:" * 15_000,
        "%3a%2f%2f" * 8_000,
        "rtsp:" * 15_000,
        "http://h " + "a " * 30_000 + ":",
        "http://h/" + "key/" * 15_000,
        "http://h/?a=" + "a~b=" * 15_000,
        "http://h a=" + " a=" * 20_000,
    ],
)
def test_a_long_text_takes_no_time(text: str) -> None:
    """Within the time that a stuck regular expression would need a thousand times over."""
    hide_secrets(text)


# --- a whole run on an address with a password ----------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="modes of Unix")
def test_only_the_profile_keeps_it_and_starts_with_it(run_cli: RunCli, tmp_path: Path) -> None:
    """Every file of a run, what it prints, and --list-profiles; then the profile's next start."""
    site = tmp_path / "site"
    site.mkdir()
    write_video(site / "a.mp4", VideoSpec(count=3))
    data = {"XDG_DATA_HOME": str(tmp_path / "data")}
    with serving(site) as port:
        keys = "hdnts=exp=1~hmac=s3cr3t-x&token=s3cr3t-x#s3cr3t-x"
        url = f"http://user:s3cr3t-x@127.0.0.1:{port}/a.mp4?{keys}"
        outputs = ("--output", "masks:m", "--output", "video:v.mp4", "--metrics", "m.jsonl")
        more = ("--record", "r", "--save-profile", "cam", "--prompt", "box=10,10,60,60")
        (tmp_path / "cwd" / "r").mkdir()
        (tmp_path / "cwd" / "r").chmod(0o755)  # the user's own folder, still empty
        first = run_cli("--source", url, *outputs, *more, env=data)
        assert first.returncode == 0, first.stderr
        assert "***@127.0.0.1" in first.stderr
        suggested = run_cli("--source", url, "--suggest", "s.json", env=data)
        listed = run_cli("--list-profiles", env=data)
        assert "source http://***@127.0.0.1" in listed.stdout
        again = run_cli("--profile", "cam", "--output", "none", env=data)
        assert again.returncode == 0, again.stderr
        assert "3 of 3 frames" in again.stdout
    for done in (first, suggested, listed, again):
        assert not leaks(done.stdout + done.stderr)
    written = [path for path in first.cwd.rglob("*") if path.is_file()]
    assert {"recording.json", "tracks.jsonl", "m.jsonl", "s.json"} <= {p.name for p in written}
    for path in written:
        assert not leaks(path.read_bytes().decode("latin-1")), path
    (profile,) = (tmp_path / "data").rglob("profile.json")
    assert json.loads(profile.read_text())["source"] == url
    for path in profile.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in (profile.parent, first.cwd / "r"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="modes of Unix")
def test_a_profile_of_an_earlier_version_is_closed(tmp_path: Path) -> None:
    """It stood there for everybody to read."""
    folder = save_profile(
        str(tmp_path / "p"),
        {"source": "rtsp://a:b@10.0.0.5/x", "model": "nano", "preset": "default", "effect": "dim"},
        np.zeros((8, 8, 3), np.uint8),
        {1: np.ones((8, 8), np.bool_)},
    )
    profile = folder / "profile.json"
    profile.chmod(0o644)
    assert load_profile(str(folder)).source == "rtsp://a:b@10.0.0.5/x"
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
