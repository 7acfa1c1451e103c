/** Owns reading the form of a new run into a scenario. It must not judge it: the API does, in the same words for all. */

import type { ScenarioDraft } from "../../api/client";

/** The fields of the form, by name. */
export type NewRunFields = Readonly<Record<"target" | "name" | "mode" | "amount" | "duration" | "sla", string>>;

export function scenarioOf(fields: NewRunFields): ScenarioDraft {
  const amount = Number(fields.amount);
  const duration = fields.duration.trim();
  const name = fields.name.trim();
  return {
    target: fields.target.trim(),
    ...(name === "" ? {} : { name }),
    load: {
      ...(fields.mode === "rate" ? { rate: amount } : { concurrency: amount }),
      ...(duration === "" ? {} : { duration }),
    },
    sla: fields.sla
      .split(/[\n;]/)
      .map((line) => line.trim())
      .filter((line) => line !== ""),
  };
}
