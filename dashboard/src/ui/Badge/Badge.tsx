/** Owns the look of a state in one word. It must not know the states. */

import type { BadgeText } from "../../view/badges";
import "./Badge.css";

const MARKS: Record<BadgeText["tone"], string> = { good: "✓", bad: "✕", warn: "!", live: "●", quiet: "○" };

interface Props {
  badge: BadgeText;
  /** What the state is of; stands before the word. */
  label?: string;
  title?: string;
  testId?: string;
}

export function Badge({ badge, label, title, testId }: Props) {
  return (
    <span className={`badge badge-${badge.tone}`} title={title ?? badge.title} data-testid={testId} data-state={badge.text}>
      <span className="badge-mark" aria-hidden="true">
        {MARKS[badge.tone]}
      </span>
      {label !== undefined && <span className="badge-label">{label}</span>}
      {label === undefined ? badge.text : <span className="visually-hidden">: {badge.text}</span>}
    </span>
  );
}
