"""Owns the closed list of causes that a diagnosis may name; the ids are part of the public face."""

from typing import Literal, get_args

CauseId = Literal[
    "client_saturation", "client_pool_limit", "dead_target", "dns", "connect", "tls", "network_loss", "rate_limit",
    "upstream_throttle", "saturation", "pool_exhaustion", "timeout_cliff", "retry_storm", "cold_start",
    "periodic_pause", "slow_replica", "cache_miss", "payload_growth", "error_burst", "server_errors", "bad_request",
    "partial_endpoint", "partial_tenant", "leak_drift", "server_slowdown", "deploy_regression", "auth_failure",
    "quota_exhausted", "prompt_growth", "output_growth", "model_change", "prefill_degradation", "decode_degradation",
    "kv_preemption", "stream_truncation", "no_fault", "unknown", "insufficient_data",
]  # fmt: skip
CAUSE_IDS: tuple[CauseId, ...] = get_args(CauseId)
