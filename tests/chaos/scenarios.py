"""All scenarios, in the order in which they are played. A new one is a row here."""

from __future__ import annotations

from tests.chaos import brokers, clock, inputs, processes, servers, stopping
from tests.chaos.scenario import EXACTLY_ONCE, Scenario
from transforms.testing.tfserving_rest_stub import TfServingRestStub

ONCE_MORE = ("--request_timeout_ms=2000",)
"""What hangs is asked again soon."""

SCENARIOS = (
    Scenario("kill", "kill -9 of the only process", processes.kill_one, (50, 3)),
    Scenario("kill-one-of-two", "kill -9 of one of two processes of a group", processes.kill_one_of_two, (50, 2),
             flags=processes.SHORT_TIMES, partitions=4),
    Scenario("kill-both", "kill -9 of both processes of a group", processes.kill_both, (20, 2),
             flags=processes.SHORT_TIMES, partitions=4, quick=False),
    Scenario("kill-worker", "`--workers=2`: kill -9 of a worker", processes.kill_workers, (50, 2),
             flags=processes.SHORT_TIMES, partitions=4),
    Scenario("kill-parent", "`--workers=2`: kill -9 of the parent", processes.kill_parent, (50, 2),
             flags=processes.SHORT_TIMES, partitions=4, quick=False),
    Scenario("suspend", "SIGSTOP past all time-outs, then SIGCONT, of one of two processes", processes.suspend, (10, 1),
             flags=processes.SHORT_TIMES, partitions=4),
    Scenario("signals", "SIGTERM, Ctrl-C or a second signal in every state, also with `--workers=2`", stopping.ask_to_end,
             (30, 5), partitions=4, quick=False),
    Scenario("clock", "the wall clock an hour ahead, an hour behind", clock.jump, (10, 2)),
    Scenario("broker-restarts", "the only broker killed or shut down, and back", brokers.restart, (20, 2)),
    Scenario("broker-away", f"the only broker killed, and away for {brokers.AWAY_S} s", brokers.away_for_long, (1, 1),
             records=(50_000, 20_000), quick=False),
    Scenario("coordinators", "of three brokers: leaders, group and transaction coordinator killed", brokers.coordinators,
             (12, 4), flags=(f"--instance_id={brokers.INSTANCE}",), quick=False),
    Scenario("disk-full", "the broker's disk full, until there is room again", brokers.disk_full, (2, 1),
             records=(20_000, 5_000), quick=False),
    Scenario("server-restarts", "model server away for 1 s", servers.in_mid_stream(servers.restart), (10, 2)),
    Scenario("server-hangs", "ten requests never answered", servers.in_mid_stream(servers.hang), (5, 1), flags=ONCE_MORE),
    Scenario("unavailable", "UNAVAILABLE for 20 s", servers.in_mid_stream(servers.unavailable), (5, 1), quick=False),
    Scenario("overloaded", "RESOURCE_EXHAUSTED for 3 s", servers.in_mid_stream(servers.overloaded), (10, 1)),
    Scenario("cut", "connections cut for 20 requests", servers.in_mid_stream(servers.cut), (20, 2)),
    Scenario("answers-cut", f"{servers.CUT_ANSWERS} answers cut in the middle, over gRPC", servers.cut_answers, (20, 2)),
    Scenario("answers-cut-http", f"{servers.CUT_ANSWERS} answers cut in the middle, over HTTP", servers.cut_answers, (20, 2),
             server=TfServingRestStub, quick=False),
    Scenario("wrong-rows", "10 answers a row short, 10 a row long, 10 unreadable", servers.in_mid_stream(servers.wrong_rows),
             (10, 1)),
    Scenario("versions", "another model version", servers.in_mid_stream(servers.another_version), (20, 3)),
    Scenario("slow", "2 s an answer, transaction time-out 10 s", servers.slow, (1, 1), records=(3_000, 500),
             flags=("--kafka_config=transaction.timeout.ms=10000",), deliveries=(EXACTLY_ONCE,)),
    Scenario("poison-refused", "1% of the records answered with INVALID_ARGUMENT",
             servers.poison("INVALID_ARGUMENT", "not a value", "Rejected"), (1, 1)),
    Scenario("poison-crash", "1% of the records answered with INTERNAL",
             servers.poison("INTERNAL", "the model raised", "ServerError"), (1, 1)),
    Scenario("poison-unknown", "1% of the records answered with UNKNOWN",
             servers.poison("UNKNOWN", "Exception calling application: 1/0", "ServerError"), (1, 1),
             quick=False),
    Scenario("poison-http-500", "1% of the records answered with HTTP 500, over REST",
             servers.poison("INTERNAL", "the model raised", "ServerError"), (1, 1), server=TfServingRestStub, quick=False),
    Scenario("poison-cut", "1% of the records cut the connection", servers.poison_that("hang_up", "ServerError"), (1, 1),
             quick=False),
    Scenario("partitions-added", "input topic gets one more partition", inputs.add_partitions, (5, 1),
             flags=("--kafka_config=topic.metadata.refresh.interval.ms=1000",)),
    Scenario("aborted-input", "aborted transactions in the input", inputs.aborted_transactions, (20, 2)),
    Scenario("compaction", "log compaction of the input while it is read", inputs.compaction, (10, 2)),
    Scenario("retention", "records deleted before they are read", inputs.retention, (3, 1), quick=False),
)  # fmt: skip
