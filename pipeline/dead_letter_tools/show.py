"""``python -m pipeline.dead_letters``: what is in the dead-letter topic. Changes nothing."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from pipeline import worker
from pipeline.checking.waiting import StartWait
from pipeline.cli.entry import flags_or_told
from pipeline.dead_letter_tools.exit_status import exit_status
from pipeline.dead_letter_tools.filters import classes_left_out, is_meant
from pipeline.dead_letter_tools.flags import SHOW, ShowConfig, parse_show
from pipeline.dead_letter_tools.output import print_samples, print_tally
from pipeline.dead_letter_tools.tally import Tally
from pipeline.process.order import EXIT_DONE, EXIT_WRONG
from pipeline.terminal import tell_error
from transforms.errors import ScoringError
from transforms.kafka.dead_letters.letter import read_letter
from transforms.kafka.dead_letters.topics import LetterTopics
from transforms.kafka.dead_letters.writing import replay_config
from transforms.printable import counted

EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    asked = flags_or_told(parse_show, argv, SHOW)
    if asked is None:
        return EXIT_WRONG
    worker.quiet_logging()
    try:
        return show(asked, sys.stdout)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def show(asked: ShowConfig, out: TextIO) -> int:
    """Reads the topic and prints what is there.

    Returns:
        0; 2 if the topic can't be found, 1 if it can't be read, or Kafka did not come in time.
    """
    kafka = replay_config(asked.bootstrap_servers, asked.dead_letter_topic, asked.kafka_properties)
    tally, others, strangers = Tally(asked.sample), Counter[str](), 0
    try:
        with contextlib.ExitStack() as stack:
            waiting = StartWait(asked.wait_for_start_s)
            topics = stack.enter_context(contextlib.closing(waiting.until_there("Kafka", lambda _: LetterTopics(kafka))))
            ledger = topics.new_ledger()
            ledger.read(topics.read_ledger())
            reader = stack.enter_context(contextlib.closing(topics.letters()))
            for records in reader.chunks():
                for record in records:
                    letter = read_letter(record, reader.append_time)
                    if letter is None:
                        strangers += 1
                    elif is_meant(asked, letter):
                        tally.add(letter, replayed=letter.place in ledger)
                    else:
                        others[letter.error_class] += 1
    except ScoringError as error:
        tell_error(error)
        return exit_status(error, asked.wait_for_start_s)
    parts = [f"{counted(tally.letters, 'dead letter')}, of which {tally.replayed:,} were replayed"]
    if others:
        left_out = classes_left_out(others, asked.error_classes)
        parts.append(f"{counted(others.total(), 'other')}, which the filters leave out{left_out}")
    parts += [counted(strangers, "record that is none", "records that are none")] if strangers else []
    print(f"{asked.dead_letter_topic}: {'; '.join(parts)}", file=out)
    print_tally(tally, out)
    print_samples(tally.samples(), out, show_values=asked.show_values)
    return EXIT_DONE
