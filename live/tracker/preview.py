"""The mask that a click would give on a kept step: nothing that is tracked changes."""

from __future__ import annotations

from dataclasses import dataclass

from samcam.engines import DeviceTensor, Sam2Networks
from samcam.live.frames import F32, Prompt
from samcam.live.tracker.history import PastObject, PastStep, View
from samcam.live.tracker.prompts import about_the_picture, merge_prompts
from samcam.live.tracker.step import ObjectStepper, StageClock
from samcam.live.tracker.track import ObjectTrack


@dataclass(frozen=True, slots=True, eq=False)
class _Decodable:
    """What clicks are decoded on; valid while the object before that step is the same.

    Attributes:
        pix_feat: [1, D, G, G] of it, with the object's memory where it has one.
        mask_input: (L, L) clamped logits of the tracked mask, or None.
    """

    past: PastStep
    object_id: int
    before: ObjectTrack | None
    view: View
    pix_feat: DeviceTensor
    mask_input: F32 | None


class ClickPreview:
    """Previews clicks; another one on the same picture costs one call of the decoder."""

    def __init__(self, networks: Sam2Networks, stepper: ObjectStepper) -> None:
        self._networks = networks
        self._stepper = stepper
        self._known: _Decodable | None = None

    def mask(self, past: PastStep, click: Prompt) -> tuple[F32, float]:
        """Return the mask that a click would give on a step: (L, L) logits and the predicted
        IoU."""
        stepper, clock = self._stepper, StageClock()
        mine = past.objects.get(click.object_id) or PastObject()
        prompt = merge_prompts([*about_the_picture(mine.prompts), click])
        before = mine.before
        track = ObjectTrack(click.object_id, stepper.settings) if before is None else before.fork()
        stepper.predict(past, track)
        crop = stepper.crop(track, prompt, past.size_wh)
        known = self._known
        if known is None or not (
            known.past is past
            and known.object_id == click.object_id
            and known.before is before
            and known.view.crop == crop
        ):
            stepper.learn(past, mine.prompts, track, clock)
            view = stepper.encode(past, mine, crop, clock)
            pix_feat = view.features.pix_feat_no_mem
            if track.remembers:
                pix_feat = self._networks.attend(view.features, *track.bank.view(past.step).tensors)
            mask_input = stepper.mask_input(past, view, track, pix_feat, clock)
            # the features of an attention live until its next run only
            known = self._known = _Decodable(
                past, click.object_id, before, view, pix_feat.copy(), mask_input
            )
        answer, _ = stepper.clicked(
            known.view, track, prompt, known.pix_feat, known.mask_input, clock
        )
        return stepper.on_picture(answer), answer.predicted_iou

    def forget(self) -> None:
        """Free what the last preview kept; also after memories were put into a past state."""
        self._known = None
