/** Owns the choice of how many seconds a percentile covers. It must not know what is drawn with it. */

import { type Span, SPANS } from "../../model/timeline";

export function SpanChoice({ span, onChoice }: { span: Span; onChoice: (span: Span) => void }) {
  return (
    <div className="choice" role="group" aria-label="Seconds that each percentile covers">
      {SPANS.map((choice) => (
        <button type="button" key={choice} aria-pressed={choice === span} onClick={() => onChoice(choice)}>
          {choice} s
        </button>
      ))}
    </div>
  );
}
