/** Owns one EventSource for one run: reading, failing, retrying, closing. It must not know what the events mean. */

import { readEvent, STREAM_EVENT_TYPES, type StreamEvent } from "../model/events";

export type StreamPhase = "connecting" | "live" | "retrying" | "closed";

export interface StreamListener {
  onEvent(event: StreamEvent): void;
  onPhase(phase: StreamPhase): void;
}

const RETRY_MS = 3000;

/**
 * Read a run's events from its beginning until `end`. A dropped connection is resumed by the browser itself with
 * Last-Event-ID; an answer that is no stream (503, a proxy's page) makes the browser give up, so we ask again, from
 * the beginning, which the fold bears. Returns the function that closes it.
 */
export function openRunStream(runId: string, listener: StreamListener): () => void {
  let source: EventSource | null = null;
  let retry: number | undefined;
  let closed = false;

  const close = (): void => {
    closed = true;
    window.clearTimeout(retry);
    source?.close();
  };

  const connect = (): void => {
    const current = new EventSource(`/v1/runs/${encodeURIComponent(runId)}/events`);
    source = current;
    current.onopen = () => listener.onPhase("live");
    current.onerror = () => {
      if (closed) return;
      listener.onPhase("retrying");
      if (current.readyState === EventSource.CLOSED) retry = window.setTimeout(connect, RETRY_MS);
    };
    for (const type of STREAM_EVENT_TYPES) {
      current.addEventListener(type, (message: MessageEvent<string>) => {
        if (closed) return;
        const event = readEvent(type, message.data);
        if (event === null) return;
        listener.onEvent(event);
        if (event.type === "end") {
          close();
          listener.onPhase("closed");
        }
      });
    }
  };

  listener.onPhase("connecting");
  connect();
  return close;
}
