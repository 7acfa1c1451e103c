/** Owns the calls to the HTTP API. It must not know what is done with the answers. */

import type { Diagnosis } from "../model/diagnosis";
import type { RunResult } from "../model/results";
import { ApiError } from "./errors";

export interface RunsPage {
  runs: RunResult[];
  next: string | null;
}

/** What a person fills in to start a run; the API reads and judges it. */
export interface ScenarioDraft {
  target: string;
  name?: string;
  load: { concurrency?: number; rate?: number; duration?: string };
  sla: string[];
}

export function fetchRuns(limit: number, cursor: string | null, signal?: AbortSignal): Promise<RunsPage> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (cursor !== null) query.set("cursor", cursor);
  return call<RunsPage>(`/v1/runs?${query.toString()}`, { signal: signal ?? null });
}

export function fetchRun(runId: string, signal?: AbortSignal): Promise<RunResult> {
  return call<RunResult>(`/v1/runs/${encodeURIComponent(runId)}`, { signal: signal ?? null });
}

/** Null while there is none. */
export async function fetchDiagnosis(runId: string, signal?: AbortSignal): Promise<Diagnosis | null> {
  try {
    return await call<Diagnosis>(`/v1/runs/${encodeURIComponent(runId)}/diagnosis`, { signal: signal ?? null });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

export async function startRun(scenario: ScenarioDraft): Promise<string> {
  const answer = await call<{ run_id: string }>("/v1/runs", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(scenario),
  });
  return answer.run_id;
}

export async function cancelRun(runId: string): Promise<void> {
  await call<unknown>(`/v1/runs/${encodeURIComponent(runId)}/cancel`, { method: "POST" });
}

async function call<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { Accept: "application/json", ...init.headers } });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "QueryScope does not answer. Is `queryscope serve` still running?");
  }
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, problemText(response.status, body));
  return body as T; // the server's schemas vouch for the shape
}

/** The words of a problem+json answer (RFC 9457), or what its status means. */
export function problemText(status: number, body: unknown): string {
  if (typeof body === "object" && body !== null) {
    const { detail, title } = body as { detail?: unknown; title?: unknown };
    if (typeof detail === "string" && detail !== "") return detail;
    if (typeof title === "string" && title !== "") return title;
  }
  if (status === 401 || status === 403) return `This server asks for a key that this page does not have (${status}).`;
  if (status === 404) return "There is no such thing here (404).";
  return `The server answered ${status}.`;
}
