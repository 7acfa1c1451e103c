"""The words everybody speaks: events, scenario, SLA, results. It must not know I/O, clocks or any package of ours."""
