/** Owns turning figures into words. It must not know where a figure is shown. */

import type { Capacity, LoadInfo, Unit } from "../model/results";

export const NOTHING = "–";

const COUNT = new Intl.NumberFormat("en");
const LIST = new Intl.ListFormat("en");
const DAY_AND_TIME = new Intl.DateTimeFormat("en", {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});

/** Three significant digits, never in exponents: 0.417, 4.17, 41.7, 417, 4,170. */
export function formatNumber(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  if (value === 0) return "0";
  const whole = Math.floor(Math.log10(Math.abs(value))) + 1;
  const digits = Math.min(6, Math.max(0, 3 - Math.max(whole, -3)));
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

export function formatCount(value: number | null | undefined): string {
  return value === null || value === undefined ? NOTHING : COUNT.format(value);
}

/** Milliseconds as "0.42 ms", "12.5 ms" or "1.25 s". */
export function formatMs(milliseconds: number | null | undefined): string {
  if (milliseconds === null || milliseconds === undefined) return NOTHING;
  if (Math.abs(milliseconds) >= 1000) return `${formatNumber(milliseconds / 1000)} s`;
  return `${formatNumber(milliseconds)} ms`;
}

export function formatRate(perSecond: number | null | undefined): string {
  return perSecond === null || perSecond === undefined ? NOTHING : `${formatNumber(perSecond)}/s`;
}

/** A ratio as a percentage; what is not nothing never reads as 0%. */
export function formatPercent(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined) return NOTHING;
  const percent = ratio * 100;
  if (percent !== 0 && Math.abs(percent) < 0.01) return percent < 0 ? "> -0.01%" : "< 0.01%";
  return `${percent.toLocaleString("en", { maximumFractionDigits: 2 })}%`;
}

export function formatInUnit(value: number | null, unit: Unit): string {
  if (unit === "ms") return formatMs(value);
  return unit === "ratio" ? formatPercent(value) : formatRate(value);
}

export function formatDelta(value: number | null, unit: Unit): string {
  const text = formatInUnit(value, unit);
  return value !== null && value > 0 ? `+${text}` : text.replace("-", "\u2212");
}

/** A second of the run as m:ss or h:mm:ss. */
export function formatSecond(second: number): string {
  const whole = Math.max(0, Math.round(second));
  const two = (value: number): string => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function formatDuration(seconds: number): string {
  return seconds < 60 ? `${formatNumber(seconds)} s` : formatSecond(seconds);
}

export function formatInstant(iso: string | null): string {
  return iso === null ? NOTHING : DAY_AND_TIME.format(new Date(iso));
}

/** How long ago, in the largest unit that fits. */
export function formatAgo(iso: string | null, nowMs: number): string {
  if (iso === null) return "not yet";
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(iso)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** Seconds of a run in words: 3, 4, 5, 9 is "3–5, 9". */
export function formatSeconds(seconds: readonly number[]): string {
  const sorted = [...new Set(seconds)].sort((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const second of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && second === last[1] + 1) last[1] = second;
    else runs.push([second, second]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ");
}

/** An id such as client_bound as words; anything that is more than an id stays as it is. */
export function formatId(text: string): string {
  return /^[a-z0-9]+(_[a-z0-9]+)*$/.test(text) ? text.replaceAll("_", " ") : text;
}

export function shortId(runId: string): string {
  return runId.slice(-8);
}

export function formatCapacity({ rate, high, knee, note, unit }: Capacity): string {
  const load = (asked: number) => (unit === "users" ? `${formatCount(asked)} users` : formatRate(asked));
  const kept = rate === null ? "none" : `${load(rate)} kept all promises`;
  const broke = high === null ? (rate === null ? "" : ", no limit seen") : `, ${load(high)} broke one`;
  const bend = knee === null ? "" : `; knee at ${load(knee)}`;
  return `Capacity: ${kept}${broke}${bend}${note ? `. ${note}` : ""}`;
}

/** What of a load is not judged, in words; nothing where all of it is. */
export function formatUnjudged({ warmup_s, cooldown_s, levels }: LoadInfo): string {
  const parts = [
    ...(warmup_s != null ? [`a warm-up of ${warmup_s} s`] : []),
    ...(levels != null ? ["the settling of each level"] : []),
    ...(cooldown_s != null ? [`a cool-down of ${cooldown_s} s`] : []),
  ];
  return parts.length === 0 ? "" : `Without ${LIST.format(parts)}: the grey seconds of the charts count in no figure.`;
}
