import { expect, test } from "vitest";
import { sampleRow, sampleRun } from "../testing/samples";
import type { BreachRecord } from "./breaches";
import { type RunEvent, readEvent } from "./events";
import type { DiagnosisSummary } from "./results";
import { initialRunState, type RunState, runState } from "./runState";

const RUN_ID = "0".repeat(32);
const breached: BreachRecord = {
  type: "SlaBreached",
  id: "1",
  sla_index: 0,
  expression: "p95 < 5ms over 1s",
  window: 1,
  target: 5,
  actual: 8,
  lower_bound: false,
  abort: false,
};
const recovered: BreachRecord = { ...breached, type: "SlaRecovered", id: "2", window: 3 };
const diagnosis: DiagnosisSummary = {
  causes: [{ cause: "saturation", confidence: 0.5, evidence: ["E1"] }],
  summary: "so far",
  indistinguishable_from: [],
  checked: [],
  evidence: [],
  final: false,
};
const STORY: RunEvent[] = [
  { type: "run", data: { run_id: RUN_ID, status: "running", verdict: null, started_at: "2026-01-01T00:00:00.000Z" } },
  { type: "window", data: sampleRow(0) },
  { type: "window", data: sampleRow(1) },
  { type: "breach", data: breached },
  { type: "diagnosis", data: diagnosis },
  { type: "breach", data: recovered },
  { type: "summary", data: sampleRun({ status: "finished", verdict: "breach", diagnosis: { ...diagnosis, final: true } }) },
  { type: "end", data: { run_id: RUN_ID, status: "finished", verdict: "breach" } },
];

function fold(events: RunEvent[], from: RunState = initialRunState()): RunState {
  return events.reduce(runState, from);
}

test("a whole stream ends in the verdict with every second, breach and the final diagnosis", () => {
  const state = fold(STORY);
  expect(state).toMatchObject({ status: "finished", verdict: "breach", ended: true });
  expect(state.timeline.seconds).toBe(2);
  expect(state.breaches).toEqual([{ slaIndex: 0, expression: "p95 < 5ms over 1s", from: 1, to: 3 }]);
  expect(state.diagnosis?.final).toBe(true);
});

test("a stream read again from its beginning changes nothing but the version", () => {
  const once = fold(STORY);
  const figures = structuredClone(once);
  const again = fold(STORY, once);
  expect({ ...again, version: 0 }).toEqual({ ...figures, version: 0 });
});

test("an answer that was under way while the run ended does not bring it back to life", () => {
  const state = fold([...STORY, { type: "loaded", data: sampleRun({ status: "running" }) }]);
  expect(state).toMatchObject({ status: "finished", verdict: "breach" });
});

test("an early diagnosis never replaces the final one", () => {
  expect(fold([...STORY, { type: "diagnosis", data: diagnosis }]).diagnosis?.final).toBe(true);
});

test("a promise that breaks again after it recovered is two stretches", () => {
  const again: RunEvent = { type: "breach", data: { ...breached, id: "3", window: 7 } };
  expect(fold([...STORY, again]).breaches.map(({ from, to }) => [from, to])).toEqual([
    [1, 3],
    [7, null],
  ]);
});

test("a message that is no event of its type is not read", () => {
  expect(readEvent("window", "{")).toBeNull();
  expect(readEvent("window", "null")).toBeNull();
  expect(readEvent("window", '{"requests": 1}')).toBeNull();
  expect(readEvent("end", '{"status": "finished", "verdict": "pass"}')).toMatchObject({ type: "end" });
});

test.each([
  ["a warm-up", [-1, 0, 0], { warmup_s: 1 }, 1.99, [10, 10, 10]],
  ["a warm-up and a part of a second", [-1, 0, 0], { warmup_s: 1 }, 1.2, [10, 10, null]],
  ["a cool-down", [0, -1, -1], { cooldown_s: 2 }, 1, [10, 10, 10]],
  ["levels", [-1, 0, -2, 1], { levels: [] }, 2, [10, 10, 10, 10]],
  ["levels and what was still under way", [-1, 0, -2, 1, -2], { levels: [] }, 2, [10, 10, 10, 10, null]],
])("after %s the rates of all seconds that had load are drawn", (_, stages, phases, duration_s, rates) => {
  const sample = sampleRun();
  const load = { ...sample.load, ...phases };
  const result = sampleRun({ status: "finished", verdict: "pass", load, metrics: { ...sample.metrics, duration_s } });
  const windows = stages.map((stage, window): RunEvent => ({ type: "window", data: { ...sampleRow(window, { stage }), rolling: {} } }));
  const state = fold([...windows, { type: "summary", data: result }]);
  expect(state.timeline.spans[1].throughput_rps).toEqual(rates);
});
