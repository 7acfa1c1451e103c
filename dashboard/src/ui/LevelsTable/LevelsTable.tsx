/** Owns the levels of a load and what came of each. It must not judge. */

import { judgedLatency, type Level, type LoadInfo } from "../../model/results";
import { levelBadge } from "../../view/badges";
import { formatCapacity, formatCount, formatMs, formatPercent, formatRate } from "../../view/format";
import { Badge } from "../Badge";
import { Table } from "../Table";

const FIGURES = ["Delivered", "Requests", "Failed", "p50", "p95", "p99"];
const OF_MODELS = ["TTFT p95", "Goodput"];

export function LevelsTable({ load }: { load: LoadInfo }) {
  const levels = load.levels ?? [];
  const streamed = levels.some((level) => level.metrics.ttft_ms != null);
  return (
    <>
      {load.capacity != null && <p className="note">{formatCapacity(load.capacity)}</p>}
      <Table words={["Asked", "Verdict"]} figures={streamed ? [...FIGURES, ...OF_MODELS] : FIGURES} testId="levels-table">
        {levels.map((level) => (
          <Row key={level.level} level={level} load={load} streamed={streamed} />
        ))}
      </Table>
    </>
  );
}

function Row({ level, load, streamed }: { level: Level; load: LoadInfo; streamed: boolean }) {
  const latency = judgedLatency(level.metrics, load);
  const { ttft_ms: ttft, goodput } = level.metrics;
  const remarks = [...(level.knee ? ["knee: from here on more load costs more latency than it brings"] : []), ...level.reasons];
  return (
    <tr>
      <th scope="row">
        {level.rate_rps !== null ? formatRate(level.rate_rps) : `${formatCount(level.concurrency)} users`}
        {remarks.map((remark) => (
          <div className="note" key={remark}>
            {remark}
          </div>
        ))}
      </th>
      <td>
        <Badge badge={levelBadge(level.verdict)} />
      </td>
      <td className="number">{formatRate(level.delivered_rps)}</td>
      <td className="number">{formatCount(level.metrics.requests)}</td>
      <td className="number">{formatPercent(level.metrics.error_rate)}</td>
      <td className="number">{formatMs(latency.p50)}</td>
      <td className="number">{formatMs(latency.p95)}</td>
      <td className="number">{formatMs(latency.p99)}</td>
      {streamed && <td className="number">{formatMs(ttft?.p95 ?? null)}</td>}
      {streamed && <td className="number">{goodput != null ? `${formatRate(goodput.per_s)}, ${formatPercent(goodput.ratio)}` : "–"}</td>}
    </tr>
  );
}
