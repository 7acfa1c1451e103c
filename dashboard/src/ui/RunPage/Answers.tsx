/** Owns the counts of answers by status and of failures by kind. It must not classify them. */

import type { RunResult } from "../../model/results";
import { formatCount, formatPercent } from "../../view/format";
import { Card } from "../Card";
import { Table } from "../Table";

export function Answers({ result }: { result: RunResult }) {
  const { by_status: byStatus, by_error: byError, by_check: byCheck = {}, attempts } = result.metrics;
  const rows = [...counted("HTTP ", byStatus), ...counted("", byError), ...counted("check ", byCheck)];
  if (rows.length === 0) return null;
  return (
    <Card title="Answers">
      <Table words={["Outcome"]} figures={["Count", "Share"]} narrow>
        {rows.map(([outcome, count]) => (
          <tr key={outcome}>
            <th scope="row">{outcome}</th>
            <td className="number">{formatCount(count)}</td>
            <td className="number">{formatPercent(attempts > 0 ? count / attempts : null)}</td>
          </tr>
        ))}
      </Table>
    </Card>
  );
}

function counted(prefix: string, counts: Record<string, number>): [string, number][] {
  return Object.entries(counts)
    .sort((a, b) => b[1] - a[1])
    .map(([name, count]) => [`${prefix}${name}`, count]);
}
