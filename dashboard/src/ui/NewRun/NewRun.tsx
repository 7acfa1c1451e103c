/** Owns the form that starts a run. It must not know what a good run is. */

import { type FormEvent, useState } from "react";
import { startRun } from "../../api/client";
import { messageOf } from "../../api/errors";
import { goTo, pathOfRun } from "../route";
import { scenarioOf } from "./NewRun.utils";
import "./NewRun.css";

/** The limits are those of the API; a rate may be less than one per second. */
const AMOUNTS = {
  concurrency: { min: 1, max: 20_000, step: 1, defaultValue: 10 },
  rate: { min: 0.001, max: 1_000_000, step: "any", defaultValue: 100 },
} as const;

export function NewRun() {
  const [mode, setMode] = useState<keyof typeof AMOUNTS>("concurrency");
  const [asking, setAsking] = useState(false);
  const [refusal, setRefusal] = useState<string | null>(null);

  const submit = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string): string => String(form.get(name) ?? "");
    setAsking(true);
    setRefusal(null);
    try {
      const runId = await startRun(
        scenarioOf({
          target: text("target"),
          name: text("name"),
          mode,
          amount: text("amount"),
          duration: text("duration"),
          sla: text("sla"),
        }),
      );
      goTo(pathOfRun(runId));
    } catch (error) {
      setRefusal(messageOf(error));
      setAsking(false);
    }
  };

  return (
    <form className="card new-run" aria-label="New run" onSubmit={(event) => void submit(event)}>
      <label className="new-run-target">
        Target
        <input name="target" type="url" required placeholder="http://127.0.0.1:8080/path" autoFocus />
      </label>
      <label>
        Name
        <input name="name" type="text" maxLength={200} placeholder="from the target" />
      </label>
      <label>
        Load
        <select name="mode" value={mode} onChange={(event) => setMode(event.target.value === "rate" ? "rate" : "concurrency")}>
          <option value="concurrency">By connections</option>
          <option value="rate">By rate</option>
        </select>
      </label>
      <label>
        {mode === "rate" ? "Requests per second" : "Connections"}
        <input key={mode} name="amount" type="number" required {...AMOUNTS[mode]} />
      </label>
      <label>
        Duration
        <input name="duration" type="text" defaultValue="30s" placeholder="30s or 1m30s" />
      </label>
      <label className="new-run-sla">
        Promises, one a line
        <textarea name="sla" rows={2} placeholder={"p95 < 200ms\nerror_rate < 1%"} spellCheck={false} />
      </label>
      <div className="new-run-end">
        <button type="submit" className="main-button" disabled={asking}>
          {asking ? "Starting…" : "Start run"}
        </button>
        {refusal !== null && (
          <span className="error-text" role="alert">
            {refusal}
          </span>
        )}
      </div>
    </form>
  );
}
