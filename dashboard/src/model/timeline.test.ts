import { expect, test } from "vitest";
import { sampleRow } from "../testing/samples";
import { emptyTimeline, endAt, latest, MAX_SECONDS, unjudgedSpans, writeSecond } from "./timeline";

test("a second that was never reported stays a gap in every column", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0));
  writeSecond(timeline, sampleRow(2));
  expect(timeline.second).toEqual([0, 1, 2]);
  expect(timeline.spans[1].throughput_rps).toEqual([10, null, 10]);
  expect(timeline.stacked.upTo5xx).toEqual([0, null, 0]);
  expect(timeline.seconds).toBe(2);
});

test("the rate of a last second that the run did not fill is not drawn, its counts stay", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0));
  writeSecond(timeline, sampleRow(1, { requests: 2, throughput_rps: 2 }));
  endAt(timeline, 1.2);
  endAt(timeline, 1.2);
  expect(timeline.spans[1].throughput_rps).toEqual([10, null]);
  expect(timeline.spans[1].requests).toEqual([10, 2]);
});

test("a last second that was filled keeps its rate", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0));
  writeSecond(timeline, sampleRow(1));
  endAt(timeline, 1.999);
  expect(timeline.spans[1].throughput_rps).toEqual([10, 10]);
});

test("the same second written twice counts once and the later figures stand", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0, { requests: 10, failed: 4 }));
  writeSecond(timeline, sampleRow(0, { requests: 12, failed: 1, latency_p50_ms: null }));
  expect(timeline).toMatchObject({ seconds: 1, secondsWithLatency: 0, requests: 12, failed: 1 });
});

test("a second in which nothing was measured has throughput but no latency", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0, { requests: 0, throughput_rps: 0, latency_p50_ms: null }));
  expect(timeline.spans[1].throughput_rps).toEqual([0]);
  expect(timeline.spans[1].latency_p50_ms).toEqual([null]);
  expect(timeline).toMatchObject({ seconds: 1, secondsWithLatency: 0 });
});

test("errors stand on each other from no answer over 4xx to 5xx", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0, { errors: 1, status_4xx: 2, status_5xx: 4 }));
  expect(timeline.stacked).toEqual({ errors: [1], upTo4xx: [3], upTo5xx: [7] });
});

test("rolling figures are kept beside those of the second", () => {
  const timeline = emptyTimeline();
  writeSecond(timeline, sampleRow(0), { "10": sampleRow(0, { latency_p99_ms: 70 }), "60": null });
  expect(latest(timeline, 1, "latency_p99_ms")).toBe(9);
  expect(latest(timeline, 10, "latency_p99_ms")).toBe(70);
  expect(latest(timeline, 60, "latency_p99_ms")).toBeNull();
});

test("a wild second is not laid out", () => {
  const timeline = emptyTimeline();
  for (const window of [-1, 0.5, MAX_SECONDS, Number.NaN]) writeSecond(timeline, sampleRow(window));
  expect(timeline.second).toEqual([]);
});

test("the arrays stay the same objects while seconds are added", () => {
  const timeline = emptyTimeline();
  const column = timeline.spans[1].requests;
  writeSecond(timeline, sampleRow(0));
  writeSecond(timeline, sampleRow(1));
  expect(timeline.spans[1].requests).toBe(column);
  expect(column).toEqual([10, 10]);
});

test("seconds that are not judged are told as stretches, one for each", () => {
  const timeline = emptyTimeline();
  [-1, -1, 0, 0, -2, -2, 1].forEach((stage, window) => writeSecond(timeline, sampleRow(window, { stage })));
  writeSecond(timeline, sampleRow(8, { stage: -2 }));
  expect(unjudgedSpans(timeline)).toEqual([
    [0, 2],
    [4, 6],
    [8, 9],
  ]);
});
