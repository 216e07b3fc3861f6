"""`cl-ast listen`"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.event_options import event_options, scorer_of, settings_of
from cl_ast.terminal.output import print_line, print_text, warn
from cl_ast.wording import plural

if TYPE_CHECKING:
    from cl_ast.events import Event, ScoredWindow
    from cl_ast.events.raw_sound import SoundFormat
    from cl_ast.events.sources import Piece
    from cl_ast.terminal.live import Actions, Listening


@click.command("listen")
@click.option(
    "--input",
    "place",
    default="default",
    show_default=True,
    metavar="DEVICE|-|FILE",
    help="A microphone by its number or name, - for raw samples on standard input, or a recording.",
)
@click.option("--rate", type=int, metavar="HZ", help="Of the samples. [default: the device's; of - 16000]")
@click.option(
    "--encoding", type=click.Choice(["pcm_s16le", "pcm_f32le"]), default="pcm_s16le", show_default=True, help="Of -."
)
@click.option("--channels", type=int, default=1, show_default=True, help="How many there are; their mean is used.")
@event_options
@click.option(
    "--save-clips",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Save each event as a clip in DIR, as it was recorded.",
)
@click.option(
    "--keep",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How much sound is kept for clips; of a longer event, the last part is saved.",
)
@click.option(
    "--exec",
    "program",
    metavar="CMD",
    help="Run a program after each event, with the event as JSON on its standard input.",
)
@click.option("--format", "kind", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now, if it has moved.")
@pass_app
def listen(
    app: App,
    /,
    place: str,
    rate: int | None,
    encoding: str,
    channels: int,
    save_clips: Path | None,
    keep: float,
    program: str | None,
    kind: str,
    backbone: str | None,
    **given: Any,
) -> None:
    """Find events in live sound, until Ctrl-C.

    They are found as `cl-ast events` finds them in recordings. Each is printed as soon as it ends.

    \b
    cl-ast listen --task birds
    cl-ast listen --input 2 --save-clips clips/ --format jsonl
    arecord -f S16_LE -r 48000 -t raw | cl-ast listen --input - --rate 48000
    cl-ast listen --exec ./notify

    A microphone needs the extra live: pip install 'cl-ast[live]'.
    """
    settings = settings_of(given)
    with app.manager(backbone) as manager:
        from cl_ast.audio.reading import SAMPLE_RATE
        from cl_ast.events import StreamDetector
        from cl_ast.events.raw_sound import Ring, SoundFormat
        from cl_ast.events.sources import default_rate
        from cl_ast.terminal.live import Actions, Listening, stop_on_ctrl_c, until
        from streams.folders import is_clip

        is_device = place != "-" and not Path(place).exists()
        if is_device and is_clip(Path(place)):
            raise ClAstError(f"{place}: there is no such recording; give --input a file, a microphone or -")
        if rate is None:
            rate = default_rate(place) if is_device else SAMPLE_RATE
        pieces = _pieces(place, SoundFormat(rate, encoding, channels), is_device=is_device)  # type: ignore[arg-type]
        ring = Ring(rate if is_device or place == "-" else SAMPLE_RATE, keep)
        view = Listening(quiet=app.quiet)
        windows: list[ScoredWindow] = []
        detector = StreamDetector(scorer_of(manager.session, settings), place, watch=windows.append)
        actions = Actions(ring, save_clips, program, Path(place).stem if not is_device else "live")
        with stop_on_ctrl_c() as stopped, view:
            trouble = None
            for piece in until(pieces, stopped, waits=not is_device):
                if isinstance(piece, Exception):
                    trouble = piece
                    break
                ring.add(piece.recorded)
                most = max(2, round(2 * SAMPLE_RATE / detector.cutter.hop)) if is_device else sys.maxsize
                events, dropped = detector.keep_up(piece.waveform, most)
                view.show(piece.waveform, windows, detector.sounding, dropped * detector.cutter.hop)
                if dropped:
                    warn(f"lag: left out {plural(dropped, 'window')}, as this machine is too slow; try a longer --hop")
                windows.clear()
                _tell(events, view, actions, kind)
            _tell(detector.finish(), view, actions, kind)
    if trouble is not None:
        warn(f"{trouble}; the last event was closed at {detector.cutter.samples / SAMPLE_RATE:.2f} s")
        sys.exit(1)


def _pieces(place: str, form: SoundFormat, *, is_device: bool) -> Iterator[Piece]:
    """Return the sound of a device, of standard input, or of a file."""
    from cl_ast.events import sources

    if is_device:
        return sources.from_device(place, form)
    return sources.from_pipe(sys.stdin.buffer, form) if place == "-" else sources.from_file(Path(place))


def _tell(events: list[Event], view: Listening, actions: Actions, kind: str) -> None:
    """Print events as they end, and save and hand them on; rejected candidates are in JSON lines only."""
    from cl_ast.events.writers import jsonl
    from cl_ast.terminal.rendering.event_tables import event_line

    for event in events:
        if kind == "jsonl" or not event.why:
            with view.paused():
                print_text(jsonl(event)) if kind == "jsonl" else print_line(event_line(event))
        if not event.why:
            actions(event)
