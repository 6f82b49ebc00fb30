"""Three tiers under XMem's names: what its settings mean for a bank that SAM 2 attends to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from samcam.memory.anchors import MAX_ANCHORS, Anchoring
from samcam.memory.selection import (
    MAX_CONDITIONING,
    MAX_RECENT,
    MAX_WORKING,
    BankPolicy,
    KeepPrevious,
)
from samcam.system import Checked, Setting


@dataclass(frozen=True, slots=True)
class LongTermMemory(Checked):
    """Sensory, working and long-term memory (XMem, arXiv 2207.07115; eval.py:50-58 @f3b841d).

    Differs: XMem stores tokens of pixels and reads the best of them; SAM 2 attends to whole
    frames, at most 4 lasting and 6 recent ones, so an element is a frame here, and what XMem makes
    of many frames by prototypes is done by choosing frames. XMem's bounds of the working memory
    count its first frame, which always stays; here that is a prompted one and counts apart. When
    the long-term memory is full, XMem drops what was read least; here the most redundant goes.
    """

    enable_long_term: Annotated[
        bool, Setting("Keep anchors: good, different frames from any time.")
    ] = True
    enable_short_term: Annotated[
        bool,
        Setting("The previous frame counts even if its mask is too unsure to be remembered."),
    ] = True
    min_mid_term_frames: Annotated[
        int,
        Setting(
            "Recent memories that stay when the others go to the anchors; at most "
            "max_mid_term_frames.",
            "memories",
            1,
            MAX_WORKING,
        ),
    ] = 5
    max_mid_term_frames: Annotated[
        int,
        Setting(
            "Recent memories kept before the oldest go to the anchors; SAM 2 attends to the "
            f"newest {MAX_RECENT}. Counts without anchors too.",
            "memories",
            1,
            MAX_WORKING,
        ),
    ] = 10
    max_long_term_elements: Annotated[
        int,
        Setting(
            "Anchors kept; when there are more, the most redundant one goes. A memory each.",
            "memories",
            1,
            MAX_ANCHORS,
        ),
    ] = 16
    mem_every: Annotated[
        int,
        Setting("Steps between two recent memories; the newest always counts.", "steps", 1, 10_000),
    ] = 5
    top_k: Annotated[
        int,
        Setting(
            "Anchors attended to, those most like the object's newest sure look; fewer where "
            f"prompts take their places, {MAX_CONDITIONING} in all; at most "
            "max_long_term_elements.",
            "memories",
            1,
            MAX_CONDITIONING - 1,
        ),
    ] = MAX_CONDITIONING - 1

    def ascending(self) -> Sequence[Sequence[str]]:
        """Return the keys in their order; what counts anchors has one where there are any."""
        working = ("min_mid_term_frames", "max_mid_term_frames")
        anchors = ("top_k", "max_long_term_elements")
        return (working, anchors) if self.enable_long_term else (working,)

    def applied(self, bank: BankPolicy) -> BankPolicy:
        """Return a bank's policy with these tiers."""
        return replace(
            bank,
            keep_previous=KeepPrevious.SEEN if self.enable_short_term else KeepPrevious.NEVER,
            recent_stride=self.mem_every,
            working_most=self.max_mid_term_frames,
            working_least=self.min_mid_term_frames,
            anchoring=Anchoring.DIVERSE if self.enable_long_term else Anchoring.NONE,
            max_anchors=self.max_long_term_elements,
            top_k=self.top_k,
        )


# XMem's other names, and why they mean nothing where whole frames are attended to.
MEANINGLESS: Final[Mapping[str, str]] = {
    "num_prototypes": "anchors are whole frames, not prototypes of pixels; "
    "expected max_long_term_elements, the frames kept",
    "deep_update_every": "SAM 2 has no sensory state that is updated from the value encoder; "
    "expected enable_short_term, the previous frame",
    "hidden_dim": "SAM 2 has no hidden state; leave the key out",
    "key_dim": "the size of memories is the model's; leave the key out",
    "value_dim": "the size of memories is the model's; leave the key out",
    "enable_long_term_count_usage": "anchors are chosen by quality, difference and time, not by "
    "how often pixels were read; expected enable_long_term",
}
