"""Video files and streams: decoding, times, colours, sound."""

from samcam.live.sources.video.decoding import Decoder, open_file
from samcam.live.sources.video.displayed import DisplayedPictures, letterboxed
from samcam.live.sources.video.file import VideoFile
from samcam.live.sources.video.open_errors import describe
from samcam.live.sources.video.sound import SoundPacket, SoundTrack

__all__ = [
    "Decoder",
    "DisplayedPictures",
    "SoundPacket",
    "SoundTrack",
    "VideoFile",
    "describe",
    "letterboxed",
    "open_file",
]
