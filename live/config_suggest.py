"""Settings of the automatic mask generator (`--suggest`), and what they come to for a model."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from live.config_fields import setting
from live.suggest import SuggestRules, model_rules


@dataclass(frozen=True, slots=True)
class SuggestSettings:
    """Objects suggested without a prompt (`--suggest`, key `a`); null takes what fits the model."""

    points_per_side: int | None = setting(
        None, "Points along each side of the grid that is tried.", unit="points", low=1, high=64
    )
    predicted_iou: float | None = setting(
        None, "Least predicted IoU of a proposal.", low=0.0, high=1.0
    )
    stability: float | None = setting(
        None, "Least overlap of a mask cut a little higher with itself cut a little lower.",
        low=0.0, high=1.0,
    )  # fmt: skip
    stability_delta: float | None = setting(
        None, "How much higher and lower that is.", unit="logit", low=0.01, high=16.0
    )
    min_area: float | None = setting(
        None, "Least area of a proposal.", unit="share of the picture", low=0.0, high=1.0
    )
    max_area: float | None = setting(
        None, "Largest area of a proposal.", unit="share of the picture", low=0.0, high=1.0
    )
    max_overlap: float | None = setting(
        None, "Of two masks whose IoU is above this, the worse is dropped.", low=0.0, high=1.0
    )
    max_proposals: int | None = setting(
        None, "Most proposals of one picture; the best stay.", low=1, high=254
    )


def suggest_rules(settings: SuggestSettings, model: str) -> SuggestRules:
    """Return the rules for a model: as set, else the model's own.

    Args:
        settings: From the configuration.
        model: Name in the model's manifest; all but `nano` count as SAM 2.
    """
    given = {item.name: getattr(settings, item.name) for item in fields(settings)}
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(model_rules(model), **chosen)
