/** Owns a run beside its baseline. It must not compare. */

import type { Comparison, Regression, RegressionMetric } from "../../model/results";
import type { BadgeText } from "../../view/badges";
import { formatNumber, NOTHING, shortId } from "../../view/format";
import { Badge } from "../Badge";
import { Card } from "../Card";
import { Link } from "../Link";
import { pathOfRun } from "../route";
import { Table } from "../Table";

const WORDS: Record<Comparison, BadgeText> = {
  worse: { text: "worse", tone: "bad", title: "Worse than the baseline" },
  better: { text: "better", tone: "good", title: "Better than the baseline" },
  same: { text: "same", tone: "quiet", title: "No difference that matters" },
  not_enough_data: { text: "no data", tone: "warn", title: "Not enough data to tell" },
};

export function RegressionTable({ regression }: { regression: Regression }) {
  return (
    <Card
      title="Against the baseline"
      testId="regression"
      aside={<Badge badge={WORDS[regression.verdict]} />}
    >
      <p className="note">
        Baseline <Link href={pathOfRun(regression.baseline_run_id)}>{shortId(regression.baseline_run_id)}</Link>,{" "}
        {regression.blocks} seconds beside {regression.baseline_blocks}; the interval covers 99%.
      </p>
      <Table words={["Figure", "Verdict"]} figures={["Baseline", "This run", "Change", "Interval", "p"]}>
        {regression.metrics.map((metric) => (
          <Row metric={metric} key={metric.metric} />
        ))}
      </Table>
    </Card>
  );
}

function Row({ metric }: { metric: RegressionMetric }) {
  return (
    <tr>
      <th scope="row">
        <code>{metric.metric}</code>
      </th>
      <td>
        <Badge badge={WORDS[metric.verdict]} />
      </td>
      <td className="number">{formatNumber(metric.baseline)}</td>
      <td className="number">{formatNumber(metric.actual)}</td>
      <td className="number">{change(metric.ratio)}</td>
      <td className="number">
        {metric.low === null || metric.high === null ? NOTHING : `${change(metric.low)} to ${change(metric.high)}`}
      </td>
      <td className="number">
        {metric.p_value !== null && metric.p_value < 0.001 ? "< 0.001" : formatNumber(metric.p_value)}
      </td>
    </tr>
  );
}

/** A ratio of 1.10 as +10%. */
function change(ratio: number | null): string {
  if (ratio === null) return NOTHING;
  const percent = Math.round((ratio - 1) * 1000) / 10;
  return `${percent > 0 ? "+" : percent < 0 ? "\u2212" : "±"}${formatNumber(Math.abs(percent))}%`;
}
