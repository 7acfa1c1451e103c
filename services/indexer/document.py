"""Owns how a finished run is worded and turned into a search document. It must not know the index."""

import functools

from jinja2 import Template
from jinja2.sandbox import SandboxedEnvironment

from backbone.search.embedding import embed_text, fingerprint
from backbone.search.port import SearchDocument
from schemas.results import RunResult
from schemas.summary import RunSummary

SUMMARY_TEMPLATE = """\
{{ r.name }} against {{ r.target }}: {{ r.verdict or r.status }}.
Load {{ r.load.kind }}{% if r.load.intended_rps %} at {{ r.load.intended_rps | figure }}/s{% endif -%}
{% if r.load.concurrency %} with {{ r.load.concurrency }} connections{% endif %} for {{ m.duration_s | figure }} s.
{{ m.requests }} requests, {{ m.throughput_rps | figure }}/s, {{ (100 * m.error_rate) | figure }}% failed.
Latency p50 {{ m.latency_ms.p50 | figure }} ms, p95 {{ m.latency_ms.p95 | figure }} ms, \
p99 {{ m.latency_ms.p99 | figure }} ms, max {{ m.latency_ms.max | figure }} ms.
{% for status, count in m.by_status | dictsort %}status {{ status }}: {{ count }}. {% endfor -%}
{% for error, count in m.by_error | dictsort %}error {{ error }}: {{ count }}. {% endfor %}
{% for s in r.sla %}{{ s.expression }}: {{ s.status }}. {% endfor -%}
{% for reason in r.validity.reasons %}not valid: {{ reason }}. {% endfor -%}
{% if r.regression %}against its baseline: {{ r.regression.verdict }}. {% endif -%}
{% for key, value in r.labels | dictsort %}{{ key }}={{ value }} {% endfor %}
"""


def document_of(summary: RunSummary) -> SearchDocument:
    """The search document of a run. Its version is the summary's time, so that a later summary wins."""
    result = summary.result
    text = render_summary(result)
    fields = {"name": result.name, "target": result.target, "status": result.status, "verdict": result.verdict or ""}
    fields |= {f"label.{key}": value for key, value in result.labels.items()}
    return SearchDocument(
        run_id=result.run_id,
        version=summary.at,
        text=text,
        embedding=embed_text(text),
        fingerprint=fingerprint(result),
        fields=fields,
        started_at_us=summary.at,
    )


def render_summary(result: RunResult) -> str:
    """The run in plain words; blank lines are left out."""
    text = _template().render(r=result, m=result.metrics)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@functools.cache
def _template() -> Template:
    environment = SandboxedEnvironment(autoescape=False)
    environment.filters["figure"] = _figure
    return environment.from_string(SUMMARY_TEMPLATE)


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
