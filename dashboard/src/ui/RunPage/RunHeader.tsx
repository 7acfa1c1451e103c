/** Owns the head of a run's page: what it is, how it stands, stopping it. It must not know its figures. */

import { useState } from "react";
import { cancelRun } from "../../api/client";
import { messageOf } from "../../api/errors";
import type { StreamPhase } from "../../api/stream";
import { isOn, type RunResult } from "../../model/results";
import type { RunState } from "../../model/runState";
import { runBadge } from "../../view/badges";
import { formatDuration, formatId, formatInstant, formatNumber, formatSecond } from "../../view/format";
import { Badge } from "../Badge";
import { Link } from "../Link";

interface Props {
  runId: string;
  state: RunState;
  phase: StreamPhase;
  problem: string | null;
  onAsked: () => void;
}

export function RunHeader({ runId, state, phase, problem, onAsked }: Props) {
  const { result } = state;
  return (
    <header className="run-head">
      <nav aria-label="Breadcrumb" className="note">
        <Link href="/">Runs</Link> <span aria-hidden="true">/</span> <code>{runId}</code>
      </nav>
      <div className="run-title">
        <h1>{result?.name ?? "Run"}</h1>
        <span role="status">
          <Badge badge={runBadge(state.status, state.verdict)} testId="verdict" />
        </span>
        {isOn(state.status) && <Progress state={state} phase={phase} />}
        {isOn(state.status) && <CancelButton runId={runId} onAsked={onAsked} />}
      </div>
      {result !== null && <Facts result={result} startedAt={state.startedAt} />}
      {result !== null && <Remarks result={result} />}
      {problem !== null && (
        <p className="remark remark-bad" role="alert">
          {problem}
        </p>
      )}
    </header>
  );
}

const PHASES: Record<StreamPhase, string> = {
  connecting: "connecting…",
  live: "live",
  retrying: "connection lost, trying again…",
  closed: "",
};

function Progress({ state, phase }: { state: RunState; phase: StreamPhase }) {
  const seconds = state.timeline.second.length;
  return (
    <span className="note" data-testid="progress">
      {seconds > 0 && `${formatSecond(seconds)} in · `}
      {PHASES[phase]}
    </span>
  );
}

function CancelButton({ runId, onAsked }: { runId: string; onAsked: () => void }) {
  const [asked, setAsked] = useState(false);
  const [refusal, setRefusal] = useState<string | null>(null);
  const cancel = async (): Promise<void> => {
    setAsked(true);
    setRefusal(null);
    try {
      await cancelRun(runId);
      onAsked();
    } catch (error) {
      setRefusal(messageOf(error));
      setAsked(false);
    }
  };
  return (
    <>
      <button type="button" className="danger-button" disabled={asked} onClick={() => void cancel()}>
        {asked ? "Stopping…" : "Stop run"}
      </button>
      {refusal !== null && (
        <span className="error-text" role="alert">
          {refusal}
        </span>
      )}
    </>
  );
}

function Facts({ result, startedAt }: { result: RunResult; startedAt: string | null }) {
  const labels = Object.entries(result.labels);
  return (
    <dl className="facts">
      <div>
        <dt>Target</dt>
        <dd className="break">{result.target}</dd>
      </div>
      <div>
        <dt>Load</dt>
        <dd>{loadWords(result)}</dd>
      </div>
      <div>
        <dt>Started</dt>
        <dd>{formatInstant(startedAt)}</dd>
      </div>
      {result.metrics.duration_s > 0 && (
        <div>
          <dt>Duration</dt>
          <dd>{formatDuration(result.metrics.duration_s)}</dd>
        </div>
      )}
      {labels.length > 0 && (
        <div>
          <dt>Labels</dt>
          <dd className="break">{labels.map(([key, value]) => `${key}=${value}`).join(", ")}</dd>
        </div>
      )}
    </dl>
  );
}

function loadWords({ load }: RunResult): string {
  const { kind, intended_rps: rate, concurrency } = load;
  const connections = concurrency === null ? "" : `${concurrency} connection${concurrency === 1 ? "" : "s"}`;
  if (rate !== null) return `${formatNumber(rate)}/s, open loop${connections === "" ? "" : `, at most ${connections}`}`;
  return connections === "" ? formatId(kind) : `${connections}, closed loop`;
}

function Remarks({ result }: { result: RunResult }) {
  const { validity, events, failure } = result;
  return (
    <>
      {failure !== null && <p className="remark remark-bad">{failure}</p>}
      {validity.reasons.length > 0 && (
        <p className="remark remark-bad">
          <strong>Not to be trusted:</strong> {validity.reasons.map(formatId).join("; ")}
        </p>
      )}
      {validity.warnings.length > 0 && (
        <p className="remark remark-warn">
          <strong>Mind:</strong> {validity.warnings.map(formatId).join("; ")}
        </p>
      )}
      {events.lost > 0 && (
        <p className="remark remark-warn">
          <strong>{events.lost} events were lost</strong> of {events.published} acknowledged.
        </p>
      )}
    </>
  );
}
