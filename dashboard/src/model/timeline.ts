/**
 * Owns the seconds of a run as columns, one array per figure, indexed by second.
 * It must not know what is drawn from them.
 *
 * The arrays grow in place: one more second costs one write per column however long the run is, and a chart can be
 * handed the arrays as they are.
 */

import type { TimelineRow } from "./results";

export const FIELDS = [
  "requests",
  "failed",
  "cancelled",
  "throughput_rps",
  "error_rate",
  "latency_p50_ms",
  "latency_p95_ms",
  "latency_p99_ms",
  "scheduled_p50_ms",
  "scheduled_p95_ms",
  "scheduled_p99_ms",
  "status_4xx",
  "status_5xx",
  "errors",
  "intended",
  "in_flight",
  "missing",
  "stage",
] as const satisfies readonly (keyof TimelineRow)[];

export type Field = (typeof FIELDS)[number];
export type Span = 1 | 10 | 60;
export const SPANS: readonly Span[] = [1, 10, 60];
export type Column = (number | null)[];
export type Columns = Record<Field, Column>;

export interface Timeline {
  /** 0, 1, 2, ... up to the last second seen. */
  readonly second: number[];
  /** The figures of each second, and of the 10 and 60 seconds that end with it. A second not reported is null. */
  readonly spans: Record<Span, Columns>;
  /** Bars that stand on each other: no answer, then 4xx on it, then 5xx on both. */
  readonly stacked: { errors: Column; upTo4xx: Column; upTo5xx: Column };
  seconds: number;
  secondsWithLatency: number;
  requests: number;
  failed: number;
  cancelled: number;
}

/** Longest run the page will lay out; a wild window number must not exhaust the memory. */
export const MAX_SECONDS = 7 * 24 * 3600;

export function emptyTimeline(): Timeline {
  return {
    second: [],
    spans: { 1: emptyColumns(), 10: emptyColumns(), 60: emptyColumns() },
    stacked: { errors: [], upTo4xx: [], upTo5xx: [] },
    seconds: 0,
    secondsWithLatency: 0,
    requests: 0,
    failed: 0,
    cancelled: 0,
  };
}

/** Write one second in place; the same second written again replaces what was there. */
export function writeSecond(
  timeline: Timeline,
  row: TimelineRow,
  rolling: Partial<Record<"10" | "60", TimelineRow | null>> = {},
): void {
  const at = row.window;
  if (!Number.isInteger(at) || at < 0 || at >= MAX_SECONDS) return;
  growTo(timeline, at);
  const one = timeline.spans[1];
  const isNew = one.requests[at] === null;
  timeline.seconds += isNew ? 1 : 0;
  timeline.secondsWithLatency += Number(measured(row)) - Number(one.latency_p50_ms[at] !== null);
  timeline.requests += row.requests - (one.requests[at] ?? 0);
  timeline.failed += row.failed - (one.failed[at] ?? 0);
  timeline.cancelled += row.cancelled - (one.cancelled[at] ?? 0);
  writeColumns(one, at, row);
  writeColumns(timeline.spans[10], at, rolling["10"] ?? null);
  writeColumns(timeline.spans[60], at, rolling["60"] ?? null);
  timeline.stacked.errors[at] = row.errors;
  timeline.stacked.upTo4xx[at] = row.errors + row.status_4xx;
  timeline.stacked.upTo5xx[at] = row.errors + row.status_4xx + row.status_5xx;
}

/** A run rarely ends on a full second: a rate over the part that is left would read as a collapse, so it is not drawn. */
const WHOLE_ENOUGH_S = 0.95;

/** Drops the rates of the last second where the run ended within it. Telling it twice changes nothing. */
export function endAt(timeline: Timeline, durationS: number): void {
  const last = timeline.second.length - 1;
  if (last < 1 || durationS - last >= WHOLE_ENOUGH_S) return;
  timeline.spans[1].throughput_rps[last] = null;
  timeline.spans[1].intended[last] = null;
}

/** The stretches that are not judged, warm-up, settling and cool-down, each from a second to the one after its last. */
export function unjudgedSpans(timeline: Timeline): [number, number][] {
  const spans: [number, number][] = [];
  timeline.spans[1].stage.forEach((stage, second) => {
    if (stage === null || stage >= 0) return;
    const last = spans.at(-1);
    if (last !== undefined && last[1] === second) last[1] = second + 1;
    else spans.push([second, second + 1]);
  });
  return spans;
}

/** The last figure of a column, null when there is none. */
export function latest(timeline: Timeline, span: Span, field: Field): number | null {
  return timeline.spans[span][field].at(-1) ?? null;
}

function measured(row: TimelineRow): boolean {
  return (row.latency_p50_ms ?? null) !== null;
}

function emptyColumns(): Columns {
  return Object.fromEntries(FIELDS.map((field) => [field, [] as Column])) as Columns;
}

function writeColumns(columns: Columns, at: number, row: TimelineRow | null): void {
  for (const field of FIELDS) columns[field][at] = row?.[field] ?? null;
}

function growTo(timeline: Timeline, at: number): void {
  while (timeline.second.length <= at) {
    timeline.second.push(timeline.second.length);
    for (const span of SPANS) for (const field of FIELDS) timeline.spans[span][field].push(null);
    for (const column of Object.values(timeline.stacked)) column.push(null);
  }
}
