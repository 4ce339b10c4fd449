/**
 * Keys of lakeFS by who pushes and where to: with them lakeFS's own permissions and its log of
 * calls see the person. Work that is no push's (reading ahead, the proof of the guard, completing
 * and sweeping what crashes left) is done with the server's own key.
 */
import { z } from "zod";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { matchesGlob } from "./go-glob.js";
import type { LakefsAccess } from "./http.js";
import { parseYaml } from "./yaml.js";

const ENTRY = z
  .strictObject({
    account: z.string().min(1).optional(),
    repository: z.string().min(1).optional(),
    endpoint: z.url({ protocol: /^https?$/ }).optional(),
    access_key_id: z.string().min(1),
    secret_access_key: z.string().min(1),
  })
  .refine(
    ({ account, repository }) => account !== undefined || repository !== undefined,
    "an entry is for an account, a repository, or both",
  );
const FILE = z.array(ENTRY).max(LIMITS.lakefsCredentialsMax);

export interface CredentialEntry {
  /** Undefined: any, and who has none. */
  readonly account: string | undefined;
  /** Pattern of lakeFS's names (go-glob.ts); undefined: any. */
  readonly repository: string | undefined;
  readonly access: LakefsAccess;
}

/**
 * Entries of the file, in its order. `server`: its endpoint is theirs where they name none. Returns
 * why not; no secret is in it.
 */
export function readCredentials(
  text: string,
  server: LakefsAccess,
): readonly CredentialEntry[] | { readonly reason: string } {
  let value: unknown;
  try {
    value = parseYaml(text, { logLevel: "silent", maxAliasCount: LIMITS.actionAliasesMax });
  } catch {
    return { reason: "it is no YAML" }; // its message would quote the line
  }
  const parsed = FILE.safeParse(value ?? []);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return { reason: `${issue?.path.join(".") || "the list"}: ${issue?.message}` };
  }
  return parsed.data.map(
    ({
      account,
      repository,
      endpoint,
      access_key_id: accessKeyId,
      secret_access_key: secretAccessKey,
    }) => {
      return {
        account,
        repository,
        access: { ...server, endpoint: endpoint ?? server.endpoint, accessKeyId, secretAccessKey },
      };
    },
  );
}

export class LakefsCredentials {
  readonly #entries: readonly CredentialEntry[];
  readonly #refuses: boolean;

  /** `missing`: what becomes of a push that no entry is for. */
  constructor(entries: readonly CredentialEntry[], missing: "server" | "refuse") {
    this.#entries = entries;
    this.#refuses = missing === "refuse";
  }

  /** The first entry that fits; undefined: the server's own key. Throws "lakefs/no-credentials". */
  accessFor(account: string | undefined, repository: string): LakefsAccess | undefined {
    const found = this.#entries.find(
      (entry) =>
        (entry.account === undefined || entry.account === account) &&
        (entry.repository === undefined || matchesGlob(entry.repository, repository)),
    );
    if (found === undefined && this.#refuses) throw new Fault("lakefs/no-credentials");
    return found?.access;
  }
}
