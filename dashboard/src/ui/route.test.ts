import { expect, test } from "vitest";
import { pathOfRun, routeOf } from "./route";

test("a run's path leads to its page and anything else to none", () => {
  const runId = "0123456789abcdef".repeat(2);
  expect(routeOf(pathOfRun(runId))).toEqual({ page: "run", runId });
  expect(routeOf("/")).toEqual({ page: "runs" });
  expect(routeOf("/runs/nonsense").page).toBe("unknown");
});
