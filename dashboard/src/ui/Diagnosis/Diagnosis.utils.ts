/** Owns bringing the brief and the full diagnosis into one shape to show. It must not draw. */

import type { Cause, Checked, Diagnosis, Evidence, SimilarRun } from "../../model/diagnosis";
import type { DiagnosisSummary } from "../../model/results";
import { formatNumber, formatSeconds } from "../../view/format";

export interface ShownDiagnosis {
  summary: string;
  final: boolean;
  causes: Cause[];
  evidence: Pick<Evidence, "id" | "text">[];
  /** The figures behind each evidence item, by its id. */
  figures: Map<string, string>;
  checked: Checked[];
  /** What was checked, in words, when the full diagnosis is not at hand. */
  checkedWords: string[];
  nextExperiment: string;
  recentRuns: string[];
  similarRuns: SimilarRun[];
}

/** The full diagnosis where there is one, else the brief one of the run's result; null when there is neither. */
export function shownDiagnosis(full: Diagnosis | null, brief: DiagnosisSummary | null): ShownDiagnosis | null {
  if (full !== null && (full.final || brief === null || !brief.final)) return fromFull(full);
  return brief === null ? null : fromBrief(brief);
}

function fromFull(full: Diagnosis): ShownDiagnosis {
  return {
    summary: full.summary,
    final: full.final,
    causes: full.causes,
    evidence: full.evidence,
    figures: new Map(full.evidence.map((item) => [item.id, figuresOf(item)])),
    checked: full.checked,
    checkedWords: [],
    nextExperiment: full.next_experiment,
    recentRuns: full.recent_runs,
    similarRuns: full.similar_runs,
  };
}

function fromBrief(brief: DiagnosisSummary): ShownDiagnosis {
  return {
    summary: brief.summary,
    final: brief.final,
    causes: brief.causes.map((cause, rank) => ({
      cause: cause.cause,
      confidence: cause.confidence,
      supports: cause.evidence,
      contradicts: [],
      indistinguishable_from: rank === 0 ? brief.indistinguishable_from : [],
      explanation: "",
    })),
    evidence: brief.evidence,
    figures: new Map(),
    checked: [],
    checkedWords: brief.checked,
    nextExperiment: "",
    recentRuns: [],
    similarRuns: [],
  };
}

/** Effect with its interval, p value, seconds and number of events, as far as they are there. */
export function figuresOf(item: Evidence): string {
  const parts: string[] = item.compared === "" ? [] : [item.compared];
  if (item.effect !== null) {
    const interval = item.low !== null && item.high !== null ? ` [${formatNumber(item.low)}–${formatNumber(item.high)}]` : "";
    parts.push(`effect ${formatNumber(item.effect)}${item.unit === "" ? "" : ` ${item.unit}`}${interval}`);
  }
  if (item.p_value !== null) parts.push(item.p_value < 0.001 ? "p < 0.001" : `p = ${formatNumber(item.p_value)}`);
  if (item.windows.length > 0) parts.push(`seconds ${formatSeconds(item.windows)}`);
  if (item.events.length > 0) parts.push(`${item.events.length} sample events`);
  return parts.join(" · ");
}
