"""Mutations that once survived, or that a guarantee rests on."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Mutation:
    """One change of the code that a test must notice.

    Attributes:
        name: What is broken by it.
        path: The file.
        old: Text that occurs once in it.
        new: What stands there instead.
        test: The test that must fail, as pytest names it.
    """

    name: str
    path: str
    old: str
    new: str
    test: str


_CONSUMER = "transforms/kafka/native/consumer.py"
_COMMITS = "transforms/kafka/native/commits.py"
_SESSION = "transforms/kafka/native/session.py"
_BUNDLE = "transforms/kafka/native/bundle.py"
_DOFN = "transforms/predict/dofn.py"
_DISPATCH = "transforms/predict/dispatch.py"
_REPLAY = "transforms/kafka/dead_letters/writing.py"
_SAGEMAKER = "transforms/clients/sagemaker/"

KNOWN = (
    Mutation(
        "a body goes to SageMaker that was not signed", _SAGEMAKER + "signing.py",
        "url=url, data=body, headers", "url=url, data=b'', headers",
        "tests/clients/sagemaker/test_client.py::test_json_signed_and_the_variant_that_answered",
    ),
    Mutation(
        "headers go to SageMaker that were not signed", _SAGEMAKER + "signing.py",
        "data=body, headers=headers)", 'data=body, headers={"Content-Type": headers["Content-Type"]})',
        "tests/clients/sagemaker/test_client.py::test_json_signed_and_the_variant_that_answered",
    ),
    Mutation(
        "a request above SageMaker's limit is sent", _SAGEMAKER + "client.py",
        "        check_size(self._where, len(body.content), rows, MOST_BYTES)\n", "",
        "tests/clients/sagemaker/test_client.py::test_a_request_above_the_limit_is_not_sent",
    ),
    Mutation(
        "a request waits for SageMaker longer than SageMaker waits for the container", _SAGEMAKER + "client.py",
        "Deadline(min(timeout_s, MOST_WAIT_S))", "Deadline(timeout_s)",
        "tests/clients/sagemaker/test_client.py::test_no_request_waits_much_longer_than_sagemaker_does",
    ),
    Mutation(
        "credentials of SageMaker that were refused are sent again", _SAGEMAKER + "client.py",
        "            if found != used:", "            if True:",
        "tests/clients/sagemaker/test_credentials.py::test_the_same_ones_again_are_not_sent_again",
    ),
    Mutation(
        "credentials of SageMaker that have expired are kept", _SAGEMAKER + "client.py",
        "            self._credentials.refused(used)\n", "",
        "tests/clients/sagemaker/test_credentials.py::test_a_client_goes_on_when_its_credentials_have_expired",
    ),
    Mutation(
        "a record is refused where SageMaker throttles", _SAGEMAKER + "errors.py",
        "    if name in _THROTTLED:", "    if False:", "tests/clients/sagemaker/test_errors.py::test_each_class",
    ),
    Mutation(
        "a batch above SageMaker's limit is refused, not halved", _SAGEMAKER + "errors.py",
        "RequestTooLargeError if _LENGTH.search(text) else RejectedError", "RejectedError",
        "tests/clients/sagemaker/test_errors.py::test_each_class",
    ),
    Mutation(
        "SageMaker is taken for down where its container failed on a record", _SAGEMAKER + "errors.py",
        '_RULES = (text_rule("500", "", ModelFailedError),)', "_RULES = ()",
        "tests/clients/sagemaker/test_errors.py::test_each_class",
    ),
    Mutation(
        "a Protobuf field of predictions gets another number in the next version", "transforms/formats/protobuf_file.py",
        "numbers.get(field.identifier) or next(fresh)", "next(fresh)", "tests/formats/test_output_schema.py",
    ),
    Mutation(
        "a prediction has the header of its input's schema", "transforms/encode/encoder.py",
        "ON_PREDICTIONS | {VALUE_HEADER}", "ON_PREDICTIONS", "tests/formats/test_framed.py",
    ),
    Mutation(
        "a frame that is cut short in a header takes its rest from the value", "transforms/formats/frame.py",
        "    if len(frame) < end:", "    if False:", "tests/formats/test_framed.py",
    ),
    Mutation(
        "one replica of a name gets everything over gRPC", "transforms/clients/wire/grpc.py",
        '("grpc.lb_policy_name", "round_robin")', '("grpc.lb_policy_name", "pick_first")',
        "tests/clients/wire/test_replicas.py",
    ),
    Mutation(
        "a request fails at the end of a gRPC connection", "transforms/clients/wire/grpc.py",
        '("grpc.enable_retries", 1)', '("grpc.enable_retries", 0)',
        "tests/clients/wire/test_replicas.py::test_what_a_server_has_not_taken_is_sent_again",
    ),
    Mutation(
        "this machine is asked through a proxy", "transforms/clients/wire/proxies.py",
        "    if _is_here(host):", "    if False:", "tests/clients/wire/test_proxies.py",
    ),
    Mutation(
        "a --signature that contradicts the server's is taken", "transforms/clients/declared.py", "    if differences:",
        "    if False:", "tests/clients/test_declared.py",
    ),
    Mutation(
        "a JSON answer of another length than the request is taken", "transforms/clients/json_bodies/answers.py",
        "if len(found) != rows:", "if False:", "tests/clients/json_bodies/test_answers.py",
    ),
    Mutation(
        "a message of MLflow's has the rows of the request", "transforms/clients/mlflow/errors.py",
        "found = _AROUND_ROWS.match(message)", "found = None", "tests/clients/mlflow/test_client.py",
    ),
    Mutation(
        "a message about a prompt has a value of the record", "transforms/formats/template_sandbox.py",
        'name if name in names else "a field that another one names"', "name", "tests/formats/test_prompt.py",
    ),
    Mutation(
        "a group's first offsets are not committed before it reads", "transforms/kafka/native/starts.py",
        "self._commit_first(first)", "pass", "tests/kafka/native/test_starts.py",
    ),
    Mutation(
        "an offset of a former topic is gone on from", "transforms/kafka/committed.py",
        "tp.offset = ck.OFFSET_INVALID", "pass", "tests/kafka/native/test_input_lost.py",
    ),
    Mutation(
        "another cluster's offsets count for nothing", "transforms/kafka/committed.py",
        "ours[2] == theirs[2] and ", "", "tests/kafka/test_committed.py",
    ),
    Mutation(
        "a commit names no topic", "transforms/kafka/commit_metadata.py",
        "[_TOPIC + identity] * bool(identity)", "[]", "tests/kafka/native/test_input_lost.py",
    ),
    Mutation(
        "nobody looks at the topics", _CONSUMER, "            self._before_reading()\n", "            pass\n",
        "tests/kafka/native/test_input_lost.py",
    ),
    Mutation(
        "a bundle is committed on an old answer", _SESSION, "self.reader.confirm()", "pass",
        "tests/kafka/native/test_input_lost.py",
    ),
    Mutation(
        "a lost input is read on by the same consumer", _CONSUMER, "if self._lost is None:\n            self.rewind",
        "if True:\n            self.rewind", "tests/kafka/native/test_input_lost.py",
    ),
    Mutation(
        "a topic made again during a rollback ends the job", "transforms/kafka/native/rollbacks.py",
        "except InputLostError as error:", "except ZeroDivisionError as error:", "tests/kafka/native/test_input_lost.py",
    ),
    Mutation(
        "an abort that Kafka does not take passes for one", "transforms/kafka/native/transactional.py",
        "                self._start_anew(error)\n                raise\n            self._begun_at = None\n",
        "                self._start_anew(error)\n            self._begun_at = None\n",
        "tests/kafka/native/test_exactly_once.py::test_exactly_once",
    ),
    Mutation(
        "what may be committed is read again", "transforms/kafka/native/rollbacks.py",
        "self._reader.rewind_to_committed if unknown else", "", "tests/kafka/native/test_exactly_once.py::test_exactly_once",
    ),
    Mutation(
        "a transaction that hangs is nobody's", "transforms/kafka/native/transactional.py",
        "raise self._lost(\"the transaction hangs, although Kafka answers\", error)",
        "raise OutcomeUnknownError(\"the transaction hangs, although Kafka answers\")", "tests/kafka/native/test_session.py",
    ),
    Mutation(
        "a hostile answer has as long as it likes", "transforms/formats/bounded_patterns.py",
        "text, timeout=self._left_s", "text[:40]", "tests/formats/test_answer_schema.py",
    ),
    Mutation(
        "a turn given back leaves a burst", "transforms/predict/turns.py", "min(turn.at, now)", "0.0",
        "tests/predict/test_pace.py",
    ),
    Mutation(
        "a partition that comes back stays paused", _CONSUMER, "self._set_fetching(added)", "pass",
        "tests/kafka/native/test_waiting.py",
    ),
    Mutation(
        "a lost partition is counted with the commit under way", _COMMITS,
        "self.bundle.forget(partition)\n        self.offsets.pop(partition, None)", "self.bundle.forget(partition)",
        "tests/kafka/native/test_states.py",
    ),
    Mutation(
        "a lost partition counts as committed", _COMMITS,
        "self.offsets.pop(partition, None)\n        if self.underway", "if self.underway",
        "tests/kafka/native/test_input_lost.py",
    ),
    Mutation(
        "a lost partition is sought back", _COMMITS, "self.bundle.forget(partition)", "pass",
        "tests/kafka/native/test_states.py",
    ),
    Mutation(
        "a commit that failed for good is passed over", _SESSION,
        "if self.state is State.COMMITTING:\n            self.finish", "if False:\n            self.finish",
        "tests/kafka/native/test_states.py",
    ),
    Mutation(
        "a fenced worker is started again", "pipeline/worker.py",
        "FencedError: EXIT_FENCED, ", "",
        "tests/pipeline/test_worker.py",
    ),
    Mutation(
        "a server outlives its killed parent", "transforms/child_process.py", 'kill -9 "$1"', "true",
        "tests/test_child_process.py",
    ),
    Mutation(
        "lag below 0", "transforms/kafka/admin/lag.py", "max(0, ends[partition] - position)",
        "ends[partition] - position", "tests/kafka/admin/test_progress.py",
    ),
    Mutation(
        "reading does not wait", _DOFN, "while self._is_full():", "while False:",
        "tests/predict/test_dofn.py::test_reading_waits_while_many_batches_are_in_flight",
    ),
    Mutation(
        "large records in flight are not bounded", _DOFN, " or self._holds_too_much()", "",
        "tests/predict/test_dofn.py::test_reading_waits_while_the_records_in_flight_are_large",
    ),
    Mutation(
        "a request of large records is not bounded", "transforms/predict/batching.py",
        "if size > self._most_bytes and (batch.rows or at):", "if False:", "tests/predict/test_batching.py",
    ),
    Mutation(
        "a record larger than a request has no place", "transforms/predict/batching.py",
        "if size > self._most_bytes and (batch.rows or at):", "if size > self._most_bytes:",
        "tests/predict/test_batching.py",
    ),
    Mutation(
        "a bundle is not bounded by bytes", "transforms/kafka/native/polling.py", "if read and left <= 0:", "if False:",
        "tests/kafka/native/test_polling.py",
    ),
    Mutation(
        "outputs do not count in a bundle's bytes", "transforms/kafka/native/polling.py", " - kafka.output_bytes", "",
        "tests/kafka/native/test_polling.py",
    ),
    Mutation(
        "the outputs of the commit under way count for nothing", _SESSION,
        "underway.bundle.output_bytes if underway is not None else 0", "0", "tests/kafka/native/test_session.py",
    ),
    Mutation(
        "a commit covers carried records", _BUNDLE, "            self.next[partition] = offset\n", "            pass\n",
        "tests/kafka/native/test_exactly_once.py::test_exactly_once",
    ),
    Mutation(
        "of carried records the last one of a partition counts as the first", _BUNDLE,
        "list(records)[::-1]", "list(records)",
        "tests/kafka/native/test_exactly_once.py::test_exactly_once",
    ),
    Mutation(
        "a position past carried records is committed", _SESSION, "self.reader.owned - set(self._bundle.left_over.first)",
        "self.reader.owned", "tests/kafka/native/test_carrying.py",
    ),
    Mutation(
        "carried records that were rolled back are answered all the same", _SESSION,
        "self.state is not State.VOID and self._bundle.take_over(carried)", "self._bundle.take_over(self._bundle.inherited)",
        "tests/kafka/native/test_exactly_once.py::test_exactly_once",
    ),
    Mutation(
        "a rollback leaves carried records out", _BUNDLE, "return Bundle(dict(carried.first), ", "return Bundle({}, ",
        "tests/kafka/native/test_exactly_once.py::test_exactly_once",
    ),
    Mutation(
        "carried records are committed under a later generation", _BUNDLE, "carried.count, self.group, fresh",
        "carried.count, None, fresh", "tests/kafka/native/test_carrying.py",
    ),
    Mutation(
        "nobody notices that another copy of the stage has carried records", _BUNDLE,
        "return self.taken_over or not self.inherited.count", "return True", "tests/kafka/native/test_carrying.py",
    ),
    Mutation(
        "a bundle that commits nothing carries", _BUNDLE, "self.leaves_more and self.written > 0 and ",
        "self.leaves_more and ", "tests/kafka/native/test_carrying.py",
    ),
    Mutation(
        "a bundle that has read all there was carries", _BUNDLE, "self.leaves_more and self.written > 0",
        "self.written > 0", "tests/kafka/native/test_carrying.py",
    ),
    Mutation(
        "a job is over before carried records are answered", "transforms/kafka/native/polling.py",
        "return self._ending and not kafka.inherited.count", "return self._ending",
        "tests/kafka/native/test_polling_ends.py",
    ),
    Mutation(
        "carried records are free in the budget again", "transforms/kafka/native/polling.py",
        "kafka.commits.take_count(), kafka.inherited.count)", "kafka.commits.take_count())",
        "tests/kafka/native/test_exactly_once.py::test_a_budget_is_kept_to_the_record",
    ),
    Mutation(
        "chunks that were rolled back are emitted all the same", _DOFN,
        "if inherited is not None and not self._carrier.take_over(inherited):", "if False:",
        "tests/predict/test_carrying.py",
    ),
    Mutation(
        "a bundle's last answers are waited for", _DOFN, "if not self._requests.in_flight or self._carry():",
        "if not self._requests.in_flight:", "tests/predict/test_carrying.py",
    ),
    Mutation(
        "what is complete waits for the bundle's end", _DOFN,
        "                return\n            yield from self._complete()\n\n", "                return\n\n",
        "tests/predict/test_dofn.py::test_reading_waits_while_many_batches_are_in_flight",
    ),
    Mutation(
        "more in flight is kept though it brings nothing", "transforms/predict/adaptive_limit.py",
        "DOWN_LEFT if self._downwards else UP_GAIN", "DOWN_LEFT",
        "tests/predict/test_adaptive_limit.py",
    ),
    Mutation(
        "a contract that changed makes dead letters", _DISPATCH,
        "if not unproven and found.verdict is not Verdict.WORKS:", "if False:",
        "tests/predict/test_contract.py",
    ),
    Mutation(
        "the server may refuse every record before it has answered one", _DISPATCH,
        "if self._unproven >= UNPROVEN_MOST:", "if False:", "tests/predict/test_contract.py",
    ),
    Mutation(
        "a bisection asks for what it knows already", "transforms/predict/bisection.py",
        "if span.searched or not alarms.reliable:", "if True:",
        "tests/predict/test_cost_of_guilty_rows.py::test_requests_with_one_percent_of_guilty_rows_among_many_batches",
    ),
    Mutation(
        "a row is guilty after one failure", "transforms/predict/trials.py",
        "suspect.span.strikes >= self._alarms.strikes_in_trial()", "suspect.span.strikes >= 1",
        "tests/predict/test_innocent_rows.py",
    ),
    Mutation(
        "outputs of a transaction that was open for too long are lost", "transforms/kafka/native/outputs.py",
        "if not self._mend(bundle):\n            bundle.buffered = list(bundle.outputs)", "self._mend(bundle)",
        "tests/kafka/native/test_waiting.py",
    ),
    Mutation(
        "a new producer of a shard on Flink fences whoever has gone on", "transforms/kafka/native/claims.py",
        "    _check_held(config, reader.starts(sorted(held), commit_first=False), held)\n", "",
        "tests/kafka/native/test_fenced_shard.py",
    ),
    Mutation(
        "a comparison that proves little is a verdict", "transforms/predict/comparisons.py",
        "if strikes >= LEAST_STRIKES and _by_chance(strikes, self._answered - answered) <= FALSE_VERDICT:",
        "if strikes >= LEAST_STRIKES:", "tests/predict/test_comparisons.py",
    ),
    Mutation(
        "a comparison forgets that the known-good row failed", "transforms/predict/comparisons.py",
        "if self._failed > failed or not", "if not", "tests/predict/test_comparisons.py",
    ),
    Mutation(
        "one acquittal leaves a cause proven", "transforms/predict/causes.py",
        "self._of(error).guilty = -math.inf", "self._of(error).guilty -= 1", "tests/predict/test_causes.py",
    ),
    Mutation(
        "a later bundle that is final commits an earlier one that is not", "transforms/kafka/native/finalised.py",
        "while self._bundles and self._bundles[0].final:", "while any(bundle.final for bundle in self._bundles):",
        "tests/kafka/native/test_finalised.py",
    ),
    Mutation(
        "a bundle that the runner runs again goes on behind its records", "transforms/kafka/native/alone.py",
        "if self._next is not None and number != self._next:", "if False:", "tests/kafka/native/test_alone.py",
    ),
    Mutation(
        "a revoked partition is committed with its outstanding bundle", "transforms/kafka/native/alone.py",
        "            self._outstanding.forget(change.removed)\n", "", "tests/kafka/native/test_alone.py",
    ),
    Mutation(
        "a replay goes on with a ledger that another one has written to", _REPLAY,
        "        super()._initialize()\n        self.ledger_is_old = True", "        super()._initialize()",
        "tests/kafka/dead_letters/test_writing.py",
    ),
    Mutation(
        "a replay whose commit was not heard of is written again", _REPLAY, "                self._drop_replayed(bundle)\n",
        "", "tests/kafka/dead_letters/test_writing.py",
    ),
    Mutation(
        "what was replayed before is replayed again", _REPLAY,
        " if place not in self._ledger}\n        self._refused", "}\n        self._refused",
        "tests/kafka/dead_letters/test_writing.py",
    ),
    Mutation(
        "a record that its topic refuses counts as replayed", _REPLAY,
        "if id(output) not in refused), *self._entries()]", "if id(output) not in refused), *outputs[len(pairs) :]]",
        "tests/kafka/dead_letters/test_writing.py",
    ),
    Mutation(
        "a record whose headers were left out circles", "transforms/kafka/dead_letters/letter.py",
        "max(letter.replays, replays_of(record.headers))", "letter.replays", "tests/kafka/dead_letters/test_letter.py",
    ),
    Mutation(
        "a producer that is replaced takes back the fence that another shard has set",
        "transforms/kafka/native/session_claims.py",
        "        self._writer.under_claim(self.claim_again)\n", "",
        "tests/kafka/native/test_two_owners.py::test_worlds_that_double_without_a_part_hold_with_it",
    ),
    Mutation(
        "a drained shard whose timer fires with the drain goes on for ever", "transforms/kafka/native/moving_loop.py",
        "if drained.read() or key >= self._shards:", "if key >= self._shards:", "tests/kafka/native/test_moving_loop.py",
    ),
)  # fmt: skip
