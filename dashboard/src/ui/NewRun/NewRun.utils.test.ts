import { expect, test } from "vitest";
import { scenarioOf } from "./NewRun.utils";

const fields = { target: " http://127.0.0.1:1/ ", name: "", mode: "concurrency", amount: "10", duration: "30s", sla: "" };

test("promises are read one a line and empty lines are none", () => {
  expect(scenarioOf({ ...fields, sla: "p95 < 200ms\n\n error_rate < 1% ; p50 < 9ms" }).sla).toEqual([
    "p95 < 200ms",
    "error_rate < 1%",
    "p50 < 9ms",
  ]);
});

test("what was left empty is left to the server", () => {
  expect(scenarioOf({ ...fields, duration: " " })).toEqual({ target: "http://127.0.0.1:1/", load: { concurrency: 10 }, sla: [] });
});

test("a load by rate is an open loop", () => {
  expect(scenarioOf({ ...fields, mode: "rate", amount: "0.5" }).load).toEqual({ rate: 0.5, duration: "30s" });
});
