"""``python -m pipeline.check``: whether model, topics and flags fit, and what one request would look like.

What it checks is what ``python -m pipeline`` checks before every run (``contract.py``); with ``--sample N`` also up to N
records of the topics, decoded as the run would. It changes nothing: no group is joined, no offset committed, no topic made.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pipeline import worker
from pipeline.checking import flags as check_flags
from pipeline.checking.carried import carried_lines
from pipeline.checking.contract import check_all, formats, kafka_config, served
from pipeline.checking.field_report import RECORD, FieldRow, expected_rows, sampled_rows
from pipeline.checking.flags import LEFT_OUT, CheckConfig, run_command
from pipeline.checking.guess import UNKNOWN, guess_signature
from pipeline.checking.one_request import one_request
from pipeline.checking.output import CheckOutput
from pipeline.checking.output_schema import output_schema, subject_of
from pipeline.checking.proposal import Instead, Proposal, found_so_far, instead_of_text, propose
from pipeline.checking.registry import check_registry
from pipeline.checking.trial import try_request
from pipeline.checking.waiting import ATTEMPT_S, StartWait
from pipeline.cli.config import Config
from pipeline.cli.entry import flags_or_told
from pipeline.cli.names import DEFAULT_GROUP
from pipeline.demo import Demo
from pipeline.embedded.generator import publish_digits
from pipeline.reporting.status import Status
from pipeline.shell import shell_word
from pipeline.terminal import tell_error
from transforms.clients.declared import write_signature
from transforms.clients.saved_model.store import STORE
from transforms.clients.uri import shown
from transforms.clients.wire.outputs import is_per_row
from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.decoder import Decoder
from transforms.decode.judging import Judged
from transforms.decode.readable import decode_readable
from transforms.errors import ContractError, NotReadyError, ScoringError
from transforms.guard import NoGuard
from transforms.kafka.admin.checks import Checker, Position, Topics
from transforms.kafka.admin.sample import read_sample
from transforms.kafka.config import Partition
from transforms.predict.options import FAIL
from transforms.printable import counted
from transforms.types import DecodedChunk, KafkaRecord, ModelMetadata

if TYPE_CHECKING:
    from transforms.stages import DecodeConfig

EXIT_FITS = 0
EXIT_DOES_NOT_FIT = 2
EXIT_INTERRUPTED = 130

GUESSED_OF = 100
"""How many records --guess_signature looks at unless --sample says it."""

MAX_FAILURES = 5
"""Classes of failures that are told, with the first record of each."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    asked = flags_or_told(check_flags.parse, argv, check_flags.NAME)
    if asked is None:
        return EXIT_DOES_NOT_FIT
    worker.quiet_logging()
    try:
        return check(asked, sys.stdout, sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def check(asked: CheckConfig, out: TextIO, argv: Sequence[str] | None = None, waiting: StartWait | None = None) -> int:
    """Checks, prints what was found to ``out`` and what does not fit to standard error.

    Args:
        asked: The flags.
        out: Where to print.
        argv: The command line that they are from, to print that of the run.
        waiting: Waits for what is not there yet. ``None``: for as long as the flags say.

    Returns:
        0 if model, topics and flags fit and, of the records read, at least one can be scored; else 2.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.callback(STORE.close)  # a model in the worker that was loaded for this check
            config = _with_embedded(asked, stack)
            output = CheckOutput(out)
            _check(asked, config, output, argv, waiting or StartWait(config.wait_for_start_s))
        except ScoringError as error:
            out.flush()
            tell_error(error)
            return EXIT_DOES_NOT_FIT
    return EXIT_FITS


def _with_embedded(asked: CheckConfig, stack: contextlib.ExitStack) -> Config:
    """Starts the demo if no flag names a Kafka, and returns the config with its addresses."""
    if not asked.demo:
        return asked
    demo = stack.enter_context(Demo(asked, Status()))
    if asked.sample:
        publish_digits(demo.resolved.bootstrap_servers, asked.input_topics[0])
    return demo.resolved


def _check(asked: CheckConfig, config: Config, output: CheckOutput, argv: Sequence[str] | None, waiting: StartWait) -> None:
    if asked.guess_signature is not None:
        _guess_signature(asked, asked.guess_signature, config, waiting, output)
        return
    model, (topics, positions) = check_all(
        waiting,
        lambda: served(config, waiting),
        lambda: _look_at_topics(config, waiting),
        lambda: check_registry(config, waiting),
    )
    _show_model(model, config, output)
    _show_topics(topics, positions, config, output)
    decode, encode = formats(config, model, topics.max_value_bytes)
    decoder = decode.decoder()
    asked_for = "" if config.input_format == decoder.input_format else f" (--input_format={config.input_format})"
    if (schema := output_schema(config, model, waiting, register=False)) is not None:
        encode = dataclasses.replace(encode, schema=schema)
        made = f"id {schema.number}" if schema.number else "not registered by a check"
        output.lines("written", f"as {schema.format}, by a schema of subject {subject_of(config)} ({made})")
    output.lines("records", f"read as {decoder.input_format}{asked_for}")
    sample = asked.sample or int(asked.try_request)
    records = read_sample(kafka_config(config, "check"), positions, sample) if sample else []
    if not records:
        output.table(expected_rows(model.signature, decoder.has_fields, config.formats.features))
        if sample:
            output.lines("sample", "the topics have no records to look at")
        output.request(one_request(config, model, None), _address(config))
        _show_command(argv, topics, output)
        _refuse(topics.problems)
        return
    decoder, decoded = _decode(decode, records)
    judged = _judge(decoder, decoded)
    rows = sampled_rows(model.signature, records, decoded, judged, asked.show_values, config.formats)
    output.table(rows)
    _show_sample(records, decoded, model.signature.known, asked.try_request, output)
    if absent := carried_lines(decoded, config.formats.pass_through):
        output.lines("passed on", *absent)
    proposal, instead = propose(decode, decoder, decoded, judged), None
    if proposal is not None:
        output.lines("features", shell_word(f"--features={proposal.features}"), *proposal.notes)
    elif (instead := instead_of_text(decode, decoder, records)) is not None:
        output.lines("features", str(instead))
    elif len(decoded.failures) == len(records) and (hints := found_so_far(decode, judged)):
        output.lines("features", *hints)
    if len(decoded.failures) == len(records):
        if proposal is not None:
            _show_command(argv, topics, output, proposal.features)
        _refuse((*topics.problems, _nothing_fits(config, model, records, rows, proposal)))
    output.request(one_request(config, model, decoded), _address(config))
    if asked.try_request:
        try:
            output.lines("answer", try_request(config, model, decoded, encode, waiting.rest()))
        except ContractError as error:
            _refuse((*topics.problems, str(error)))
    _show_command(argv, topics, output, None if proposal is None else proposal.features, instead)
    _refuse(topics.problems)


def _guess_signature(asked: CheckConfig, file: Path, config: Config, waiting: StartWait, output: CheckOutput) -> None:
    """Writes the signature file. The model server is not asked: without this file it may have been refused."""
    _, (_, positions) = check_all(
        waiting, lambda: None, lambda: _look_at_topics(config, waiting), lambda: check_registry(config, waiting)
    )
    records = read_sample(kafka_config(config, "check"), positions, asked.sample or GUESSED_OF)
    if not records:
        raise ContractError("--guess_signature: the topics have no records to look at")
    decode, _ = formats(config, ModelMetadata("", "", UNKNOWN), None)
    signature, left_out, why = guess_signature(decode, records)
    file.write_text(write_signature(signature), encoding="utf-8")
    output.lines("signature", *(f"{name}: {spec}" for name, spec in signature.inputs.items()))
    if left_out:
        output.lines("left out", f"{counted(left_out, 'record')} of {len(records)} would be dead letters; the first, {why}")
    output.lines(
        "written",
        f"{file}, from {counted(len(records) - left_out, 'record')}; only the model's author knows whether its inputs are "
        "these: mend the names and dtypes, and add its outputs",
        f"then give {shell_word(f'--signature={file}')} in place of --guess_signature",
    )


def _show_command(
    argv: Sequence[str] | None,
    topics: Topics,
    output: CheckOutput,
    features: str | None = None,
    instead: Instead | None = None,
) -> None:
    """Prints the command of the run, with the ``--features`` that were found in it; and one that takes a field instead.

    It has ``--create_topics`` where only the output topic is missing. None is printed where something else is wrong.
    """
    if argv is None or (topics.problems and not topics.creatable):
        return

    def command_with(features: str | None) -> str:
        return run_command(argv, features, create_topics=topics.creatable)

    commands = [command_with(features)]
    if instead is not None and instead.image:
        commands = [command_with(instead.features), "or, with the whole record as it is:", *commands]
    elif instead is not None:
        commands += ["or, with that field:", command_with(instead.features)]
    notes = [f"put your own values in the place of {LEFT_OUT}, or write them as ${{ENV}}"] if LEFT_OUT in commands[0] else []
    output.lines("to run", *commands, *notes)


def _refuse(problems: Sequence[str]) -> None:
    """Raises what does not fit, once everything else has been shown."""
    if problems:
        raise ContractError("\n".join(problems))


def _decode(decode: DecodeConfig, records: list[KafkaRecord]) -> tuple[Decoder, DecodedChunk]:
    """Decodes as the run would, but waits for the schema registry no longer than one attempt of another check does."""
    retry = dataclasses.replace(decode.retry, deadline_s=min(ATTEMPT_S, decode.retry.deadline_s))
    decode = dataclasses.replace(decode, retry=retry, on_unavailable=FAIL)
    decoder = decode.decoder()
    if (lookup := decode.lookup(decoder, NoGuard())) is not None and decoder.schemas is not None:
        with contextlib.closing(lookup):
            lookup.teach(decoder.schemas, records)
    return decoder, decode_readable(decoder, records)


def _judge(decoder: Decoder, decoded: DecodedChunk) -> Judged | None:
    """Judges the fields of each record, except for records on which our own code raised: they are dead letters already."""
    sick = {row for row, it in decoded.failures.items() if it.error_class == DeadLetterClass.INTERNAL_ERROR.error_class}
    return decoder.judge([it._replace(value=None) if row in sick else it for row, it in enumerate(decoded.records)])


def _address(config: Config) -> str:
    """Where requests go, for protocols that tell no more of them."""
    return (
        f"none is sent: the model is in the worker ({shown(config.model)})"
        if config.model_in_worker
        else shown(config.model)
    )


def _look_at_topics(config: Config, waiting: StartWait) -> tuple[Topics, dict[Partition, Position]]:
    def look(timeout_s: float) -> tuple[Topics, dict[Partition, Position]]:
        topics = checker.topics(
            config.output_topic,
            config.dead_letter_topic,
            create=False,
            create_output=config.create_topics,
            timeout_s=timeout_s,
        )
        return _with_group(checker, topics, config), checker.positions(topics.partitions, config.start_from)

    with contextlib.closing(Checker(kafka_config(config, "check"))) as checker:
        return waiting.until_there("Kafka", look)


def _with_group(checker: Checker, topics: Topics, config: Config) -> Topics:
    """Adds what is wrong with the group to the problems, which are told after everything else."""
    try:
        checker.check_group(DEFAULT_GROUP, shared=config.allow_shared_group)
        if config.start_from == "committed":
            checker.check_retention(topics.partitions)
    except NotReadyError:
        raise
    except ContractError as error:
        return dataclasses.replace(topics, problems=(*topics.problems, str(error)), creatable=False)
    return topics


_ROWS = {
    True: "one value a row (declared)",
    False: "one value for the whole request (declared), repeated for each row unless --outputs leaves it out",
    None: "shape not declared: answers to requests of different sizes show whether it has one value a row",
}


def _show_model(model: ModelMetadata, config: Config, output: CheckOutput) -> None:
    signature = model.signature
    lines = [f"{model.model} version {model.version or '?'} ({shown(config.model)})"]
    if signature.known:
        lines.append(f"signature {signature.name} ({signature.method})")
        lines += [f"gives {name}: {spec}, {_ROWS[is_per_row(signature, name)]}" for name, spec in signature.outputs.items()]
    else:
        lines.append("the server publishes no signature")
    if not signature.outputs:
        wanted = f" (--outputs={','.join(config.outputs)})" if config.outputs else ""
        lines.append(f"its outputs are not declared{wanted}: the first answers show them, and which have one value a row")
    output.lines("model", *lines)


def _show_topics(topics: Topics, positions: dict[Partition, Position], config: Config, output: CheckOutput) -> None:
    lines = []
    for topic in config.input_topics:
        ours = [at for (name, _), at in positions.items() if name == topic]
        there, unread = sum(at.high - at.low for at in ours), sum(at.high - at.start for at in ours)
        lines.append(
            f"{topic}: {counted(len(ours), 'partition')}, {counted(there, 'offset')}, of which group {config.group_id} "
            f"would read {unread:,}"
        )
    said = {
        topic: f"{topic}{' (a run would make it)' if topic in topics.created else ''}"
        for topic in (config.output_topic, config.dead_letter_topic)
    }
    missing = " (missing)" if any(problem.startswith("--output_topic=") for problem in topics.problems) else ""
    lines.append(f"predictions to {said[config.output_topic]}{missing}, dead letters to {said[config.dead_letter_topic]}")
    output.lines("topics", *lines)


def _show_sample(
    records: Sequence[KafkaRecord], decoded: DecodedChunk, known: bool, tried: bool, output: CheckOutput
) -> None:
    failed = decoded.failures
    dead = f"; {len(failed):,} would be dead letters:" if failed else ""
    sent = len(records) - len(failed)
    lines = [f"{counted(len(records), 'record')} read, {sent:,} {'fit' if known else 'can be sent'}{dead}"]
    counts = collections.Counter(failure.error_class for failure in failed.values())
    for error_class, count in counts.most_common(MAX_FAILURES):
        row = min(row for row, failure in failed.items() if failure.error_class == error_class)
        topic, partition, offset = records[row][:3]
        lines.append(f"  {count:,} {error_class}, the first {topic}/{partition}/{offset}: {failed[row].message}")
    if not known:
        how = "the answer below is to one request of them" if tried else "--try sends one request and shows the answer"
        lines.append(f"whether they fit only the model can say, as its server publishes no signature: {how}")
    output.lines("sample", *lines)


def _nothing_fits(
    config: Config, model: ModelMetadata, records: Sequence[KafkaRecord], rows: Sequence[FieldRow], proposal: Proposal | None
) -> str:
    """Names the fields that fail most often, and failures of whole records if they are at least as frequent."""
    what = f"--input_topic={','.join(config.input_topics)}: none of the {len(records):,} records read fits {model.model}"
    most = max((row.wrong for row in rows if row.field != RECORD), default=0)
    problems = []
    for row in rows:
        if row.field == RECORD and row.wrong >= max(most, 1):
            problems.append(f"{what}: {row.verdict}")
        elif row.field != RECORD and row.wrong and row.wrong == most:
            problems.append(f"{what}: {row.field}: {row.verdict.removeprefix(f'{row.field}: ')}")
    if proposal is not None:
        problems.append(f"with the --features above {proposal.fits:,} of them {'fits' if proposal.fits == 1 else 'fit'}")
    return "\n".join(problems)
