/** Owns the list of runs while its page is open, asked for again sooner while one of them is on. It must not draw. */

import { useCallback, useEffect, useState } from "react";
import { fetchRuns } from "../api/client";
import { messageOf } from "../api/errors";
import { isOn, type RunResult } from "../model/results";

const PAGE_SIZE = 50;
const AGAIN_MS = 2000;
/** A run may be started elsewhere at any time. */
const IDLE_AGAIN_MS = 5000;

export interface Runs {
  runs: RunResult[] | null;
  problem: string | null;
  hasOlder: boolean;
  showOlder: () => void;
}

/** Asks for as many pages as are shown; the newest are always on top. */
export function useRuns(): Runs {
  const [pages, setPages] = useState(1);
  const [runs, setRuns] = useState<RunResult[] | null>(null);
  const [hasOlder, setHasOlder] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  useEffect(() => {
    const aborter = new AbortController();
    let timer: number | undefined;
    const load = async (): Promise<void> => {
      let againMs = AGAIN_MS; // a server that does not answer may be back soon
      try {
        const found = await fetchPages(pages, aborter.signal);
        setRuns(found.runs);
        setHasOlder(found.hasOlder);
        setProblem(null);
        againMs = found.runs.some((run) => isOn(run.status)) ? AGAIN_MS : IDLE_AGAIN_MS;
      } catch (error) {
        if (!aborter.signal.aborted) setProblem(messageOf(error));
      }
      if (!aborter.signal.aborted && !document.hidden) timer = window.setTimeout(() => void load(), againMs);
    };
    const reload = (): void => {
      if (document.hidden) return;
      window.clearTimeout(timer);
      void load();
    };
    void load();
    // A page in the background does not ask; it catches up when it is looked at.
    document.addEventListener("visibilitychange", reload);
    return () => {
      aborter.abort();
      window.clearTimeout(timer);
      document.removeEventListener("visibilitychange", reload);
    };
  }, [pages]);

  const showOlder = useCallback(() => setPages((shown) => shown + 1), []);
  return { runs, problem, hasOlder, showOlder };
}

async function fetchPages(pages: number, signal: AbortSignal): Promise<{ runs: RunResult[]; hasOlder: boolean }> {
  const runs: RunResult[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < pages; page += 1) {
    const found = await fetchRuns(PAGE_SIZE, cursor, signal);
    runs.push(...found.runs);
    cursor = found.next;
    if (cursor === null) break;
  }
  return { runs, hasOlder: cursor !== null };
}
