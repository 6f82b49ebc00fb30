"""Saves profiles from a running program: on command, and where wanted at its end."""

from __future__ import annotations

from samcam.engines import is_model_name
from samcam.live.frames import FrameResult, Mask
from samcam.live.profiles import ProfileError, save_profile
from samcam.system.files import is_there, lenient_path


class ProfileSaver:
    """Keeps what a profile needs of the newest picture. Used by the main thread only.

    A saving takes some tens of milliseconds, for which pictures wait.
    """

    def __init__(self, source: str, model: str, preset: str, at_end: str | None = None) -> None:
        """Remember what does not change while running; `at_end`: the profile to save when the
        run is over."""
        self._options = {"source": _lasting(source), "model": _lasting(model), "preset": preset}
        self._at_end = at_end
        self._newest: tuple[FrameResult, str] | None = None
        self._fullest: tuple[FrameResult, str] | None = None

    def see(self, result: FrameResult, effect: str) -> None:
        """Remember a result that is shown, and the effect that it is shown with."""
        self._newest = (result, effect)
        if self._at_end is not None and _visible(result) >= (
            _visible(self._fullest[0]) if self._fullest else 1
        ):
            self._fullest = self._newest

    def save(self, name: str, effect: str | None = None) -> str:
        """Save a profile of the newest picture and return what to tell the user.

        `effect` is the one in force now; None: that of the newest picture.

        Raises:
            ProfileError: No object is visible, or the profile cannot be written.
        """
        newest = self._newest
        if newest is not None and effect is not None:
            newest = (newest[0], effect)
        return self._save(name, newest)

    def finish(self) -> str | None:
        """Save the profile that was asked for at the end; return what to tell the user.

        Of all pictures the newest that shows the most objects at once is taken.

        Raises:
            ProfileError: No object was ever visible, or the profile cannot be written.
        """
        return None if self._at_end is None else self._save(self._at_end, self._fullest)

    def _save(self, name: str, seen: tuple[FrameResult, str] | None) -> str:
        masks = _masks(seen[0]) if seen is not None else {}
        if seen is None or not masks:
            raise ProfileError(f"profile {name}: no object is visible; click one first")
        result, effect = seen
        options = {**self._options, "effect": effect}
        folder = save_profile(name, options, result.frame.image_bgr, masks)
        saved = ", ".join(map(str, masks))
        hidden = ", ".join(str(o.object_id) for o in result.objects if o.object_id not in masks)
        left_out = f"; not visible and left out: {hidden}" if hidden else ""
        return f"profile {name} saved in {folder}: objects {saved}{left_out}"


def _visible(result: FrameResult) -> int:
    return sum(item.visible for item in result.objects)


def _masks(result: FrameResult) -> dict[int, Mask]:
    masks: dict[int, Mask] = {}
    for item in result.objects:
        if (mask := item.mask()).any():
            masks[item.object_id] = mask
    return masks


def _lasting(text: str) -> str:
    """Return a path that is valid from everywhere; a camera or a model's name as it is."""
    path = lenient_path(text)
    word = text == "demo" or text.isdecimal() or "://" in text or is_model_name(text)
    return str(path.absolute()) if not word and is_there(path) else text
