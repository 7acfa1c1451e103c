/** Owns which word and tone a state is shown with. It must not know how a badge looks. */

import type { LevelVerdict, SlaStatus, Status, Verdict } from "../model/results";

export type Tone = "good" | "bad" | "warn" | "live" | "quiet";

export interface BadgeText {
  text: string;
  tone: Tone;
  title: string;
}

const VERDICTS: Record<Verdict, BadgeText> = {
  pass: { text: "pass", tone: "good", title: "Every promise was kept" },
  breach: { text: "breach", tone: "bad", title: "At least one promise was broken" },
  invalid: { text: "invalid", tone: "warn", title: "The run cannot be trusted either way" },
  failed: { text: "failed", tone: "bad", title: "Not one request was answered, or a part of QueryScope failed" },
  cancelled: { text: "cancelled", tone: "quiet", title: "Stopped before its end" },
  lost: { text: "lost", tone: "warn", title: "The run's process died" },
};

const STATUSES: Record<Status, BadgeText> = {
  queued: { text: "queued", tone: "quiet", title: "Waiting for a runner" },
  running: { text: "running", tone: "live", title: "Under load now" },
  finished: { text: "judging", tone: "live", title: "The load has ended, the verdict is to come" },
  failed: { text: "failed", tone: "bad", title: "The run failed" },
  cancelled: { text: "cancelled", tone: "quiet", title: "Stopped before its end" },
  lost: { text: "lost", tone: "warn", title: "The run's process died" },
};

const PROMISES: Record<SlaStatus, BadgeText> = {
  pass: { text: "pass", tone: "good", title: "kept" },
  breach: { text: "breach", tone: "bad", title: "broken" },
  not_enough_data: { text: "no data", tone: "warn", title: "not enough data to tell" },
};

/** The verdict once there is one, else the status. */
export function runBadge(status: Status, verdict: Verdict | null): BadgeText {
  return verdict === null ? STATUSES[status] : VERDICTS[verdict];
}

/** A level is invalid where the client distorted it. */
export function levelBadge(verdict: LevelVerdict): BadgeText {
  return verdict === "invalid" ? VERDICTS.invalid : PROMISES[verdict];
}

export function slaBadge(status: SlaStatus): BadgeText {
  return PROMISES[status];
}
