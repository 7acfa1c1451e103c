import { expect, test } from "vitest";
import {
  formatAgo,
  formatCapacity,
  formatDelta,
  formatId,
  formatMs,
  formatNumber,
  formatPercent,
  formatSecond,
  formatSeconds,
  formatUnjudged,
  NOTHING,
} from "./format";

test.each([
  [0, "0"],
  [0.0004171, "0.000417"],
  [0.4171, "0.417"],
  [4.171, "4.17"],
  [41.71, "41.7"],
  [417.1, "417"],
  [41_710, "41,710"],
  [null, NOTHING],
])("%s reads as %s", (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

test("latencies of a second and more are given in seconds", () => {
  expect([0.42, 12.5, 999, 1250].map(formatMs)).toEqual(["0.42 ms", "12.5 ms", "999 ms", "1.25 s"]);
});

test("a rare error never reads as none", () => {
  expect([0, 0.000001, 0.0123, 1].map(formatPercent)).toEqual(["0%", "< 0.01%", "1.23%", "100%"]);
});

test("a delta shows which way it is off", () => {
  expect(formatDelta(12, "ms")).toBe("+12 ms");
  expect(formatDelta(-0.5, "ratio")).toBe("\u221250%");
  expect(formatDelta(null, "per_s")).toBe(NOTHING);
});

test("seconds of a run read as a clock", () => {
  expect([0, 9, 75, 3661].map(formatSecond)).toEqual(["0:00", "0:09", "1:15", "1:01:01"]);
});

test("neighbouring seconds are told as one stretch", () => {
  expect(formatSeconds([5, 3, 4, 9, 4])).toBe("3–5, 9");
});

test("only ids are turned into words", () => {
  expect(formatId("client_bound")).toBe("client bound");
  expect(formatId("sent 312/s of 400/s to my_host")).toBe("sent 312/s of 400/s to my_host");
});

test("an age is told in its largest unit", () => {
  const now = Date.parse("2026-01-02T00:00:00Z");
  expect(["2026-01-01T23:59:30Z", "2026-01-01T23:00:00Z", "2025-12-30T00:00:00Z", null].map((at) => formatAgo(at, now))).toEqual(
    ["30 s ago", "1 h ago", "3 d ago", "not yet"],
  );
});

test("what of a load is not judged is said, and nothing where all of it is", () => {
  const load = { kind: "constant_rate", intended_rps: 5, concurrency: null };
  expect(formatUnjudged(load)).toBe("");
  expect(formatUnjudged({ ...load, warmup_s: null, levels: null })).toBe("");
  expect(formatUnjudged({ ...load, warmup_s: 2, cooldown_s: 1 })).toMatch(/^Without a warm-up of 2 s and a cool-down of 1 s:/);
});

test.each([
  [{ rate: 210, low: 200, high: 220, knee: 150 }, "Capacity: 210/s kept all promises, 220/s broke one; knee at 150/s"],
  [{ rate: 210, low: 210, high: null, knee: null, note: "time" }, "Capacity: 210/s kept all promises, no limit seen. time"],
  [{ rate: 8, low: 8, high: 9, knee: null, unit: "users" as const }, "Capacity: 8 users kept all promises, 9 users broke one"],
  [{ rate: null, low: null, high: 5, knee: null, note: "" }, "Capacity: none, 5/s broke one"],
])("a capacity is told with what bounds it", (capacity, text) => {
  expect(formatCapacity(capacity)).toBe(text);
});
