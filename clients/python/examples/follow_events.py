"""Follows the events of a campaign and writes them to a database: follow_events.py --help

Every event is processed at least once, and no event is missed, however often this program or the cluster is stopped:

- The position, which is the revision and the history_id of the last event, is written to a file after the event itself
  is in the database. A crash between the two leads to the same event once more.
- The database ignores an event that it has (an idempotent sink), so that it has each exactly once.
- When the cluster was restored from a backup, events may be lost that are in the database. Then this program begins
  anew with the events of the new history, and keeps those of the old one.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
from pathlib import Path

from coupon_client import Client, HistoryChanged, v1


class Position:
    """The last event that was processed, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[int, int]:
        """The revision and the history_id; zeros before the first event."""
        if not self._path.exists():
            return 0, 0
        kept = json.loads(self._path.read_text())
        return kept["revision"], kept["history_id"]

    def write(self, revision: int, history_id: int) -> None:
        """Replaces the file as a whole, so that a crash leaves the old position or the new one."""
        new = self._path.with_suffix(".new")
        with open(new, "w") as file:
            json.dump({"revision": revision, "history_id": history_id}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)


class Sink:
    """A table of events, each of which it keeps once."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS events (campaign TEXT, history_id INTEGER, revision INTEGER, type TEXT, "
            "time TEXT, code TEXT, recipient TEXT, PRIMARY KEY (campaign, history_id, revision))")

    def process(self, event: v1.Event) -> None:
        """Writes an event, unless it is there already. It is on disk when this returns."""
        with self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                (event.campaign_id, event.history_id, event.revision, v1.EventType.Name(event.type),
                 event.time.ToJsonString(), event.coupon.code, event.coupon.recipient))


def follow(client: Client, campaign: str, position: Position, sink: Sink, until: int | None) -> None:
    """Processes events as they happen, until the one with the revision `until`."""
    revision, history_id = position.read()
    while True:
        try:
            for event in client.stream_events(campaign_id=campaign, after_revision=revision, history_id=history_id):
                sink.process(event)
                position.write(event.revision, event.history_id)
                if event.revision == until:
                    return
        except HistoryChanged as changed:
            revision, history_id = 0, changed.history_id


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the events of a campaign to a database, as they happen.")
    parser.add_argument("campaign")
    parser.add_argument("--router", default="127.0.0.1:7000", help="host:port; several with commas between them")
    parser.add_argument("--database", type=Path, default=Path("events.sqlite"))
    parser.add_argument("--position", type=Path, default=Path("position.json"), help="where the position is kept")
    parser.add_argument("--until", type=int, metavar="REVISION", help="end after this event [default: never]")
    arguments = parser.parse_args()
    with Client(arguments.router.split(",")) as client:
        follow(client, arguments.campaign, Position(arguments.position), Sink(arguments.database), arguments.until)


if __name__ == "__main__":
    main()
