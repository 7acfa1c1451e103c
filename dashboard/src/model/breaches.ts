/** Owns breach records and the stretches of the run they mark. It must not know how they are drawn. */

interface BreachFacts {
  id: string;
  sla_index: number;
  expression: string;
  window: number;
  target: number;
  actual: number | null;
}

export type BreachRecord =
  | ({ type: "SlaBreached"; lower_bound: boolean; abort: boolean } & BreachFacts)
  | ({ type: "SlaRecovered" } & BreachFacts);

/** A promise was in breach from second `from` on, up to but without second `to` (null: it still is). */
export interface BreachSpan {
  slaIndex: number;
  expression: string;
  from: number;
  to: number | null;
}

/** The spans after one more record; a record that came before changes nothing. */
export function withBreach(spans: readonly BreachSpan[], record: BreachRecord): readonly BreachSpan[] {
  const open = spans.findIndex((span) => span.slaIndex === record.sla_index && span.to === null);
  const known = spans.some(
    (span) =>
      span.slaIndex === record.sla_index &&
      (record.type === "SlaBreached" ? span.from === record.window : span.to === record.window),
  );
  if (known) return spans;
  if (record.type === "SlaBreached") {
    if (open >= 0) return spans;
    return [
      ...spans,
      { slaIndex: record.sla_index, expression: record.expression, from: record.window, to: null },
    ];
  }
  return spans.map((span, index) => (index === open ? { ...span, to: record.window } : span));
}
