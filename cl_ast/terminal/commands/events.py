"""`cl-ast events`"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.event_options import event_options, scorer_of, settings_of
from cl_ast.terminal.given import recordings_in
from cl_ast.terminal.output import print_json, print_text, table_or, warn

if TYPE_CHECKING:
    from cl_ast.audio.reading import AudioInput
    from cl_ast.events import Event, EventSettings, WindowScorer
    from cl_ast.events.folder import ResultFolder
    from cl_ast.events.writers import Found
    from cl_ast.terminal.rendering.progress import ProgressDisplay


@click.command("events")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@event_options
@click.option(
    "--events",
    "method",
    type=click.Choice(["hysteresis", "sebb"]),
    default="hysteresis",
    show_default=True,
    help="Where events begin and end: at --on and --off, or where scores change (sebb).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the result to files in DIR, and the events of each recording as JSON lines.",
)
@click.option("--resume", is_flag=True, help="With --out, search only recordings that DIR has no result of.")
@click.option(
    "--save-clips",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Save each event as a clip in DIR, as it was recorded.",
)
@click.option(
    "--frequencies", is_flag=True, help="With --format audacity, write the band of each event, 0 to 8000 Hz, too."
)
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now, if it has moved.")
@table_or("json", "jsonl", "csv", "audacity", "raven", "srt")
@pass_app
def events(
    app: App,
    /,
    files: tuple[str, ...],
    method: str,
    out: Path | None,
    resume: bool,
    save_clips: Path | None,
    frequencies: bool,
    backbone: str | None,
    kind: str,
    **given: Any,
) -> None:
    """Find what sounds from when to when in recordings.

    Recordings are files, folders of them, or - for standard input. A recording is cut into overlapping windows. Their
    scores are put on one grid in time and smoothed; an event begins where the score of a class reaches --on, and ends
    where it falls below --off.

    \b
    cl-ast events dawn.flac --task birds
    cl-ast events recordings/ --task birds --format raven --output dawn.txt
    cl-ast events recordings/ --format audacity --out tracks/
    cl-ast events recordings/ --save-clips clips/ --pad 1
    cl-ast events week/ --timeline --format csv --out week-events/ --resume

    JSON lines (--format jsonl, --out) also have what was rejected, with the reason in "why".
    """
    if resume and out is None:
        raise click.UsageError("--resume goes on with what --out DIR has; give --out")
    if frequencies and kind != "audacity":
        raise click.UsageError("--frequencies is for label tracks; give --format audacity, too")
    if save_clips is not None and "-" in files:
        raise click.UsageError(
            "--save-clips reads a recording a second time, but standard input can be read only once; give the path of "
            "a file"
        )
    settings = settings_of(given, method)
    wanted, problems = recordings_in(files)
    for problem in problems:
        warn(problem)
    with app.manager(backbone) as manager, app.progress(lines=False) as display:
        from cl_ast.events.folder import ResultFolder

        scorer = scorer_of(manager.session, settings)
        folder = None if out is None else ResultFolder(out, scorer.describe(), resume=resume)
        search = _Search(scorer, wanted, folder, save_clips, display, at_once=kind == "jsonl" and out is None)
        try:
            search.run()
        except KeyboardInterrupt:
            search.stopped = True
        display.stop()
        if kind != "jsonl" and not (search.stopped and folder is not None):
            _show(search.found, kind, scorer.settings, folder, frequencies=frequencies)
    if search.stopped:
        more = "; go on with --resume" if folder is not None else ""
        warn(f"stopped: {search.done} of {len(wanted)} recordings were searched to their end{more}")
    if problems or search.failed or search.stopped:
        sys.exit(1)


class _Search:
    """Searches recordings, one after another.

    Attributes:
        found: the events of each recording of which anything could be read, by a name for a file about it.
    """

    def __init__(
        self,
        scorer: WindowScorer,
        wanted: Sequence[AudioInput],
        folder: ResultFolder | None,
        clips: Path | None,
        display: ProgressDisplay,
        *,
        at_once: bool,
    ) -> None:
        from cl_ast.events.naming import stems

        self.found: dict[str, Found] = {}
        self.failed = self.stopped = False
        self.done = 0
        self._scorer = scorer
        self._wanted = wanted
        self._folder = folder
        self._clips = clips
        self._display = display
        self._at_once = at_once
        self._names = stems(str(one) if isinstance(one, str | Path) else "-" for one in wanted)

    def run(self) -> None:
        """Search all recordings."""
        from cl_ast.progress import Step

        for clip, name in zip(self._wanted, self._names, strict=True):
            self._display(Step("searching recordings", self.done, len(self._wanted), name))
            before = None if self._folder is None else self._folder.found(str(clip))
            if before is None:
                self._search(clip, name)
            else:
                self.found[name] = before
            self.done += 1

    def _search(self, clip: AudioInput, name: str) -> None:
        from cl_ast.events import EventsOf
        from cl_ast.events.writers import Found

        recording = EventsOf(clip, self._scorer)
        kept: list[Event] = []
        self.found[name] = Found(recording.path, 0, kept)  # if Ctrl-C ends it
        for event in recording:
            self._take(event, kept)
        for line in recording.notes:
            warn(f"{recording.path}: {line}")
        if recording.trouble is not None:
            self.failed = True
            until = f" (events were found up to {recording.seconds:.2f} s)" if recording.samples else ""
            warn(f"{recording.trouble}{until}")
            if not recording.samples:
                del self.found[name]
                return
        self.found[name] = found = Found(recording.path, recording.samples, kept)
        self._save(clip, found, name)
        if self._folder is not None:
            self._folder.keep(name, found, None if recording.trouble is None else str(recording.trouble))

    def _take(self, event: Event, kept: list[Event]) -> None:
        from cl_ast.events.writers import jsonl

        if self._at_once:
            self._display.result(jsonl(event))
        if not event.why or self._folder is not None:
            kept.append(event)

    def _save(self, clip: AudioInput, found: Found, name: str) -> None:
        """Save the clips of a recording; where that fails, say so once, and go on without."""
        if self._clips is None:
            return
        from cl_ast.events.clips import save_clips

        try:
            save_clips(clip, found.events, self._clips, name)
        except ClAstError as error:
            self.failed, self._clips = True, None
            warn(f"{error}; no more clips are saved, and the events go on")


def _show(
    by_name: Mapping[str, Found],
    kind: str,
    settings: EventSettings,
    folder: ResultFolder | None,
    *,
    frequencies: bool,
) -> None:
    """Print the result, or write it into the folder: a file for all recordings, or one for each."""
    from cl_ast.events import writers

    found = list(by_name.values())
    if kind == "table":
        if not found:  # It was said why.
            return
        from cl_ast.terminal.rendering import event_tables, tables

        tables.show(*event_tables.events(found))
        return
    if kind == "json":
        print_json([event.to_json() for one in found for event in writers.kept(one)])
        return
    whole = {"csv": lambda: writers.as_csv(found, settings.row()), "raven": lambda: writers.raven(found)}
    single = {"audacity": lambda one: writers.audacity(one, frequencies=frequencies), "srt": writers.srt}
    if kind in whole:
        text = whole[kind]()
        print_text(text) if folder is None else folder.write(f"events.{'csv' if kind == 'csv' else 'txt'}", f"{text}\n")
    elif kind in single:
        for name, one in by_name.items():
            text = single[kind](one)
            if folder is not None:
                folder.write(f"{name}.{'txt' if kind == 'audacity' else 'srt'}", f"{text}\n")
            elif text:
                print_text(text)
        if folder is None and len(found) > 1:
            warn(
                f"these are the events of {len(found)} recordings, one after another; --out DIR writes a file for each"
            )
