import { expect, test } from "vitest";

/** What each layer may import, beside itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  model: [],
  view: ["model", "uplot"],
  api: ["model"],
  ui: ["model", "view", "api", "react", "uplot"],
};
const sources = import.meta.glob<string>(["./*/**/*.{ts,tsx}", "!./**/*.test.ts", "!./testing/**"], {
  query: "?raw",
  import: "default",
  eager: true,
});

test("no layer imports one above it", () => {
  const wrong = Object.entries(sources).flatMap(([path, text]) =>
    importsOf(path, text)
      .filter((layer) => layer !== layerOf(path) && !MAY_IMPORT[layerOf(path)]?.includes(layer))
      .map((layer) => `${path} imports ${layer}`),
  );
  expect(Object.keys(sources).length).toBeGreaterThan(20);
  expect(wrong).toEqual([]);
});

function layerOf(path: string): string {
  return path.split("/")[1] ?? "";
}

function importsOf(path: string, text: string): string[] {
  return [...text.matchAll(/(?:from|import) "([^"]+)"/g)].map(([, target = ""]) => {
    if (!target.startsWith(".")) return target.split("/")[0] ?? "";
    return layerOf(new URL(target, `file:///${path.slice(2)}`).pathname.replace(/^\/?/, "./"));
  });
}
