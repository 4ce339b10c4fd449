/**
 * The door for lakeFS' webhooks: an action's hook of type `webhook` posts here after a commit, a
 * merge or a new branch or tag, and the head is synthesized before anyone asks. Nothing of what it
 * says is believed but the repository's name, and that only makes us look.
 *
 *   hooks: [{id: lakepack, type: webhook, properties: {url: "…/api/lakefs/webhook", headers:
 *   {X-Lakepack-Secret: "{{ ENV.LAKEFSACTION_SECRET }}"}}}]
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Fault } from "../base/fault.js";
import { isLakefsRepositoryName } from "../lakefs/rules/hub-names.js";

export const WEBHOOK_HEADER = "x-lakepack-secret";

/**
 * Throws "http/not-found" where no secret is set: the door is shut then; "http/denied" where
 * another one is shown.
 */
export function checkWebhookSecret(secret: string, shown: string | undefined): void {
  if (secret === "") throw new Fault("http/not-found");
  // Digests have one length: comparing them tells nothing of the secret's.
  const [expected, given] = [secret, shown ?? ""].map((text) =>
    createHash("sha256").update(text).digest(),
  ) as [Buffer, Buffer];
  if (!timingSafeEqual(expected, given)) throw new Fault("http/denied", { header: WEBHOOK_HEADER });
}

/** The repository an event is about. Throws "http/bad-request". */
export function webhookRepository(body: unknown): string {
  const { repository_id: name } = (typeof body === "object" && body !== null ? body : {}) as {
    repository_id?: unknown;
  };
  if (typeof name !== "string" || !isLakefsRepositoryName(name))
    throw new Fault("http/bad-request", { reason: "an event of lakeFS names its repository_id" });
  return name;
}
