/** Owns the events of a run's stream, one tagged union, and reading them from text. It must not know who sends them. */

import type { BreachRecord } from "./breaches";
import type { DiagnosisSummary, RunResult, Status, TimelineRow, Verdict } from "./results";

/** A second as it closes, with the 10 and 60 seconds that end with it. */
export type WindowRow = TimelineRow & { rolling?: Partial<Record<"10" | "60", TimelineRow | null>> };

export type StreamEvent =
  | { type: "run"; data: { run_id: string; status: Status; verdict: Verdict | null; started_at: string | null } }
  | { type: "window"; data: WindowRow }
  | { type: "breach"; data: BreachRecord }
  | { type: "diagnosis"; data: DiagnosisSummary }
  | { type: "summary"; data: RunResult }
  | { type: "end"; data: { run_id: string; status: Status; verdict: Verdict | null } };

export type StreamEventType = StreamEvent["type"];

/** What may change a run's state: the stream, and the run's result when it was asked for. */
export type RunEvent = StreamEvent | { type: "loaded"; data: RunResult };

/** A field that an event of the type cannot be without: a record that lacks it is not read as one. */
const REQUIRED = {
  run: "status",
  window: "window",
  breach: "sla_index",
  diagnosis: "causes",
  summary: "metrics",
  end: "status",
} as const satisfies Record<StreamEventType, string>;

export const STREAM_EVENT_TYPES = Object.keys(REQUIRED) as StreamEventType[];

/** The event in a message of the stream; null when it is not one that this page can read. */
export function readEvent(type: StreamEventType, text: string): StreamEvent | null {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof data !== "object" || data === null || !(REQUIRED[type] in data)) return null;
  return { type, data } as StreamEvent; // the server's schemas vouch for the rest of the shape
}
