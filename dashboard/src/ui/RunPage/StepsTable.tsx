/** Owns the figures of each step of a run. It must not compute them. */

import { judgedLatency, type LoadInfo, type StepMetrics } from "../../model/results";
import { formatCount, formatMs, formatPercent, formatRate } from "../../view/format";
import { Card } from "../Card";
import { Table } from "../Table";

export function StepsTable({ steps, load }: { steps: readonly StepMetrics[]; load: LoadInfo }) {
  return (
    <Card title="Steps">
      <Table words={["Step"]} figures={["Requests", "Throughput", "Error rate", "p50", "p95", "p99"]}>
        {steps.map((step) => {
          const latency = judgedLatency(step, load);
          return (
            <tr key={step.name}>
              <th scope="row">{step.name}</th>
              <td className="number">{formatCount(step.requests)}</td>
              <td className="number">{formatRate(step.throughput_rps)}</td>
              <td className="number">{formatPercent(step.error_rate)}</td>
              <td className="number">{formatMs(latency.p50)}</td>
              <td className="number">{formatMs(latency.p95)}</td>
              <td className="number">{formatMs(latency.p99)}</td>
            </tr>
          );
        })}
      </Table>
    </Card>
  );
}
