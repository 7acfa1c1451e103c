/** Owns the page of one run: which parts it has and in what order. It must not know how a part is drawn. */

import { useEffect, useState } from "react";
import { isOn, isOpenLoop } from "../../model/results";
import type { Span } from "../../model/timeline";
import { formatUnjudged } from "../../view/format";
import { errorsChart, latencyChart, throughputChart } from "../../view/series";
import { Card } from "../Card";
import { Chart } from "../Chart";
import { DiagnosisPanel } from "../Diagnosis";
import { LevelsTable } from "../LevelsTable";
import { Link } from "../Link";
import { SlaTable } from "../SlaTable";
import { useRun } from "../useRun";
import { Answers } from "./Answers";
import { RegressionTable } from "./RegressionTable";
import { RunHeader } from "./RunHeader";
import { SpanChoice } from "./SpanChoice";
import { StepsTable } from "./StepsTable";
import { Tiles } from "./Tiles";
import "./RunPage.css";

export function RunPage({ runId }: { runId: string }) {
  const { snapshot, refresh } = useRun(runId);
  const { state, phase, notFound, problem } = snapshot;
  const [span, setSpan] = useState<Span>(1);
  const name = state.result?.name ?? "";
  useEffect(() => {
    document.title = name === "" ? "Run · QueryScope" : `${name} · QueryScope`;
  }, [name]);

  if (notFound) return <NoSuchRun runId={runId} />;
  const { result, timeline, version, breaches } = state;
  const openLoop = result !== null && isOpenLoop(result.load);
  const unjudged = result === null ? "" : formatUnjudged(result.load);
  const shared = { timeline, version, breaches };
  return (
    <>
      <RunHeader runId={runId} state={state} phase={phase} problem={problem} onAsked={refresh} />
      <Tiles state={state} openLoop={openLoop} />
      {unjudged !== "" && (
        <p className="note" data-testid="unjudged">
          {unjudged}
        </p>
      )}
      <div className="charts">
        <Chart spec={throughputChart(openLoop)} testId="chart-throughput" {...shared} />
        <Chart spec={errorsChart()} testId="chart-errors" {...shared} />
        <Chart
          spec={latencyChart(openLoop, span)}
          testId="chart-latency"
          controls={<SpanChoice span={span} onChoice={setSpan} />}
          {...shared}
        />
      </div>
      <DiagnosisPanel full={snapshot.diagnosis} brief={state.diagnosis} pending={isOn(state.status) || !state.ended} />
      <Card title="Promises">
        <SlaTable sla={result?.sla ?? []} breaches={breaches} pending={isOn(state.status) || state.verdict === null} />
      </Card>
      {result?.load.levels != null && (
        <Card title="Levels">
          <LevelsTable load={result.load} />
        </Card>
      )}
      {result?.regression != null && <RegressionTable regression={result.regression} />}
      {result !== null && result.steps.length > 1 && <StepsTable steps={result.steps} load={result.load} />}
      {result !== null && <Answers result={result} />}
    </>
  );
}

function NoSuchRun({ runId }: { runId: string }) {
  return (
    <div className="empty">
      <h1>No such run</h1>
      <p>
        <code>{runId}</code> is not in this data directory; it may have been deleted.
      </p>
      <p>
        <Link href="/">All runs</Link>
      </p>
    </div>
  );
}
