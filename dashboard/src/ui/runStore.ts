/** Owns one run's state while its page is open: one stream, one fold, at most one redraw a frame. It must not draw. */

import { fetchDiagnosis, fetchRun } from "../api/client";
import { ApiError, messageOf } from "../api/errors";
import { openRunStream, type StreamPhase } from "../api/stream";
import type { Diagnosis } from "../model/diagnosis";
import type { RunEvent } from "../model/events";
import { isOn } from "../model/results";
import { initialRunState, type RunState, runState } from "../model/runState";

export interface RunSnapshot {
  readonly state: RunState;
  readonly phase: StreamPhase;
  readonly diagnosis: Diagnosis | null;
  readonly notFound: boolean;
  readonly problem: string | null;
}

export interface RunStore {
  subscribe(changed: () => void): () => void;
  snapshot(): RunSnapshot;
  /** Ask for the result again, after something was asked of the run. */
  refresh(): void;
  close(): void;
}

/** How often the figures of the whole run are asked for while it is on; the stream brings those of each second. */
const RESULT_EVERY_MS = 2000;

const BEGINNING: Omit<RunSnapshot, "state"> = { phase: "connecting", diagnosis: null, notFound: false, problem: null };

export function openRunStore(runId: string): RunStore {
  const listeners = new Set<() => void>();
  const aborter = new AbortController();
  let snapshot: RunSnapshot = { ...BEGINNING, state: initialRunState() };
  let frame: number | null = null;
  let timer: number | undefined;
  /** The brief diagnosis whose full one was asked for. */
  let diagnosed: string | null = null;
  let closeStream = (): void => undefined;

  const publish = (change: Partial<RunSnapshot>): void => {
    snapshot = { ...snapshot, ...change };
    frame ??= requestAnimationFrame(() => {
      frame = null;
      for (const listener of listeners) listener();
    });
  };

  const apply = (event: RunEvent): void => {
    publish({ state: runState(snapshot.state, event) });
    const brief = snapshot.state.diagnosis;
    const words = brief === null ? null : `${brief.final} ${brief.summary}`;
    if (words !== null && words !== diagnosed) {
      diagnosed = words;
      void loadDiagnosis();
    }
  };

  const loadDiagnosis = async (): Promise<void> => {
    try {
      const diagnosis = await fetchDiagnosis(runId, aborter.signal);
      if (diagnosis !== null) publish({ diagnosis });
    } catch (error) {
      fail(error);
    }
  };

  const loadResult = async (): Promise<void> => {
    window.clearTimeout(timer);
    try {
      apply({ type: "loaded", data: await fetchRun(runId, aborter.signal) });
      publish({ problem: null });
    } catch (error) {
      fail(error);
    }
    if (!aborter.signal.aborted && !snapshot.notFound && isOn(snapshot.state.status)) {
      timer = window.setTimeout(() => void loadResult(), RESULT_EVERY_MS);
    }
  };

  const fail = (error: unknown): void => {
    if (aborter.signal.aborted) return;
    if (error instanceof ApiError && error.status === 404) {
      closeStream();
      publish({ notFound: true });
    } else {
      publish({ problem: messageOf(error) });
    }
  };

  closeStream = openRunStream(runId, { onEvent: apply, onPhase: (phase) => publish({ phase }) });
  void loadResult();

  return {
    subscribe: (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    snapshot: () => snapshot,
    refresh: () => void loadResult(),
    close: () => {
      aborter.abort();
      closeStream();
      window.clearTimeout(timer);
      if (frame !== null) cancelAnimationFrame(frame);
    },
  };
}
