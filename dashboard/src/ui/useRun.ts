/** Owns the tie between a page and the store of its run. It must not know what the page shows. */

import { useEffect, useState, useSyncExternalStore } from "react";
import { initialRunState } from "../model/runState";
import { openRunStore, type RunSnapshot, type RunStore } from "./runStore";

const BEFORE: RunSnapshot = {
  state: initialRunState(),
  phase: "connecting",
  diagnosis: null,
  notFound: false,
  problem: null,
};

export function useRun(runId: string): { snapshot: RunSnapshot; refresh: () => void } {
  const [store, setStore] = useState<RunStore | null>(null);
  useEffect(() => {
    const opened = openRunStore(runId);
    setStore(opened);
    return () => opened.close();
  }, [runId]);
  const snapshot = useSyncExternalStore(store?.subscribe ?? subscribeToNothing, store?.snapshot ?? before);
  return { snapshot, refresh: () => store?.refresh() };
}

function subscribeToNothing(): () => void {
  return () => undefined;
}

function before(): RunSnapshot {
  return BEFORE;
}
