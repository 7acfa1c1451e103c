/** Owns one chart with its caption and its figures as a table. It must not know which figures they are. */

import { type ReactNode, useId, useRef, useState } from "react";
import type { BreachSpan } from "../../model/breaches";
import type { Timeline } from "../../model/timeline";
import { formatSecond } from "../../view/format";
import { type ChartSpec, shownColumn } from "../../view/series";
import { usePalette } from "../usePalette";
import { useChart } from "./Chart.hooks";
import "uplot/dist/uPlot.min.css";
import "./Chart.css";

const HEIGHT = 210;
const ROWS_SHOWN = 300;

interface Props {
  spec: ChartSpec;
  timeline: Timeline;
  version: number;
  breaches: readonly BreachSpan[];
  testId: string;
  controls?: ReactNode;
}

export function Chart({ spec, timeline, version, breaches, testId, controls }: Props) {
  const holder = useRef<HTMLDivElement>(null);
  const [tableOpen, setTableOpen] = useState(false);
  const [titleId, noteId, tableId] = [useId(), useId(), useId()];
  useChart(holder, { spec, timeline, version, breaches, palette: usePalette(), height: HEIGHT });
  const points = spec.points(timeline);
  return (
    <section className="card chart" aria-labelledby={titleId} data-testid={testId} data-points={points}>
      <header className="card-head">
        <h2 id={titleId}>{spec.title}</h2>
        {controls}
      </header>
      <p className="note" id={noteId}>
        {spec.note}
      </p>
      <div className="chart-holder" ref={holder} role="img" aria-labelledby={titleId} aria-describedby={noteId} />
      {points === 0 && <p className="chart-empty">Nothing to draw yet</p>}
      <button
        type="button"
        className="quiet-button"
        aria-expanded={tableOpen}
        aria-controls={tableId}
        onClick={() => setTableOpen(!tableOpen)}
      >
        {tableOpen ? "Hide the figures" : "Show as a table"}
      </button>
      <div id={tableId}>{tableOpen && <Figures spec={spec} timeline={timeline} />}</div>
    </section>
  );
}

function Figures({ spec, timeline }: { spec: ChartSpec; timeline: Timeline }) {
  const newest = timeline.second.slice(-ROWS_SHOWN).reverse();
  // Areas are listed from the top of the stack, which is not the order in which people read them.
  const columns = [...spec.series].reverse().map((series) => ({ series, column: shownColumn(series, timeline) }));
  return (
    <div className="scroll chart-figures" tabIndex={0} role="region" aria-label={`${spec.title}: figures`}>
      <table>
        <caption>
          {timeline.second.length > ROWS_SHOWN ? `The newest ${ROWS_SHOWN} of ${timeline.second.length} seconds` : "Newest first"}
        </caption>
        <thead>
          <tr>
            <th scope="col">at</th>
            {columns.map(({ series }) => (
              <th scope="col" className="number" key={series.label}>
                {series.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {newest.map((second) => (
            <tr key={second}>
              <th scope="row">{formatSecond(second)}</th>
              {columns.map(({ series, column }) => (
                <td className="number" key={series.label}>
                  {spec.format(column[second] ?? null)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
