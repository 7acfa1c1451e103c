/** Owns the options of a chart as a pure function of what it shows. It must not touch the page. */

import type uPlot from "uplot";
import type { BreachSpan } from "../model/breaches";
import { type Timeline, unjudgedSpans } from "../model/timeline";
import { formatSecond, NOTHING } from "./format";
import type { Palette } from "./palette";
import { type ChartSpec, type SeriesSpec, shownColumn } from "./series";

/** What the chart reads again at each drawing. */
export interface ChartSource {
  timeline(): Timeline;
  breaches(): readonly BreachSpan[];
}

export interface ChartSize {
  width: number;
  height: number;
}

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
/** The charts of one page share the cursor and the zoom. */
const SYNC_KEY = "run";
const SHORTEST_SPAN_S = 10;
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400];

export function chartOptions(spec: ChartSpec, size: ChartSize, palette: Palette, source: ChartSource): uPlot.Options {
  return {
    ...size,
    padding: [10, 12, 0, 0],
    cursor: { y: false, sync: { key: SYNC_KEY }, drag: { x: true, y: false }, points: { size: 6 } },
    legend: { live: true },
    scales: { x: { time: false, range: xRange }, y: { range: yRange } },
    axes: [
      {
        ...axisLook(palette),
        size: 28,
        incrs: STEPS_S,
        values: (_plot, splits) => splits.map(formatSecond),
      },
      {
        ...axisLook(palette),
        size: 64,
        values: (_plot, splits) => splits.map((value) => spec.format(value)),
      },
    ],
    series: [
      { label: "at", value: (_plot, at) => (at === null ? NOTHING : formatSecond(at)) },
      ...spec.series.map((series) => seriesOptions(series, spec, palette, source)),
    ],
    hooks: {
      drawClear: [
        (plot) => drawBands(plot, unjudgedSpans(source.timeline()).map(([from, to]) => [from - 0.5, to - 0.5]), palette.unjudged),
        (plot) => drawBands(plot, source.breaches().map((span) => bandOf(span, plot.data[0].at(-1) ?? 0)), palette.breach),
      ],
    },
  };
}

/** The arrays as the chart takes them: the timeline's own, not copies. */
export function chartData(spec: ChartSpec, timeline: Timeline): uPlot.AlignedData {
  return [timeline.second, ...spec.series.map((series) => series.column(timeline))];
}

export function xRange(_plot: unknown, min: number | null, max: number | null): [number, number] {
  const from = min ?? 0;
  return [from, Math.max(max ?? 0, from + (from === 0 ? SHORTEST_SPAN_S : 1))];
}

export function yRange(_plot: unknown, _min: number | null, max: number | null): [number, number] {
  return [0, max !== null && max > 0 ? max * 1.08 : 1];
}

/** Whether less than all of `seconds` is in sight, so that new seconds must not move it. */
export function isZoomed(scale: { min?: number | null; max?: number | null }, seconds: number): boolean {
  const [from, to] = xRange(null, 0, Math.max(0, seconds - 1));
  return (scale.min ?? from) > from || (scale.max ?? to) < to;
}

/** From when to when a span is drawn; second n lies around n, so a span of one second is one second wide. */
export function bandOf(span: BreachSpan, lastSecond: number): [number, number] {
  return [span.from - 0.5, (span.to ?? lastSecond + 1) - 0.5];
}

function seriesOptions(series: SeriesSpec, spec: ChartSpec, palette: Palette, source: ChartSource): uPlot.Series {
  const colour = palette[series.role];
  return {
    label: series.label,
    stroke: colour,
    width: series.look === "area" ? 1 : 1.75,
    spanGaps: false,
    points: { show: true, size: 5, fill: colour, filter: (plot, index) => isolated(plot.data[index] ?? []) },
    value: (_plot, _value, _series, index) =>
      index === null ? NOTHING : spec.format(shownColumn(series, source.timeline())[index] ?? null),
    ...(series.look === "dashed" ? { dash: [5, 4] } : {}),
    ...(series.look === "area" ? { fill: colour } : {}),
  };
}

/** Where a figure has none beside it: a line does not show it, so it needs a dot. */
export function isolated(column: ArrayLike<number | null | undefined>): number[] {
  const found: number[] = [];
  for (let at = 0; at < column.length; at += 1) {
    if ((column[at] ?? null) !== null && (column[at - 1] ?? null) === null && (column[at + 1] ?? null) === null) {
      found.push(at);
    }
  }
  return found;
}

function axisLook(palette: Palette): uPlot.Axis {
  return {
    stroke: palette.muted,
    font: FONT,
    grid: { stroke: palette.grid, width: 1 },
    ticks: { stroke: palette.grid, width: 1, size: 4 },
  };
}

function drawBands(plot: uPlot, bands: readonly [number, number][], colour: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = colour;
  for (const [from, to] of merged(bands)) {
    const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(to, "x", true));
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

/** Bands of several promises that overlap are one band, so that no stretch is drawn darker than another. */
export function merged(bands: readonly [number, number][]): [number, number][] {
  const whole: [number, number][] = [];
  for (const [from, to] of [...bands].sort((a, b) => a[0] - b[0])) {
    const last = whole.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else whole.push([from, to]);
  }
  return whole;
}
