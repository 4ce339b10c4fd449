/** The settings of pushes to a repository, and who has set each. */
import type { FsckLevel } from "../git/fsck/levels.js";
import type { PushPolicy } from "../serve/conversation/push-policy.js";
import {
  type MissingObjects,
  policyFor,
  readSettingsOf,
} from "../serve/conversation/repository-settings.js";

export type From = "server" | "repository";

export interface Sourced<T> {
  readonly value: T;
  readonly from: From;
}

export interface SettingsFacts {
  /** False: nothing is checked, whatever the levels are. */
  readonly fsck: Sourced<boolean>;
  /** By message id: those that are not as Git has them. */
  readonly fsck_levels: Readonly<Record<string, Sourced<FsckLevel>>>;
  readonly fsck_skip_list: {
    /** Number of ids that the server's file has. */
    readonly server: number;
    readonly repository: readonly string[];
  };
  readonly lfs_missing_objects: Sourced<MissingObjects>;
}

const OID_BYTES = 20;

export function settingsFacts(
  server: PushPolicy,
  row: { readonly settings: string | null },
): SettingsFacts {
  const own = readSettingsOf(row);
  const effective = policyFor(server, own);
  const from = (isOwn: boolean): From => (isOwn ? "repository" : "server");
  const levels = Object.entries({ ...server.fsckLevels, ...own.fsck_levels });
  return {
    fsck: { value: server.fsck, from: "server" },
    fsck_levels: Object.fromEntries(
      levels.map(([id, value]) => [id, { value, from: from(own.fsck_levels?.[id] !== undefined) }]),
    ),
    fsck_skip_list: {
      server: (server.fsckSkip?.byteLength ?? 0) / OID_BYTES,
      repository: own.fsck_skip_list ?? [],
    },
    lfs_missing_objects: {
      value: effective.lfsMissingObjects,
      from: from(own.lfs_missing_objects !== undefined),
    },
  };
}
