import type uPlot from "uplot";
import { expect, test } from "vitest";
import { emptyTimeline, writeSecond } from "../model/timeline";
import { sampleRow } from "../testing/samples";
import { bandOf, chartData, chartOptions, isolated, isZoomed, merged, xRange, yRange } from "./chartOptions";
import { paletteFrom } from "./palette";
import { errorsChart, latencyChart, throughputChart } from "./series";

const palette = paletteFrom((property) => ` ${property} `);
const size = { width: 600, height: 200 };

test("a chart is given the timeline's own arrays, one for each series and the seconds", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0));
  const spec = latencyChart(false, 1);
  const data = chartData(spec, timeline);
  expect(data).toHaveLength(1 + spec.series.length);
  expect(data[0]).toBe(timeline.second);
  expect(data[1]).toBe(timeline.spans[1].latency_p99_ms);
});

test("an open loop shows what was intended and scheduled latency by name", () => {
  expect(throughputChart(true).series.map((series) => series.label)).toContain("intended/s");
  expect(throughputChart(false).series.map((series) => series.label)).not.toContain("intended/s");
  expect(latencyChart(true, 10).title).toBe("Scheduled latency");
});

test("a share of a stack is told as its own figure", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0, { errors: 1, status_4xx: 2, status_5xx: 4 }));
  const spec = errorsChart();
  const options = chartOptions(spec, size, palette, { timeline: () => timeline, breaches: () => [] });
  const value = options.series[1]?.value;
  expect(chartData(spec, timeline)[1]).toEqual([7]);
  expect(typeof value === "function" && value({} as uPlot, 7, 1, 0)).toBe("4");
});

test("colours come from the style sheet by role", () => {
  expect(palette.p95).toBe("--series-p95");
});

test("axes start at nothing and never have no height", () => {
  expect(yRange(null, null, null)).toEqual([0, 1]);
  expect(yRange(null, 5, 0)).toEqual([0, 1]);
  expect(xRange(null, 0, 3)).toEqual([0, 10]);
  expect(xRange(null, 4, 4)).toEqual([4, 5]);
});

test("a chart is zoomed only while less than all its seconds are in sight", () => {
  expect(isZoomed({ min: 0, max: 59 }, 60)).toBe(false);
  expect(isZoomed({ min: 0, max: 10 }, 3)).toBe(false);
  expect(isZoomed({ min: 10, max: 59 }, 60)).toBe(true);
  expect(isZoomed({ min: 0, max: 30 }, 60)).toBe(true);
  expect(isZoomed({ min: null, max: null }, 0)).toBe(false);
});

test("a breach of one second is a band one second wide and an open one reaches the end", () => {
  const span = { slaIndex: 0, expression: "p95 < 5ms over 1s", from: 4 };
  expect(bandOf({ ...span, to: 5 }, 20)).toEqual([3.5, 4.5]);
  expect(bandOf({ ...span, to: null }, 20)).toEqual([3.5, 20.5]);
});

test("bands that overlap are one band", () => {
  expect(merged([[5, 8], [1, 3], [2, 4], [6, 7]])).toEqual([[1, 4], [5, 8]]);
});

test("only a figure with none beside it needs a dot", () => {
  expect(isolated([1, null, 2, 3, null, 4])).toEqual([0, 5]);
});
