/** Owns the words for causes. It must not know how a cause is found. */

import { formatId } from "./format";

const WORDS: Readonly<Record<string, string>> = {
  client_saturation: "The load generator itself was saturated",
  client_pool_limit: "The client's own connection limit",
  dead_target: "The target did not answer",
  dns: "Slow or failing name resolution",
  connect: "Slow or failing connections",
  tls: "Slow or failing TLS handshakes",
  network_loss: "Packet loss on the network",
  rate_limit: "The target limits the rate",
  upstream_throttle: "A service behind the target throttles",
  saturation: "The server is saturated",
  pool_exhaustion: "A pool on the server is exhausted",
  timeout_cliff: "A timeout cuts requests off",
  retry_storm: "Retries add to the load",
  cold_start: "Cold start",
  periodic_pause: "A pause that comes back regularly",
  slow_replica: "One replica is slow",
  cache_miss: "Cache misses",
  payload_growth: "Answers grew",
  error_burst: "A burst of errors",
  server_errors: "The server answers with errors",
  bad_request: "The server refuses the requests",
  partial_endpoint: "One endpoint only",
  partial_tenant: "One tenant only",
  leak_drift: "A slow drift, as from a leak",
  server_slowdown: "The server got slower",
  deploy_regression: "A regression since the baseline",
  auth_failure: "Authentication fails",
  quota_exhausted: "A quota is used up",
  prompt_growth: "Prompts grew",
  output_growth: "Outputs grew",
  model_change: "Another model answers",
  prefill_degradation: "Prefill got slower",
  decode_degradation: "Decoding got slower",
  kv_preemption: "Requests were preempted",
  stream_truncation: "Streams end early",
  no_fault: "No fault found",
  unknown: "Something not known here",
  insufficient_data: "Not enough data to tell",
};

export function causeWords(cause: string): string {
  return WORDS[cause] ?? formatId(cause);
}
