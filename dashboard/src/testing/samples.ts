/** Owns whole records for tests, so that a test names only what it is about. The page must not use it. */

import type { Distribution, Metrics, RunResult, TimelineRow } from "../model/results";

const NO_LATENCY: Distribution = { count: 0, mean: null, p50: null, p90: null, p95: null, p99: null, p999: null, max: null };

export function sampleRow(window: number, change: Partial<TimelineRow> = {}): TimelineRow {
  return {
    window,
    requests: 10,
    failed: 0,
    cancelled: 0,
    throughput_rps: 10,
    error_rate: 0,
    latency_p50_ms: 5,
    latency_p95_ms: 8,
    latency_p99_ms: 9,
    scheduled_p50_ms: 6,
    scheduled_p95_ms: 9,
    scheduled_p99_ms: 10,
    status_2xx: 10,
    status_3xx: 0,
    status_4xx: 0,
    status_5xx: 0,
    errors: 0,
    in_flight: 1,
    intended: 10,
    missing: 0,
    stage: 0,
    ...change,
  };
}

export function sampleRun(change: Partial<RunResult> = {}): RunResult {
  const metrics: Metrics = {
    requests: 0,
    attempts: 0,
    failed: 0,
    cancelled: 0,
    error_rate: 0,
    throughput_rps: 0,
    duration_s: 0,
    bytes_in: 0,
    bytes_out: 0,
    by_status: {},
    by_error: {},
    latency_ms: NO_LATENCY,
    failed_latency_ms: NO_LATENCY,
    scheduled_latency_ms: NO_LATENCY,
    service_ms: NO_LATENCY,
  };
  return {
    run_id: "0".repeat(32),
    name: "sample",
    target: "http://127.0.0.1:8080/",
    labels: {},
    status: "running",
    verdict: null,
    started_at: null,
    finished_at: null,
    validity: { valid: true, reasons: [], warnings: [] },
    load: { kind: "constant_concurrency", intended_rps: null, concurrency: 10 },
    metrics,
    steps: [],
    sla: [],
    regression: null,
    diagnosis: null,
    events: { published: 0, aggregated: 0, lost: 0, unacknowledged: 0 },
    failure: null,
    ...change,
  };
}
