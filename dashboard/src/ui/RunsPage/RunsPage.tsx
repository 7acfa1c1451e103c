/** Owns the page of all runs. It must not know how a run is measured. */

import { useEffect, useState } from "react";
import type { RunResult } from "../../model/results";
import { NewRun } from "../NewRun";
import { useRuns } from "../useRuns";
import { RunRow } from "./RunRow";
import "./RunsPage.css";

const COLUMNS: readonly [title: string, isNumber: boolean][] = [
  ["Run", false],
  ["Verdict", false],
  ["Promises", false],
  ["Requests", true],
  ["Throughput", true],
  ["Errors", true],
  ["p50", true],
  ["p95", true],
  ["p99", true],
  ["Top cause", false],
  ["Started", false],
];

export function RunsPage() {
  const { runs, problem, hasOlder, showOlder } = useRuns();
  const [formOpen, setFormOpen] = useState(false);
  useEffect(() => {
    document.title = "Runs · QueryScope";
  }, []);
  return (
    <>
      <div className="page-head">
        <h1>Runs</h1>
        <button
          type="button"
          className="main-button"
          aria-expanded={formOpen}
          aria-controls="new-run"
          onClick={() => setFormOpen(!formOpen)}
        >
          {formOpen ? "Close" : "New run"}
        </button>
      </div>
      <div id="new-run" hidden={!formOpen}>
        {formOpen && <NewRun />}
      </div>
      {problem !== null && (
        <p className="remark remark-bad" role="alert">
          {problem}
        </p>
      )}
      {runs === null && problem === null && <p className="note">Loading…</p>}
      {runs !== null && (runs.length === 0 ? <NoRuns /> : <RunTable runs={runs} />)}
      {hasOlder && (
        <button type="button" className="quiet-button" onClick={showOlder}>
          Show older runs
        </button>
      )}
    </>
  );
}

function RunTable({ runs }: { runs: readonly RunResult[] }) {
  const nowMs = Date.now();
  return (
    <div className="card scroll runs">
      <table data-testid="run-table">
        <caption className="visually-hidden">Runs, newest first</caption>
        <thead>
          <tr>
            {COLUMNS.map(([title, isNumber]) => (
              <th scope="col" className={isNumber ? "number" : undefined} key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <RunRow run={run} nowMs={nowMs} key={run.run_id} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function NoRuns() {
  return (
    <div className="empty" data-testid="no-runs">
      <h2>No runs yet</h2>
      <p>Start one with “New run” above, or from a terminal:</p>
      <pre>
        <code>queryscope run http://127.0.0.1:8080/ -c 10 -d 30s --sla &quot;p95 &lt; 200ms&quot;</code>
      </pre>
      <p>
        To see a fault being found, run <code>queryscope demo</code>.
      </p>
    </div>
  );
}
