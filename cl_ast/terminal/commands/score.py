"""`cl-ast score`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.terminal.output import note, print_json, print_text, table_or, warn
from cl_ast.wording import plural

if TYPE_CHECKING:
    from cl_ast.evaluation.event_score import EventScore, Matching


@click.command("score")
@click.argument("events", type=click.Path(exists=True, path_type=Path))
@click.argument("reference", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--collar",
    type=float,
    default=0.2,
    show_default=True,
    metavar="S",
    help="How far, in seconds, an event may begin and end from the reference.",
)
@click.option(
    "--offset-share",
    type=float,
    default=0.2,
    show_default=True,
    metavar="X",
    help="The end may be off by this share of the reference event's length, if that is more than the collar.",
)
@click.option(
    "--matching",
    type=click.Choice(["optimal", "greedy"]),
    default="optimal",
    show_default=True,
    help="Which of several events that fit counts: as many pairs as can be, or the first that fits.",
)
@click.option(
    "--recordings",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the recordings are, to compute PSDS, too (extra `psds`).",
)
@table_or("json", "csv")
def score(
    events: Path,
    reference: Path,
    collar: float,
    offset_share: float,
    matching: Matching,
    recordings: Path | None,
    kind: str,
) -> None:
    """Score found events: precision, recall and F1 of each class.

    EVENTS are compared with REFERENCE as sed_eval defines it. Either is a file or a folder of files: JSON lines, JSON
    or CSV as `cl-ast events` writes them, a metadata.csv with the columns file, start, end and label, or label files
    (.txt) of Audacity or Raven. Recordings are matched by their names, without folders and endings. Events in a
    recording that the reference does not name count as wrong.

    PSDS looks at all thresholds at once, so find the events with a low one: `cl-ast events --on 0.05`.

    \b
    cl-ast score found.jsonl labels/
    cl-ast score found/ labels/ --collar 0.5 --format json
    """
    from cl_ast.evaluation.event_lists import read_event_list
    from cl_ast.evaluation.event_score import score as scored

    found, wanted = read_event_list(events), read_event_list(reference)
    result = scored(found, wanted, collar=collar, share=offset_share, matching=matching)
    value = None
    if recordings is not None:
        from cl_ast.evaluation.psds import psds, seconds_of_recordings

        value = psds(found, wanted, seconds_of_recordings(recordings, wanted))
    _print(result, value, kind)
    others = result.not_in_reference
    if others:
        which = f"{plural(len(others), 'recording')} with events {'is' if len(others) == 1 else 'are'}"
        warn(f"{which} not in {reference} (such as {others[0]}); all events in them count as wrong")


def _print(result: EventScore, psds: float | None, kind: str) -> None:
    from cl_ast.terminal.rendering import event_score_page, formats, tables

    extra = {} if psds is None else {"psds": psds}
    if kind == "json":
        print_json(result.to_json() | extra)
    elif kind == "csv":
        print_text(formats.as_csv(event_score_page.rows(result)))
    else:
        tables.show(event_score_page.table(result))
    if psds is not None and kind != "json":
        note(f"PSDS 1: {psds:.3f}")
