/** Owns the shapes of a run's result and of its timeline, as the API serves them. It must not know where they come from. */

export type Status = "queued" | "running" | "finished" | "failed" | "cancelled" | "lost";
export type Verdict = "pass" | "breach" | "invalid" | "failed" | "cancelled" | "lost";
export type SlaStatus = "pass" | "breach" | "not_enough_data";
export type Comparison = "worse" | "better" | "same" | "not_enough_data";
export type Unit = "ms" | "ratio" | "per_s";

/** Milliseconds; null where count is 0. */
export interface Distribution {
  count: number;
  mean: number | null;
  p50: number | null;
  p90: number | null;
  p95: number | null;
  p99: number | null;
  p999: number | null;
  max: number | null;
}

export interface Metrics {
  requests: number;
  attempts: number;
  failed: number;
  cancelled: number;
  error_rate: number;
  throughput_rps: number;
  duration_s: number;
  bytes_in: number;
  bytes_out: number;
  by_status: Record<string, number>;
  by_error: Record<string, number>;
  by_check?: Record<string, number>;
  latency_ms: Distribution;
  failed_latency_ms: Distribution;
  scheduled_latency_ms: Distribution;
  service_ms: Distribution;
  /** Of calls of language models only. */
  ttft_ms?: Distribution | null;
  goodput?: { met: number; missed: number; ratio: number; per_s: number } | null;
}

export interface StepMetrics extends Metrics {
  name: string;
}

/** delta = actual - target; `actual` is a lower bound where `lower_bound` is set. */
export interface SlaResult {
  metric: string;
  expression: string;
  target: number | null;
  actual: number | null;
  delta: number | null;
  status: SlaStatus;
  unit: Unit;
  lower_bound: boolean;
  breached_windows: number;
  note: string;
}

/** Reasons void the run, warnings only qualify it. */
export interface Validity {
  valid: boolean;
  reasons: string[];
  warnings: string[];
}

export type LevelVerdict = SlaStatus | "invalid";

/** One level of a load in levels; of `rate_rps` and `concurrency` it has the one that levels differ by. */
export interface Level {
  level: number;
  rate_rps: number | null;
  concurrency: number | null;
  from_s: number;
  delivered_rps: number;
  verdict: LevelVerdict;
  knee: boolean;
  reasons: string[];
  warnings: string[];
  metrics: Metrics;
  sla: SlaResult[];
}

/** Requests per second, or users, as `unit` says. rate: null where no level kept the promises; high: the lowest that broke one, if any did. */
export interface Capacity {
  rate: number | null;
  low: number | null;
  high: number | null;
  knee: number | null;
  note?: string;
  unit?: "per_s" | "users";
}

export interface LoadInfo {
  kind: string;
  intended_rps: number | null;
  concurrency: number | null;
  warmup_s?: number | null;
  cooldown_s?: number | null;
  levels?: Level[] | null;
  capacity?: Capacity | null;
}

export interface RegressionMetric {
  metric: string;
  baseline: number | null;
  actual: number | null;
  ratio: number | null;
  low: number | null;
  high: number | null;
  p_value: number | null;
  verdict: Comparison;
}

export interface Regression {
  baseline_run_id: string;
  verdict: Comparison;
  blocks: number;
  baseline_blocks: number;
  metrics: RegressionMetric[];
}

export interface DiagnosisSummary {
  causes: { cause: string; confidence: number; evidence: string[] }[];
  summary: string;
  indistinguishable_from: string[];
  checked: string[];
  evidence: { id: string; text: string }[];
  final: boolean;
}

export interface EventCounts {
  published: number;
  aggregated: number;
  lost: number;
  unacknowledged: number;
  /** Of a warm-up, settling or cool-down: in no figure of the run. */
  unjudged?: number;
}

/** Times are ISO 8601 in UTC. */
export interface RunResult {
  run_id: string;
  name: string;
  target: string;
  labels: Record<string, string>;
  status: Status;
  verdict: Verdict | null;
  started_at: string | null;
  finished_at: string | null;
  validity: Validity;
  load: LoadInfo;
  metrics: Metrics;
  steps: StepMetrics[];
  sla: SlaResult[];
  regression: Regression | null;
  diagnosis: DiagnosisSummary | null;
  events: EventCounts;
  failure: string | null;
}

/** `resolution` seconds that end with second `window` of the run. Latencies in ms, null: nothing measured. */
export interface TimelineRow {
  window: number;
  requests: number;
  failed: number;
  cancelled: number;
  throughput_rps: number;
  error_rate: number;
  latency_p50_ms: number | null;
  latency_p95_ms: number | null;
  latency_p99_ms: number | null;
  scheduled_p50_ms: number | null;
  scheduled_p95_ms: number | null;
  scheduled_p99_ms: number | null;
  status_2xx: number;
  status_3xx: number;
  status_4xx: number;
  status_5xx: number;
  errors: number;
  in_flight: number;
  intended: number;
  missing: number;
  /** The phase of the run: below 0 it is not judged. */
  stage: number;
}

/** A run that may still change. */
export function isOn(status: Status): boolean {
  return status === "queued" || status === "running";
}

/** An open loop sends at a rate of its own, so its promises are judged on scheduled latency. */
export function isOpenLoop(load: LoadInfo): boolean {
  return load.kind === "constant_rate" || load.intended_rps !== null;
}

/** The latency that a run's promises are judged on. */
export function judgedLatency(metrics: Metrics, load: LoadInfo): Distribution {
  return isOpenLoop(load) ? metrics.scheduled_latency_ms : metrics.latency_ms;
}
