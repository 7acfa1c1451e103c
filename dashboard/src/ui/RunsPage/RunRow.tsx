/** Owns one run as a row of the table. It must not know the other runs. */

import type { MouseEvent } from "react";
import { isOpenLoop, judgedLatency, type RunResult } from "../../model/results";
import { runBadge, slaBadge } from "../../view/badges";
import { causeWords } from "../../view/causes";
import {
  formatAgo,
  formatCount,
  formatInstant,
  formatInUnit,
  formatMs,
  formatPercent,
  formatRate,
  NOTHING,
} from "../../view/format";
import { Badge } from "../Badge";
import { Link } from "../Link";
import { goTo, pathOfRun } from "../route";

export function RunRow({ run, nowMs }: { run: RunResult; nowMs: number }) {
  const { metrics } = run;
  const latency = judgedLatency(metrics, run.load);
  const latencyTitle = isOpenLoop(run.load) ? "Scheduled latency: counted from when each request was due" : "Latency";
  const any = metrics.requests > 0;
  const open = (event: MouseEvent<HTMLElement>): void => {
    // The whole row is a target for the mouse; links and marked text keep their own meaning.
    if (event.defaultPrevented || (event.target as HTMLElement).closest("a") !== null) return;
    if (event.button === 0 && window.getSelection()?.toString() === "") goTo(pathOfRun(run.run_id));
  };
  return (
    <tr data-testid="run-row" data-run-id={run.run_id} onClick={open}>
      <th scope="row" className="run-name">
        <Link href={pathOfRun(run.run_id)}>{run.name}</Link>
        <div className="note run-target" title={run.target}>
          {run.target}
        </div>
      </th>
      <td>
        <Badge badge={runBadge(run.status, run.verdict)} testId="verdict" />
      </td>
      <td>
        <Promises run={run} />
      </td>
      <td className="number">{formatCount(metrics.requests)}</td>
      <td className="number">{any ? formatRate(metrics.throughput_rps) : NOTHING}</td>
      <td className="number">{any ? formatPercent(metrics.error_rate) : NOTHING}</td>
      {(["p50", "p95", "p99"] as const).map((name) => (
        <td className="number" title={latencyTitle} key={name}>
          {formatMs(latency[name])}
        </td>
      ))}
      <td className="top-cause">
        <TopCause run={run} />
      </td>
      <td className="started">
        <time dateTime={run.started_at ?? undefined} title={formatInstant(run.started_at)}>
          {formatAgo(run.started_at, nowMs)}
        </time>
      </td>
    </tr>
  );
}

function Promises({ run }: { run: RunResult }) {
  if (run.sla.length === 0) return <span className="note">none</span>;
  return (
    <ul className="promises">
      {run.sla.map((promise, index) => {
        const badge = slaBadge(promise.status);
        const actual = formatInUnit(promise.actual, promise.unit);
        return (
          <li key={`${index}-${promise.expression}`}>
            <Badge badge={badge} label={promise.expression} title={`${promise.expression}: ${badge.title} (${actual})`} />
          </li>
        );
      })}
    </ul>
  );
}

function TopCause({ run }: { run: RunResult }) {
  const top = run.diagnosis?.causes[0];
  if (top === undefined) return <span className="note">{NOTHING}</span>;
  return (
    <span title={run.diagnosis?.summary}>
      {causeWords(top.cause)} <span className="note">{formatPercent(Math.round(top.confidence * 100) / 100)}</span>
    </span>
  );
}
