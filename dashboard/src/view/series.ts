/** Owns which columns of the timeline each chart draws, and how they are named. It must not know a chart library. */

import type { Column, Field, Span, Timeline } from "../model/timeline";
import { formatCount, formatMs, formatNumber } from "./format";
import type { Role } from "./palette";

export interface SeriesSpec {
  label: string;
  role: Role;
  look: "line" | "dashed" | "area";
  column(timeline: Timeline): Column;
  /** The figure to show for a second, where it is not the drawn one (areas that stand on each other). */
  shown?(timeline: Timeline): Column;
}

export interface ChartSpec {
  /** A chart of another key is another chart; one of the same key only gets new points. */
  key: string;
  title: string;
  /** What the figures are, for the caption. */
  note: string;
  format(value: number | null): string;
  series: readonly SeriesSpec[];
  /** How many points there are to see. */
  points(timeline: Timeline): number;
}

/** `openLoop`: the run has a rate of its own, which is drawn beside what was answered. */
export function throughputChart(openLoop: boolean): ChartSpec {
  const answered = series("requests/s", "throughput", "line", 1, "throughput_rps");
  const intended = series("intended/s", "intended", "dashed", 1, "intended");
  return {
    key: `throughput-${openLoop}`,
    title: "Throughput",
    note: openLoop ? "Requests finished in each second, beside those intended" : "Requests finished in each second",
    format: formatNumber,
    series: openLoop ? [intended, answered] : [answered],
    points: (timeline) => timeline.seconds,
  };
}

export function errorsChart(): ChartSpec {
  return {
    key: "errors",
    title: "Errors",
    note: "Answers that are errors and requests without an answer, in each second",
    format: formatCount,
    series: [
      stacked("5xx", "status5xx", (timeline) => timeline.stacked.upTo5xx, "status_5xx"),
      stacked("4xx", "status4xx", (timeline) => timeline.stacked.upTo4xx, "status_4xx"),
      stacked("no answer", "noAnswer", (timeline) => timeline.stacked.errors, "errors"),
      series("failed", "failed", "dashed", 1, "failed"),
    ],
    points: (timeline) => timeline.seconds,
  };
}

const SPAN_WORDS: Record<Span, string> = {
  1: "each second",
  10: "the last 10 s",
  60: "the last 60 s",
};

/** An open loop is judged on scheduled latency, so that is what its chart shows. */
export function latencyChart(openLoop: boolean, span: Span): ChartSpec {
  const fields: readonly Field[] = openLoop
    ? ["scheduled_p99_ms", "scheduled_p95_ms", "scheduled_p50_ms"]
    : ["latency_p99_ms", "latency_p95_ms", "latency_p50_ms"];
  const roles: readonly Role[] = ["p99", "p95", "p50"];
  return {
    key: `latency-${openLoop}-${span}`,
    title: openLoop ? "Scheduled latency" : "Latency",
    note: openLoop
      ? `Percentiles of ${SPAN_WORDS[span]}, counted from when each request was due`
      : `Percentiles of ${SPAN_WORDS[span]}, answered requests only`,
    format: formatMs,
    series: fields.map((field, index) => series(roles[index] ?? "p50", roles[index] ?? "p50", "line", span, field)),
    points: (timeline) => timeline.secondsWithLatency,
  };
}

export function shownColumn(spec: SeriesSpec, timeline: Timeline): Column {
  return (spec.shown ?? spec.column)(timeline);
}

function series(label: string, role: Role, look: SeriesSpec["look"], span: Span, field: Field): SeriesSpec {
  return { label, role, look, column: (timeline) => timeline.spans[span][field] };
}

function stacked(label: string, role: Role, column: SeriesSpec["column"], field: Field): SeriesSpec {
  return { label, role, look: "area", column, shown: (timeline) => timeline.spans[1][field] };
}
