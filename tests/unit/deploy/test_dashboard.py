"""Owns that the dashboard and the alerts ask for metrics, tables and columns that exist, and that alerts fire."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

from backbone.database.tables import PUBLIC_PROJECTIONS
from backbone.telemetry import MetricName
from tests.unit.deploy.conftest import ROOT, Document, checked, load_yaml

METRICS = frozenset(get_args(MetricName))
COLUMNS = {table.name: frozenset(table.columns.keys()) for table in PUBLIC_PROJECTIONS}
DEPLOY = ROOT / "deploy"
SQL_WORDS = frozenset(
    {"and", "as", "asc", "by", "desc", "from", "in", "interval", "is", "join", "limit", "not", "null", "on", "or"}
    | {"order", "second", "select", "to_char", "to_timestamp", "where"}
)


@pytest.fixture(scope="module")
def dashboard() -> Document:
    loaded: Document = json.loads((DEPLOY / "grafana" / "queryscope.json").read_text())
    return loaded


def targets_of(dashboard: Document) -> Iterator[tuple[str, dict[str, Any]]]:  # Any: Grafana's own JSON
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target


def named_metrics(expression: str) -> set[str]:
    """The metrics of an expression; a histogram's buckets count as the histogram."""
    return {name.removesuffix("_bucket") for name in re.findall(r"\bqueryscope_\w+", expression)}


def strangers_in(sql: str) -> list[str]:
    """What a query names that is no public table or column; every column must be written as table.column."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\$\w+|\bAS\s+\w+", " ", sql)
    wrong = []
    for table, column in re.findall(r"\b([A-Za-z_]\w*)(?:\.(\w+))?", text):
        known = column in COLUMNS.get(table, ()) if column else table in COLUMNS or table.lower() in SQL_WORDS
        if not known:
            wrong.append(f"{table}.{column}" if column else table)
    return wrong


def test_panels_name_metrics_that_exist_and_leave_none_out(dashboard: Document) -> None:
    shown = [(title, named_metrics(target["expr"])) for title, target in targets_of(dashboard) if "expr" in target]
    for title, names in shown:
        assert names, title
        assert names <= METRICS, title
    assert set().union(*(names for _, names in shown)) == METRICS


def test_panels_read_public_tables_and_columns_alone(dashboard: Document) -> None:
    queries = [target["rawSql"] for _, target in targets_of(dashboard) if "rawSql" in target]
    queries += [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    assert len(queries) >= 7
    for query in queries:
        assert strangers_in(query) == [], query


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT runs.p98_ms FROM runs", ["runs.p98_ms"]),
        ("SELECT outbox.id FROM outbox", ["outbox.id", "outbox"]),
        ("SELECT secret FROM runs", ["secret"]),
        ("SELECT runs.p99_ms AS p99 FROM runs WHERE runs.run_id = 'window'", []),
    ],
)
def test_the_check_itself_sees_what_is_not_public(sql: str, found: list[str]) -> None:
    assert strangers_in(sql) == found


def test_panels_ask_the_sources_that_are_provisioned(dashboard: Document) -> None:
    [sources] = load_yaml((DEPLOY / "grafana/provisioning/datasources/queryscope.yaml").read_text())
    known = {each["uid"]: each["type"] for each in sources["datasources"]}
    for title, target in targets_of(dashboard):
        assert known[target["datasource"]["uid"]] == target["datasource"]["type"], title


def test_panels_do_not_cover_each_other(dashboard: Document) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_readers_role_sees_the_public_tables_and_nothing_else() -> None:
    sql = (DEPLOY / "grafana" / "reader.sql").read_text()
    [granted] = re.findall(r"GRANT (?P<what>.*) TO queryscope_reader;", sql)
    assert granted == f"SELECT ON {', '.join(COLUMNS)}"


def test_alerts_name_metrics_that_exist_and_have_a_section_in_the_runbook() -> None:
    [file] = load_yaml((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    rules = [rule for group in file["groups"] for rule in group["rules"]]
    runbook = (ROOT / "docs" / "operations.md").read_text()
    sections = set(re.findall(r"^### (\w+)$", runbook, flags=re.MULTILINE))
    assert sections == {rule["alert"] for rule in rules}
    for rule in rules:
        assert named_metrics(rule["expr"]) <= METRICS, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_each_alert_fires_where_it_should_and_a_system_that_works_is_quiet(tool: Callable[[str], str]) -> None:
    promtool, folder = tool("promtool"), DEPLOY / "prometheus"
    checked(promtool, "check", "config", folder / "prometheus.yaml")
    checked(promtool, "test", "rules", folder / "alerts_test.yaml")
    [file] = load_yaml((folder / "alerts.yaml").read_text())
    [_, wrong] = load_yaml((folder / "alerts_test.yaml").read_text())[0]["tests"]
    fired = re.findall(r'alertname="(\w+)"', str(wrong["promql_expr_test"]))
    assert set(fired) == {rule["alert"] for group in file["groups"] for rule in group["rules"]}
