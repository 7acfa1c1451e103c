/** Owns the figures of the whole run at a glance, each with that of the newest seconds. It must not compute them. */

import { isOn, judgedLatency } from "../../model/results";
import type { RunState } from "../../model/runState";
import { type Field, latest, type Timeline } from "../../model/timeline";
import { formatCount, formatMs, formatPercent, formatRate, NOTHING } from "../../view/format";

interface Tile {
  label: string;
  whole: string;
  beside: string;
}

export function Tiles({ state, openLoop }: { state: RunState; openLoop: boolean }) {
  return (
    <dl className="tiles">
      {tilesOf(state, openLoop).map((tile) => (
        <div className="tile" key={tile.label}>
          <dt>{tile.label}</dt>
          <dd>{tile.whole}</dd>
          <dd className="tile-beside">{tile.beside}</dd>
        </div>
      ))}
    </dl>
  );
}

function tilesOf({ result, timeline, status }: RunState, openLoop: boolean): Tile[] {
  const metrics = result?.metrics;
  const on = isOn(status);
  // The stream is ahead of the result while the run is on, and the result is what counts after it.
  const requests = on || metrics === undefined ? timeline.requests : metrics.requests;
  const failed = on || metrics === undefined ? timeline.failed : metrics.failed;
  const cancelled = metrics?.cancelled ?? timeline.cancelled;
  const latency = metrics !== undefined && result !== null ? judgedLatency(metrics, result.load) : undefined;
  const of = openLoop ? "scheduled" : "latency";
  const now = (words: string): string => (on ? `10 s: ${words}` : "");
  const percentile = (name: "p50" | "p95" | "p99"): Tile => {
    const label = openLoop ? `${name}, scheduled` : name;
    const newest = formatMs(latest(timeline, 10, `${of}_${name}_ms` as Field));
    // Percentiles of the whole run cannot be made from those of its seconds: until they are known, say which these are.
    if (on && (latency?.[name] ?? null) === null) return { label, whole: newest, beside: "in the last 10 s" };
    return { label, whole: formatMs(latency?.[name]), beside: now(newest) };
  };
  return [
    {
      label: "Requests",
      whole: formatCount(requests),
      beside: cancelled > 0 ? `and ${formatCount(cancelled)} cancelled` : "",
    },
    {
      label: "Throughput",
      whole: formatRate(metrics !== undefined && metrics.requests > 0 ? metrics.throughput_rps : mean(timeline)),
      beside: now(formatRate(latest(timeline, 10, "throughput_rps"))),
    },
    {
      label: "Error rate",
      whole: requests > 0 ? formatPercent(failed / requests) : NOTHING,
      beside: on ? now(formatPercent(latest(timeline, 10, "error_rate"))) : `${formatCount(failed)} failed`,
    },
    percentile("p50"),
    percentile("p95"),
    percentile("p99"),
  ];
}

function mean(timeline: Timeline): number | null {
  return timeline.seconds === 0 ? null : timeline.requests / timeline.seconds;
}
