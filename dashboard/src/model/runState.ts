/** Owns what is known of a run and the one fold that keeps it current. It must not know how events arrive. */

import { type BreachSpan, withBreach } from "./breaches";
import type { RunEvent } from "./events";
import { type DiagnosisSummary, isOn, type RunResult, type Status, type Verdict } from "./results";
import { emptyTimeline, endAt, type Timeline, writeSecond } from "./timeline";

export interface RunState {
  readonly status: Status;
  readonly verdict: Verdict | null;
  readonly startedAt: string | null;
  readonly result: RunResult | null;
  /** Written in place; `version` tells that it changed. */
  readonly timeline: Timeline;
  readonly version: number;
  readonly breaches: readonly BreachSpan[];
  readonly diagnosis: DiagnosisSummary | null;
  readonly ended: boolean;
}

export function initialRunState(): RunState {
  return {
    status: "queued",
    verdict: null,
    startedAt: null,
    result: null,
    timeline: emptyTimeline(),
    version: 0,
    breaches: [],
    diagnosis: null,
    ended: false,
  };
}

/** The state after one more event, in O(1). Reading the same events again leads to the same state. */
export function runState(state: RunState, event: RunEvent): RunState {
  switch (event.type) {
    case "run":
      return isOlder(state, event.data.status)
        ? state
        : {
            ...state,
            status: event.data.status,
            verdict: event.data.verdict ?? state.verdict,
            startedAt: event.data.started_at ?? state.startedAt,
          };
    case "window":
      writeSecond(state.timeline, event.data, event.data.rolling);
      return { ...state, version: state.version + 1 };
    case "breach":
      return { ...state, breaches: withBreach(state.breaches, event.data) };
    case "diagnosis":
      return state.diagnosis?.final && !event.data.final ? state : { ...state, diagnosis: event.data };
    case "summary":
      return withResult(state, event.data);
    case "loaded":
      return isOlder(state, event.data.status) ? state : withResult(state, event.data);
    case "end":
      return { ...state, status: event.data.status, verdict: event.data.verdict ?? state.verdict, ended: true };
  }
}

/** An answer that was under way while the run ended must not bring it back to life. */
function isOlder(state: RunState, status: Status): boolean {
  return stage(status) < stage(state.status);
}

function stage(status: Status): number {
  if (status === "queued") return 0;
  return isOn(status) ? 1 : 2;
}

/** From when on there was no load. After a level, or a cool-down, that is a whole second. */
function endS({ load, metrics }: RunResult, timeline: Timeline): number {
  const seconds = timeline.second.length;
  if (load.cooldown_s != null) return seconds;
  if (load.levels == null) return (load.warmup_s ?? 0) + metrics.duration_s;
  return (timeline.spans[1].stage.at(-1) ?? 0) < 0 ? seconds - 1 : seconds;
}

function withResult(state: RunState, result: RunResult): RunState {
  if (result.verdict != null) endAt(state.timeline, endS(result, state.timeline));
  return {
    ...state,
    result,
    version: state.version + 1,
    status: result.status,
    verdict: result.verdict ?? state.verdict,
    startedAt: result.started_at ?? state.startedAt,
    diagnosis: result.diagnosis ?? state.diagnosis,
  };
}
