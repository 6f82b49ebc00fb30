"""Pictures: single files, moving ones, documents, folders."""

from samcam.live.sources.pictures.file import PictureError, PictureFile
from samcam.live.sources.pictures.images import open_picture, read_picture
from samcam.live.sources.pictures.kinds import is_picture
from samcam.live.sources.pictures.listing import list_pictures

__all__ = [
    "PictureError",
    "PictureFile",
    "is_picture",
    "list_pictures",
    "open_picture",
    "read_picture",
]
