/** Owns the colours a chart needs, by role. It must not know their values: the style sheet holds them, per theme. */

const ROLES = {
  text: "--text",
  muted: "--text-muted",
  grid: "--grid",
  breach: "--breach-band",
  unjudged: "--unjudged-band",
  throughput: "--series-throughput",
  intended: "--series-intended",
  p50: "--series-p50",
  p95: "--series-p95",
  p99: "--series-p99",
  noAnswer: "--series-no-answer",
  status4xx: "--series-4xx",
  status5xx: "--series-5xx",
  failed: "--series-failed",
} as const;

export type Role = keyof typeof ROLES;
export type Palette = Readonly<Record<Role, string>>;

/** `read` gives the value of a custom property of the style sheet. */
export function paletteFrom(read: (property: string) => string): Palette {
  return Object.fromEntries(
    Object.entries(ROLES).map(([role, property]) => [role, read(property).trim()]),
  ) as Record<Role, string>;
}
