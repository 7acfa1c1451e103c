/** Owns the address bar: which page it names and going to another. It must not know what the pages show. */

import { useSyncExternalStore } from "react";

export type Route = { page: "runs" } | { page: "run"; runId: string } | { page: "unknown"; path: string };

const MOVED = "queryscope:moved";

export function routeOf(path: string): Route {
  if (path === "/" || path === "") return { page: "runs" };
  const runId = /^\/runs\/([0-9a-f]{32})\/?$/.exec(path)?.[1];
  return runId === undefined ? { page: "unknown", path } : { page: "run", runId };
}

export function pathOfRun(runId: string): string {
  return `/runs/${runId}`;
}

export function goTo(path: string): void {
  window.history.pushState(null, "", path);
  window.scrollTo(0, 0);
  window.dispatchEvent(new Event(MOVED));
}

export function usePath(): string {
  return useSyncExternalStore(watchPath, () => window.location.pathname);
}

function watchPath(changed: () => void): () => void {
  window.addEventListener("popstate", changed);
  window.addEventListener(MOVED, changed);
  return () => {
    window.removeEventListener("popstate", changed);
    window.removeEventListener(MOVED, changed);
  };
}
