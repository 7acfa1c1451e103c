"""Owns what the Kafka adapter decides without a broker: addresses, settings, topics, gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aiokafka", reason="aiokafka is not installed; to mend it: pip install 'queryscope[kafka]'")

from backbone.log.errors import LogMisconfigured
from backbone.log.kafka_read import split
from backbone.log.kafka_settings import KafkaSettings, addresses_of, connection, load_kafka_settings
from backbone.log.kafka_topics import Cluster, Described, configuration, incarnation_of
from schemas.summary import summary_key


def test_one_or_more_brokers_are_read_from_the_url() -> None:
    assert addresses_of("kafka://a.example:9092,127.0.0.1:19092") == ["a.example:9092", "127.0.0.1:19092"]
    assert addresses_of("kafka://[::1]:9092") == ["[::1]:9092"]


@pytest.mark.parametrize("url", ["kafka://", "kafka://host", "kafka://user:secret@host:1", "kafka://host:1/topic"])
def test_a_url_that_names_no_broker_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(LogMisconfigured, match="write kafka://host:9092"):
        addresses_of(url)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("REPLICATION", "0", "QUERYSCOPE_KAFKA_REPLICATION: Input should be greater than or equal to 1"),
        ("CA_FILE", "/nowhere.pem", "QUERYSCOPE_KAFKA_TLS must be true"),
        ("SASL_MECHANISM", "PLAIN", "go together"),
        ("SASL_MECHANISM", "GSSAPI", "QUERYSCOPE_KAFKA_SASL_MECHANISM: Input should be"),
        ("TOPIC_PREFIX", "a b", "QUERYSCOPE_KAFKA_TOPIC_PREFIX: String should match"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"QUERYSCOPE_KAFKA_{name}", value)
    with pytest.raises(LogMisconfigured, match=told) as error:
        load_kafka_settings()
    assert "\n" not in str(error.value)


def test_a_password_shows_neither_in_settings_nor_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SASL_MECHANISM", "PLAIN"), ("USERNAME", "u"), ("PASSWORD", "hidden")):
        monkeypatch.setenv(f"QUERYSCOPE_KAFKA_{name}", value)
    settings = load_kafka_settings()
    assert "hidden" not in repr(settings)
    made = connection(["h:1"], settings)
    assert (made["security_protocol"], made["sasl_plain_password"]) == ("SASL_PLAINTEXT", "hidden")


def test_certificates_and_host_names_are_checked() -> None:
    context = KafkaSettings(tls=True).tls_context()
    assert context is not None
    assert context.check_hostname
    assert connection(["h:1"], KafkaSettings(tls=True))["security_protocol"] == "SSL"


def test_two_replicas_must_have_a_record_where_there_are_three() -> None:
    settings = KafkaSettings(outcomes_retention_days=2)
    assert configuration("outcomes", settings, 3)["min.insync.replicas"] == "2"
    assert configuration("outcomes", settings, 1)["min.insync.replicas"] == "1"
    assert configuration("outcomes.dlq", settings, 1)["retention.ms"] == str(2 * 86_400_000)
    assert configuration("summaries.dlq", settings, 1)["cleanup.policy"] == "delete"


def test_the_incarnation_is_another_when_any_topic_or_the_cluster_is() -> None:
    def cluster(name: str, *ids: bytes) -> Cluster:
        topics = {topic: Described(topic_id, 1, True) for topic, topic_id in zip("ab", ids, strict=True)}
        return Cluster(name, 1, topics)

    first = cluster("c", b"1", b"2")
    assert incarnation_of(first, "ab") == incarnation_of(cluster("c", b"1", b"2"), "ab")
    others = [cluster("d", b"1", b"2"), cluster("c", b"3", b"2"), cluster("c", b"1", b"3")]
    assert len({incarnation_of(each, "ab") for each in [first, *others]}) == 4


@given(st.sets(st.integers(min_value=0, max_value=60)))
def test_batches_hold_every_record_at_its_offset_whatever_compaction_left(offsets: set[int]) -> None:
    values = {offset: b"%d" % offset for offset in sorted(offsets)}
    batches = split(values, 5)
    placed = [
        (batch.base_offset + index, line)
        for batch in batches
        for index, line in enumerate(batch.lines.split(b"\n"))
    ]  # fmt: skip
    assert placed == list(values.items())
    assert all(len(batch.lines.split(b"\n")) == batch.count and batch.partition == 5 for batch in batches)
    assert len(batches) == sum(offset - 1 not in offsets for offset in offsets)


def test_newlines_inside_a_record_do_not_make_two_of_it() -> None:
    (batch,) = split({3: b'{\n"a": 1}', 4: b"b"}, 0)
    assert (batch.count, batch.lines) == (2, b'{ "a": 1}\nb')


def test_a_summary_is_keyed_by_its_run() -> None:
    assert summary_key(b'{"id": "x", "run_id": "abc", "result": {"run_id": "other"}}') == b"abc"
