import { expect, test } from "vitest";
import type { Diagnosis } from "../../model/diagnosis";
import type { DiagnosisSummary } from "../../model/results";
import { figuresOf, shownDiagnosis } from "./Diagnosis.utils";

const brief: DiagnosisSummary = {
  causes: [{ cause: "saturation", confidence: 0.7, evidence: ["E1"] }],
  summary: "brief",
  indistinguishable_from: ["server_slowdown"],
  checked: ["dns: no name was looked up"],
  evidence: [{ id: "E1", text: "flat throughput" }],
  final: true,
};
const full: Diagnosis = {
  run_id: "0".repeat(32),
  trigger: "end",
  final: true,
  ruleset: "1",
  causes: [],
  evidence: [],
  checked: [],
  summary: "full",
  next_experiment: "",
  recent_runs: [],
  similar_runs: [],
  sampled_share: 1,
};

test("the full diagnosis is shown where there is one, else the brief one, else none", () => {
  expect(shownDiagnosis(full, brief)?.summary).toBe("full");
  expect(shownDiagnosis(null, brief)?.summary).toBe("brief");
  expect(shownDiagnosis(null, null)).toBeNull();
});

test("a full diagnosis made early does not hide the final brief one", () => {
  expect(shownDiagnosis({ ...full, final: false }, brief)?.summary).toBe("brief");
});

test("evidence is told with its effect, interval, chance and seconds", () => {
  const item = { id: "E1", detector: "d", text: "", compared: "late with early", effect: 2, unit: "x", low: 1.9, high: 2.1, p_value: 0.00001, windows: [3, 4], events: [] };
  expect(figuresOf(item)).toBe("late with early · effect 2 x [1.9–2.1] · p < 0.001 · seconds 3–4");
});
