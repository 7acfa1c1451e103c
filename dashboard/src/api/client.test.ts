import { expect, test } from "vitest";
import { problemText } from "./client";

test("the server's own words come first", () => {
  expect(problemText(403, { title: "Target not allowed", detail: "10.0.0.1 is not on the list" })).toBe("10.0.0.1 is not on the list");
  expect(problemText(403, { title: "Target not allowed" })).toBe("Target not allowed");
});

test("an answer without words is told by its status", () => {
  expect(problemText(503, null)).toBe("The server answered 503.");
  expect(problemText(401, "no")).toContain("key");
});
