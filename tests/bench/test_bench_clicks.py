"""Clicks that follow one another: where each falls, when they end, what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.reports.accuracy_tables import clicks_table
from bench.scores.clicks import (
    CLICK_RULES,
    MAX_CLICKS,
    ClickedInstance,
    ClickedNetworks,
    ClickRule,
    click_instance,
    evaluate_clicks,
    next_click,
    score_clicks,
)
from bench.scores.layouts import read_dataset
from samcam.engines.fake_backend import fake_networks
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.live.frames import U8, Mask, Prompt
from tests.helpers.labelled_data import write_ids

SIDE = 64


def block(x1: int, y1: int, x2: int, y2: int) -> Mask:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


EVERYWHERE = block(0, 0, SIDE, SIDE)


def test_the_next_click_is_in_the_middle_of_the_largest_error() -> None:
    truth = block(10, 10, 40, 40)
    missed = next_click(truth & ~block(10, 10, 21, 21), truth, EVERYWHERE)
    assert missed == ((15, 15), 1)
    surplus = next_click(truth | block(45, 45, 60, 60), truth, EVERYWHERE)
    assert surplus == ((52, 52), 0)
    # a long thin error has more pixels than a compact one, but no middle to click on
    both = (truth & ~block(14, 14, 25, 25)) | block(0, 61, SIDE, SIDE)
    assert next_click(both, truth, EVERYWHERE) == ((19, 19), 1)
    assert next_click(truth, truth, EVERYWHERE) is None


def test_pixels_that_do_not_count_are_not_clicked() -> None:
    truth = block(10, 10, 40, 40)
    void = block(45, 45, 60, 60)
    assert next_click(truth | void, truth, ~void) is None
    # the border of a picture is one: the click falls inside
    found = next_click(np.zeros_like(truth), block(0, 0, 21, 21), EVERYWHERE)
    assert found == ((10, 10), 1)


class Scripted:
    """Answers click after click with the masks it was given, the last one again and again."""

    def __init__(self, *masks: Mask) -> None:
        self.masks, self.seen = masks, list[Prompt]()
        self.started = 0

    def look(self, image_bgr: U8) -> None: ...

    def start(self) -> None:
        self.started += 1

    def answer(self, prompt: Prompt) -> Mask:
        self.seen.append(prompt)
        return self.masks[min(len(self.seen), len(self.masks)) - 1]


def test_clicks_add_up_until_the_mask_is_good() -> None:
    truth = block(10, 10, 40, 40)
    half = block(10, 10, 40, 25)
    too_much = truth | block(41, 41, 60, 60)
    segmenter = Scripted(half, too_much, truth)
    done = click_instance(segmenter, truth, EVERYWHERE, "p", 1)
    assert segmenter.started == 1
    assert done.ious == pytest.approx((0.5, 900 / (900 + 361), 1.0))
    assert done.labels == (1, 1, 0)
    assert done.points_xy[0] == (24, 24) or done.points_xy[0] == (25, 25)
    assert 25 <= done.points_xy[1][1] < 40
    assert [len(prompt.labels) for prompt in segmenter.seen] == [1, 2, 3]
    assert (done.clicks_to(0.7), done.clicks_to(0.8)) == (2, 3)


def test_clicks_end_after_ten() -> None:
    truth = block(10, 10, 40, 40)
    done = click_instance(Scripted(block(0, 0, 12, 12)), truth, EVERYWHERE, "p", 1)
    assert len(done.ious) == MAX_CLICKS == 10
    assert done.clicks_to(0.8) is None


def test_a_mask_that_is_good_enough_is_clicked_five_times() -> None:
    truth = block(10, 10, 40, 40)
    nearly = truth & ~block(10, 10, 13, 13)
    assert len(click_instance(Scripted(nearly), truth, EVERYWHERE, "p", 1).ious) == 5


def test_means_over_instances() -> None:
    def one(*ious: float) -> ClickedInstance:
        return ClickedInstance("p", 1, ious, ((0, 0),) * len(ious), (1,) * len(ious))

    hard = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 0.7, 0.7)
    score = score_clicks("s", "clicks", [one(0.7, 1.0), one(*hard)], 1.0)
    assert score.ious == pytest.approx((0.4, 0.6, 0.65, 0.75))
    assert score.reached == (1.0, 0.5)
    assert score.clicks == ((2 + 8) / 2, (2 + 10) / 2)
    row = clicks_table([score]).rows[0]
    assert row == (
        *("s", "clicks", "2", "0.400", "0.600", "0.650", "0.750", "1.000", "0.500", "5.00", "6.00"),
    )
    assert score_clicks("s", "clicks", [], 0.0).ious == (0.0,) * 4


@pytest.mark.parametrize("rule", CLICK_RULES)
def test_networks_get_all_clicks_and_the_mask_by_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: ClickRule
) -> None:
    """The fake draws a disc for a click: an ellipse is never right, so clicks go on."""
    networks = fake_networks(image_size=256)
    ids = np.zeros((256, 256), np.uint8)
    cv2.ellipse(ids, (128, 128), (90, 20), 0, 0, 360, 1, -1)
    cv2.circle(ids, (40, 40), 20, 2, -1)
    (tmp_path / "stills/s/images").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "stills/s/images/0.jpg"), np.full((256, 256, 3), 90, np.uint8))
    write_ids(tmp_path / "stills/s/masks/0.png", ids)
    calls: list[tuple[int, bool]] = []
    monkeypatch.setattr(Sam2Networks, "decode", spied(Sam2Networks.decode, calls))
    score = evaluate_clicks(
        read_dataset(tmp_path).still_sets[0], ClickedNetworks(networks, rule), rule
    )
    assert [one.object_id for one in score.instances] == [1, 2]
    assert len(score.instances[0].ious) == MAX_CLICKS
    counts = [count for count, _ in calls]
    first = len(score.instances[0].ious)
    assert counts[:first] == list(range(1, first + 1))
    assert counts[first] == 1
    masked = [mask for _, mask in calls]
    assert masked[0] is masked[first] is False  # nothing before an object's first click
    assert masked[1:first] == [rule == "clicks and mask"] * (first - 1)


def spied(decode: Callable[..., object], calls: list[tuple[int, bool]]) -> Callable[..., object]:
    """`decode` that notes how many points it was given, and whether a mask."""

    def noted(networks: Sam2Networks, *given: object) -> object:
        labels, mask = given[3], given[4]
        assert isinstance(labels, np.ndarray)
        calls.append((len(labels), mask is not None))
        return decode(networks, *given)

    return noted
