/** Owns the diagnosis panel: causes in order, what speaks for and against each, what was checked. It must not infer. */

import type { Cause, Checked, Diagnosis } from "../../model/diagnosis";
import type { DiagnosisSummary } from "../../model/results";
import { causeWords } from "../../view/causes";
import { formatNumber, formatPercent, shortId } from "../../view/format";
import { Card } from "../Card";
import { Link } from "../Link";
import { pathOfRun } from "../route";
import { type ShownDiagnosis, shownDiagnosis } from "./Diagnosis.utils";
import "./Diagnosis.css";

interface Props {
  full: Diagnosis | null;
  brief: DiagnosisSummary | null;
  /** The run may still be diagnosed. */
  pending: boolean;
}

export function DiagnosisPanel({ full, brief, pending }: Props) {
  const shown = shownDiagnosis(full, brief);
  return (
    <Card
      title="Diagnosis"
      testId="diagnosis"
      aside={shown !== null && !shown.final && <span className="note">so far; the run is not judged yet</span>}
    >
      {shown === null ? <Without pending={pending} /> : <Body shown={shown} />}
    </Card>
  );
}

function Without({ pending }: { pending: boolean }) {
  return (
    <p className="note">
      {pending
        ? "None yet. A run is diagnosed when a promise breaks and again at its end."
        : "There is no diagnosis of this run."}
    </p>
  );
}

function Body({ shown }: { shown: ShownDiagnosis }) {
  return (
    <>
      <p className="diagnosis-summary">{shown.summary}</p>
      <div className="diagnosis-columns">
        <div>
          <h3>Causes, most likely first</h3>
          {shown.causes.length === 0 && <p className="note">No cause stands out.</p>}
          <ol className="causes">
            {shown.causes.map((cause) => (
              <CauseItem cause={cause} key={cause.cause} />
            ))}
          </ol>
          {shown.nextExperiment !== "" && (
            <>
              <h3>Next experiment</h3>
              <p>{shown.nextExperiment}</p>
            </>
          )}
        </div>
        <div>
          <h3>Evidence</h3>
          {shown.evidence.length === 0 && <p className="note">None.</p>}
          <ul className="evidence">
            {shown.evidence.map((item) => (
              <li id={anchor(item.id)} key={item.id} tabIndex={-1}>
                <span className="evidence-id">{item.id}</span>
                <div>
                  {item.text}
                  {(shown.figures.get(item.id) ?? "") !== "" && <div className="note">{shown.figures.get(item.id)}</div>}
                </div>
              </li>
            ))}
          </ul>
        </div>
      </div>
      <WhatWasChecked shown={shown} />
      <OtherRuns shown={shown} />
    </>
  );
}

function CauseItem({ cause }: { cause: Cause }) {
  return (
    <li className="cause" data-testid="cause" data-cause={cause.cause}>
      <div className="cause-head">
        <strong>{causeWords(cause.cause)}</strong>
        <code>{cause.cause}</code>
        <span className="cause-confidence">{formatPercent(Math.round(cause.confidence * 100) / 100)}</span>
      </div>
      <meter
        className="confidence"
        min={0}
        max={1}
        value={cause.confidence}
        aria-label={`Confidence in ${causeWords(cause.cause)}`}
      />
      {cause.explanation !== "" && <p>{cause.explanation}</p>}
      <p className="note">
        <EvidenceLinks words="for" ids={cause.supports} />
        <EvidenceLinks words="against" ids={cause.contradicts} />
        {cause.indistinguishable_from.length > 0 && (
          <span>With this data it looks the same as: {cause.indistinguishable_from.map(causeWords).join(", ")}.</span>
        )}
      </p>
    </li>
  );
}

function EvidenceLinks({ words, ids }: { words: string; ids: readonly string[] }) {
  if (ids.length === 0) return null;
  return (
    <span className="evidence-links">
      {words}{" "}
      {ids.map((id) => (
        <a href={`#${anchor(id)}`} key={id}>
          {id}
        </a>
      ))}
    </span>
  );
}

function WhatWasChecked({ shown }: { shown: ShownDiagnosis }) {
  const innocent = shown.checked.filter((checked) => checked.outcome === "innocent");
  const unjudged = shown.checked.filter((checked) => checked.outcome === "not_enough_data");
  return (
    <>
      <CheckedList title="Looked for and not found" checked={innocent} />
      <CheckedList title="Could not be judged with this data" checked={unjudged} />
      {shown.checkedWords.length > 0 && (
        <details>
          <summary>Also checked ({shown.checkedWords.length})</summary>
          <ul className="checked">
            {shown.checkedWords.map((words) => (
              <li key={words}>{words}</li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function CheckedList({ title, checked }: { title: string; checked: readonly Checked[] }) {
  if (checked.length === 0) return null;
  return (
    <details>
      <summary>
        {title} ({checked.length})
      </summary>
      <ul className="checked">
        {checked.map((item) => (
          <li key={item.cause}>
            <strong>{causeWords(item.cause)}</strong>
            {item.reason !== "" && `: ${item.reason}`} <EvidenceLinks words="see" ids={item.evidence} />
          </li>
        ))}
      </ul>
    </details>
  );
}

function OtherRuns({ shown }: { shown: ShownDiagnosis }) {
  if (shown.recentRuns.length === 0 && shown.similarRuns.length === 0) return null;
  return (
    <details>
      <summary>Runs it was held against ({shown.recentRuns.length + shown.similarRuns.length})</summary>
      <ul className="checked">
        {shown.similarRuns.map((run) => (
          <li key={run.run_id}>
            resembles <Link href={pathOfRun(run.run_id)}>{shortId(run.run_id)}</Link> ({formatNumber(run.score)}
            {run.verdict !== null && `, ${run.verdict}`}){run.summary !== "" && `: ${run.summary}`}
          </li>
        ))}
        {shown.recentRuns.length > 0 && (
          <li>
            recent:{" "}
            {shown.recentRuns.map((runId) => (
              <Link className="run-reference" href={pathOfRun(runId)} key={runId}>
                {shortId(runId)}
              </Link>
            ))}
          </li>
        )}
      </ul>
    </details>
  );
}

function anchor(evidenceId: string): string {
  return `evidence-${evidenceId}`;
}
