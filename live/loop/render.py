"""The render loop on the main thread: composes each result once, feeds sinks, runs the window."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from samcam.live.effects import Effect
from samcam.live.feed import (
    DELAYED_SINKS,
    NO_SIGNAL,
    STARTING,
    Compositor,
    DelayLine,
    DelayOptions,
    FeedControl,
    before_the_first,
)
from samcam.live.frames import NS_PER_MS, Composite, FrameResult, StandIn
from samcam.live.loop.pipeline import Wiring
from samcam.live.loop.status_meter import StatusMeter
from samcam.live.metrics import COMPOSE, Metrics
from samcam.live.motion import CARRY
from samcam.live.profiles import ProfileSaver
from samcam.live.sinks import Outputs, SinkWorker
from samcam.live.slots import Closed

_log = logging.getLogger(__name__)

_MISSED = 3.0  # a source is silent when this many of its usual intervals passed
_POLL_S = 0.010  # longest wait for a result: mouse and keys are looked at this often


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How the loop treats time.

    Attributes:
        live_source: Whether frames come whether read or not (cameras, URLs): only there can the
            signal be lost.
        max_mask_age_ms: Without a new result for longer than this, what was shown is stale: the
            window says so, and the outputs of a live source without signal show that instead.
        delay: How long pictures wait for window and virtual camera; None: not at all.
        profiles: Told of every result; saves profiles on command.
        recording: Whether the run is being recorded, for the status line.
        size_wh: Of the source's pictures, for what cameras get before the first one; None: nothing.
        source_kind: As `SourceInfo.kind`, for the status line.
    """

    live_source: bool = False
    max_mask_age_ms: float = 500.0
    delay: DelayOptions | None = None
    profiles: ProfileSaver | None = None
    recording: bool = False
    size_wh: tuple[int, int] | None = None
    source_kind: str = ""


class RenderLoop:
    """What the pipeline calls a renderer: `run` on the main thread, then `close`."""

    def __init__(
        self,
        wiring: Wiring,
        compositor: Compositor,
        outputs: Outputs,
        options: RenderOptions,
        metrics: Metrics,
        build_effect: Callable[[str], Effect] = Effect,
    ) -> None:
        """Connect the parts; threads start in `run`.

        Args:
            outputs: Owned by this loop from now on: `close` closes them.
            metrics: Gets the stage `compose`, the drops of every sink, and `total` where the
                window is the only output; else the sinks' observers record that.
            build_effect: Makes an effect of a name, for changes while running.
        """
        self._wiring = wiring
        self._compositor = compositor
        self._control = FeedControl(
            wiring.controls,
            compositor,
            build_effect,
            None if options.profiles is None else self._save_profile,
        )
        self._workers = outputs.workers
        self._files = [one for one in self._workers if one.is_file]
        self._cameras = [one for one in self._workers if one.kind in DELAYED_SINKS]
        self._others = [one for one in self._workers if one not in self._files + self._cameras]
        self._window = outputs.window
        self._options = options
        self._metrics = metrics
        self._last: FrameResult | None = None
        self._last_ns = time.perf_counter_ns()
        self._stand_in: StandIn | None = None  # what is shown instead of it
        self._trouble_said = False
        self._meter = StatusMeter(
            wiring.monitor, metrics, lambda: wiring.frames.dropped + wiring.results.dropped
        )
        for worker in self._workers:
            metrics.watch_drops(worker.thread_name, partial(_dropped, worker))
        self._delay: DelayLine | None = None
        if options.delay is not None:
            delay = self._delay = DelayLine(options.delay, wiring.controls.say)
            metrics.watch_drops("delay", lambda: delay.dropped)

    def run(self) -> None:
        """Show results until they end, the user quits or `stop` is set.

        Raises:
            BaseException: What broke capture, inference or a sink, with its own traceback.
        """
        for worker in self._workers:
            worker.start()
        if self._window is not None:
            self._window.connect(self._wiring.controls, self._served())
            self._serve()
        while not self._wiring.stop.is_set():
            try:
                result = self._wiring.shown.get(self._longest_wait_s())
            except Closed:
                self._drain_delay()
                return
            for worker in self._workers:
                worker.check()
            if result is not None:
                # A carried picture has the step of the answer before it, which has been shown.
                self._apply_commands(max(self._next_step(), result.step))
                self._control.follow_script(result)
                self._take(result)
                self._publish()
            elif not self._obey():
                self._look_for_signal()
            self._send_due()
            self._serve()

    def _served(self) -> tuple[str, ...]:
        """Return what the user would interrupt by quitting by accident."""
        served = {
            "the virtual camera is on": bool(self._cameras),
            "this is being recorded": self._options.recording,
        }
        return tuple(text for text, is_so in served.items() if is_so)

    def close(self, drain: bool, deadline_s: float) -> BaseException | None:
        """Finish all sinks at the same time, close the window, return the sinks' first error."""
        for worker in self._workers:
            worker.end_input()
        if self._window is not None:
            self._window.close()
        self._compositor.close()
        if self._delay is not None and self._delay.delay_ms is not None:
            self._metrics.count("output delay ms", round(self._delay.delay_ms))
        errors = [worker.finish(None if drain else deadline_s) for worker in self._workers]
        return next((error for error in errors if error is not None), None)

    def _take(self, result: FrameResult) -> None:
        watching = self._wiring.watchdog.watching("effects: compose", "the effect has taken")
        with self._metrics.timing(COMPOSE), watching:
            composite = self._compositor.compose(result)
        if self._options.profiles is not None:
            self._options.profiles.see(result, self._compositor.effect.name)
        self._last, self._last_ns, self._stand_in = result, time.perf_counter_ns(), None
        if self._wiring.carrier is not None:
            self._count_carried(result)
        self._present(composite)

    def _save_profile(self, name: str) -> str:
        """Save a profile with the effect in force, which the newest picture may not have yet."""
        if self._options.profiles is None:
            raise ValueError(f"profile {name}: this run cannot save profiles")
        return self._options.profiles.save(name, self._compositor.effect.name)

    def _count_carried(self, result: FrameResult) -> None:
        self._metrics.count("shown frames")
        predicted_ms = result.stage_ms.get(CARRY)
        if predicted_ms is not None:
            self._metrics.count("predicted frames")
            self._metrics.record(CARRY, predicted_ms)

    def _next_step(self) -> int:
        return 0 if self._last is None else self._last.step + 1

    def _obey(self) -> bool:
        """Apply commands while no result comes; say whether anything changed.

        A change is shown at once: it must not wait for a stream that stands still.
        """
        changed = self._apply_commands(self._next_step())
        if changed:
            self._show_again()
            self._publish()
        return changed

    def _show_again(self) -> None:
        """Compose what is shown once more; files have it already."""
        again: Composite
        if self._stand_in is not None:
            before = self._stand_in
            again = self._compositor.stand_in(before.result, before.began_ns, before.caption)
        elif self._last is not None:
            again = self._compositor.compose(self._last)
        else:
            return
        again = replace(again, repeats=True)
        if self._last is None:
            self._put(again, self._cameras)
        else:
            self._to_viewers(again)

    def _look_for_signal(self) -> None:
        """Replace a picture that is stale for want of a signal, once per outage.

        When pictures come again before inference has answered for one, the text changes to
        "starting". Before the first one cameras are shown why; files begin with that one.
        """
        lost = self._signal_is_lost()
        caption = NO_SIGNAL if lost else STARTING
        if self._stand_in is not None and caption == self._stand_in.caption:
            return
        if self._last is None:
            if self._options.size_wh is not None and self._cameras:
                blank = before_the_first(self._options.size_wh)
                self._stand_in = self._compositor.stand_in(blank, 0, caption)
                self._put(self._stand_in, self._cameras)
        elif lost or self._stand_in is not None:
            passed_ns = time.perf_counter_ns() - self._last_ns
            time_ns = self._last.frame.time_ns + passed_ns
            self._stand_in = self._compositor.stand_in(self._last, time_ns, caption)
            self._present(self._stand_in)

    def _present(self, composite: Composite) -> None:
        """Hand over a new picture: to those who look, then to the files.

        So what is hidden while a file has no room is hidden at once for those who look, and no
        older picture shows it to them again.
        """
        self._to_viewers(composite)
        for worker in self._files:
            while not worker.put(composite, _POLL_S) and not self._wiring.stop.is_set():
                self._obey()
                self._serve()

    def _to_viewers(self, composite: Composite) -> None:
        """Hand over a picture; window and cameras get it when it is due, if there is a delay."""
        self._put(composite, self._others)
        if self._delay is None:
            self._show(composite)
            return
        if self._window is not None and self._files + self._others:
            self._window.left(composite)
        if composite.panic:  # at once, and before anything that waits
            self._delay.clear()
            self._show(composite)
        elif self._delay.put(composite):
            self._metrics.count("late pictures")

    def _send_due(self) -> None:
        """Hand over the delayed pictures that are due."""
        if self._delay is not None:
            for composite in self._delay.take_due():
                self._show(composite)

    def _drain_delay(self) -> None:
        """Wait for the delayed pictures, at the end of a source."""
        while self._delay is not None and self._delay.next_due_s() is not None:
            if self._wiring.stop.wait(self._longest_wait_s()):
                return
            self._obey()  # the panic key, above all
            self._send_due()
            self._serve()

    def _longest_wait_s(self) -> float:
        next_due_s = None if self._delay is None else self._delay.next_due_s()
        return _POLL_S if next_due_s is None else min(_POLL_S, next_due_s)

    def _show(self, composite: Composite) -> None:
        """Hand a picture to window and cameras."""
        if self._window is not None:
            self._window.show(composite)
            if not self._workers and composite.is_new_frame:
                self._metrics.left("window", composite.result)
        self._put(composite, self._cameras)

    def _put(self, composite: Composite, workers: Sequence[SinkWorker]) -> None:
        """Hand a picture to sinks; the window is served while one has no room."""
        for worker in workers:
            while not worker.put(composite, _POLL_S) and not self._wiring.stop.is_set():
                self._serve()

    def _age_ms(self) -> float:
        return (time.perf_counter_ns() - self._last_ns) / NS_PER_MS

    def _signal_is_lost(self) -> bool:
        """Whether a live source gives no pictures; slow inference is not that, nor a low rate."""
        if not self._options.live_source or self._age_ms() <= self._options.max_mask_age_ms:
            return False
        stats = self._wiring.monitor.stats
        if stats.ended or stats.waiting:
            return False
        if stats.no_signal is not None:
            return True
        if stats.last_captured_ns is None:
            return False
        silent_ms = (time.perf_counter_ns() - stats.last_captured_ns) / NS_PER_MS
        usual_ms = stats.usual_ms or 0.0
        return silent_ms > max(self._options.max_mask_age_ms, _MISSED * usual_ms)

    def _serve(self) -> None:
        """Do what cannot wait: say what hangs or is waited for, draw, take mouse and keys."""
        if self._meter.is_due():
            self._publish()
        if self._window is None:
            return
        with self._wiring.watchdog.watching("output window: draw"):
            self._window.refresh(self._note())
        if self._window.quit_requested:
            self._wiring.stop.set()

    def _apply_commands(self, step: int) -> bool:
        """Apply waiting commands, which may open a background or save a profile on a slow disk."""
        with self._wiring.watchdog.watching("effects: command", "a command has taken"):
            return self._control.apply(step)

    def _publish(self) -> None:
        """Publish the state of the run; before the first picture only what hangs."""
        hanging = self._wiring.watchdog.hanging()
        self._wiring.controls.hanging = hanging
        if self._last is None:
            return
        status = self._meter.take(self._last, self._compositor.own_effects)
        status = replace(
            status,
            effect=self._compositor.effect.name,
            hidden=self._compositor.panic,
            recording=self._options.recording,
            waiting=self._wiring.controls.play.holds,
            source_kind=self._options.source_kind,
            trouble=hanging or status.trouble,
        )
        if status.trouble and not hanging and not self._trouble_said:  # a hang is logged anyway
            self._trouble_said = True
            _log.warning("%s", status.trouble)
        self._wiring.controls.publish(status)

    def _note(self) -> str:
        """Return what the window says about a stage that hangs or a stream that stands still."""
        hanging = self._wiring.watchdog.hanging()
        age_ms = self._age_ms()
        if age_ms <= self._options.max_mask_age_ms or self._wiring.controls.play.holds:
            return hanging
        seconds = age_ms / 1000
        if self._signal_is_lost():
            reason = self._wiring.monitor.stats.no_signal
            said = f"no signal for {seconds:.0f} s" + (f": {reason}" if reason else "")
            return f"{said}; {hanging}" if hanging else said
        waits = "" if self._last is None else f"waiting for the next result, {seconds:.0f} s"
        return hanging or waits


def _dropped(worker: SinkWorker) -> int:
    return worker.dropped
