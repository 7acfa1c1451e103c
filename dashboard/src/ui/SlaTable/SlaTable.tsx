/** Owns the promises of a run and what became of them. It must not judge. */

import type { BreachSpan } from "../../model/breaches";
import type { SlaResult } from "../../model/results";
import { slaBadge } from "../../view/badges";
import { formatDelta, formatInUnit, formatSecond } from "../../view/format";
import { Badge } from "../Badge";
import { Table } from "../Table";

interface Props {
  sla: readonly SlaResult[];
  breaches: readonly BreachSpan[];
  /** The promises are not judged yet. */
  pending: boolean;
}

export function SlaTable({ sla, breaches, pending }: Props) {
  if (sla.length === 0 && breaches.length === 0) {
    return (
      <p className="note">
        {pending
          ? "No promise is in breach. Promises are judged when the run ends; a breach shows here at once."
          : "This run was given no promise to keep."}
      </p>
    );
  }
  return (
    <>
      {sla.length > 0 && <Promises sla={sla} />}
      {breaches.length > 0 && (
        <ul className="plain-list note" aria-label="Stretches in breach">
          {breaches.map((span) => (
            <li key={`${span.slaIndex}-${span.from}`}>
              <code>{span.expression}</code> in breach from {formatSecond(span.from)}
              {span.to === null ? " on" : ` to ${formatSecond(span.to)}`}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function Promises({ sla }: { sla: readonly SlaResult[] }) {
  return (
    <Table words={["Promise", "Status"]} figures={["Actual", "Target", "Off by"]} testId="sla-table">
      {sla.map((promise, index) => (
        <tr key={`${index}-${promise.expression}`}>
          <th scope="row">
            <code>{promise.expression}</code>
            {remark(promise) !== "" && <div className="note">{remark(promise)}</div>}
          </th>
          <td>
            <Badge badge={slaBadge(promise.status)} />
          </td>
          <td className="number">
            {promise.lower_bound && promise.actual !== null && (
              <abbr title="at least: requests were cut off before they were answered">≥ </abbr>
            )}
            {formatInUnit(promise.actual, promise.unit)}
          </td>
          <td className="number">{formatInUnit(promise.target, promise.unit)}</td>
          <td className="number">{formatDelta(promise.delta, promise.unit)}</td>
        </tr>
      ))}
    </Table>
  );
}

function remark(promise: SlaResult): string {
  const seconds = promise.breached_windows;
  const inBreach = seconds === 0 ? "" : `in breach for ${seconds} second${seconds === 1 ? "" : "s"}`;
  return [inBreach, promise.note].filter((part) => part !== "").join("; ");
}
