"""The alert rules and the dashboard: each metric and label in them is one of ours; ``promtool`` accepts and tests them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.reporting.collector import registry_of
from pipeline.reporting.lag import Lag
from tests.pipeline.reporting.test_collector import stats

DEPLOY = Path(__file__).parents[3] / "deploy"
PROMETHEUS, DASHBOARD = DEPLOY / "prometheus", DEPLOY / "grafana" / "dashboard.json"
ALERTS, CASES = PROMETHEUS / "alerts.yml", PROMETHEUS / "alerts_test.yml"

OF_PROMETHEUS = {"up": set[str]()}
"""Metrics that Prometheus itself makes of a scrape."""

SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds to every metric."""

FUNCTIONS = {"sum", "max", "min", "count", "rate", "increase", "deriv", "changes", "histogram_quantile", "time"}
WORDS = {"by", "and", "or", "unless", "on", "ignoring"}


def ours() -> dict[str, set[str]]:
    """Every name that a sample of ours may have, and its labels. A gauge is there while it has something to tell."""
    worker = stats()
    worker.holding("down")
    found = dict(OF_PROMETHEUS)
    for family in registry_of(worker.rows, lambda: Lag({("in", 0): 1})).collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Where each query stands, and the query."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        yield from ((f"panel {panel['title']!r}", target["expr"]) for target in panel["targets"])
    for variable in json.loads(DASHBOARD.read_text(encoding="utf-8"))["templating"]["list"]:
        if variable["type"] == "query":
            yield (
                f"variable {variable['name']}",
                re.sub(r"label_values\((.+), (\w+)\)", r"sum by (\2) (\1)", variable["definition"]),
            )


def used(expression: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels that a query names."""
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    for by in re.findall(r"\bby \(([^)]*)\)", expression):
        labels.update(name.strip() for name in by.split(","))
    rest = re.sub(r"\bby \([^)]*\)|\{[^}]*\}|\[[^\]]*\]", " ", expression)
    return set(re.findall(r"\b[a-zA-Z_]\w*", rest)) - FUNCTIONS - WORDS, labels


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_and_label_of_a_query_is_one_of_ours(where: str, expression: str) -> None:
    known = ours()
    metrics, labels = used(expression)
    assert metrics, where
    assert metrics <= known.keys(), where
    assert labels <= SCRAPED.union(*(known[name] for name in metrics)), where


def test_a_metric_that_is_not_there_would_be_found() -> None:
    expression = 'sum by (job, clas) (rate(scoring_latency_ms{job="x"}[5m])) / scoring_records'
    assert used(expression) == ({"scoring_latency_ms", "scoring_records"}, {"job", "clas"})
    assert not {"scoring_latency_ms", "scoring_records"} & ours().keys()


def test_every_alert_is_tested_where_it_fires_and_where_it_does_not() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_every_alert_says_what_is_so_and_what_to_do() -> None:
    how_to = (DEPLOY.parent / "docs" / "how-to" / "monitor.md").read_text(encoding="utf-8")
    for rule in alerts():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert f"`{rule['alert']}`" in how_to, "what to do about it"


def test_the_dashboards_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len({panel["title"] for panel in panels()}) == len(panels())


# ---------------------------------------------------------------------- by Prometheus' own tool


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here; Debian has it in the package prometheus")
    return found


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_of_a_configuration_and_its_rules_are_valid(promtool: str) -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in run(promtool, "check", "config", "prometheus.yml")


def test_the_alerts_fire_and_stay_silent_as_they_should(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", CASES.name)


def test_the_queries_of_the_dashboard_are_valid(promtool: str, tmp_path: Path) -> None:
    """As rules that record them, with Grafana's variables filled in."""
    filled = [
        expression.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
        for where, expression in expressions()
        if where.startswith(("panel", "variable"))
    ]
    rules = [{"record": f"query:{number}", "expr": expression} for number, expression in enumerate(filled)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"SUCCESS: {len(rules)} rules found" in run(promtool, "check", "rules", path)
