/** Owns the shape of a full diagnosis as the API serves it. It must not know how it is shown. */

export interface Evidence {
  id: string;
  detector: string;
  text: string;
  compared: string;
  effect: number | null;
  unit: string;
  low: number | null;
  high: number | null;
  p_value: number | null;
  windows: number[];
  events: string[];
}

export interface Cause {
  cause: string;
  confidence: number;
  supports: string[];
  contradicts: string[];
  indistinguishable_from: string[];
  explanation: string;
}

export interface Checked {
  cause: string;
  outcome: "innocent" | "not_enough_data";
  reason: string;
  evidence: string[];
}

export interface SimilarRun {
  run_id: string;
  score: number;
  verdict: string | null;
  summary: string;
}

export interface Diagnosis {
  run_id: string;
  trigger: string;
  final: boolean;
  ruleset: string;
  causes: Cause[];
  evidence: Evidence[];
  checked: Checked[];
  summary: string;
  next_experiment: string;
  recent_runs: string[];
  similar_runs: SimilarRun[];
  sampled_share: number;
}
