/**
 * The one table of failures and the one class that carries them.
 *
 * A row decides what every boundary does with the failure: `http` is the status where a status can
 * still be chosen, `retry` whether the same request may succeed later, `says` what a client reads.
 * Facts (names, sizes, ids) are added by the thrower; they must never hold a secret.
 */
import { printable } from "./printable.js";

export interface FaultRow {
  readonly http: number;
  readonly retry: boolean;
  readonly says: string;
  /** The whole message, where its form is promised. Any client may read it, whatever the status. */
  readonly text?: (facts: FaultFacts) => string;
}

export const FAULTS = {
  // base
  "base/aborted": { http: 499, retry: true, says: "the request was abandoned" },
  /** The other end of "base/aborted": told where whoever asked is still there. */
  "base/called-off": {
    http: 503,
    retry: true,
    says: "the server gave up the work for this request; ask again",
  },
  "base/timeout": { http: 504, retry: true, says: "it took too long" },
  "base/internal": {
    http: 500,
    retry: false,
    says: "an internal error; the server's log has the details under this request's id",
  },

  // wire: what a client sent is not the protocol
  "wire/bad-length": {
    http: 400,
    retry: false,
    says: "a pkt-line's length is not four hex digits within the limit",
  },
  "wire/truncated": {
    http: 400,
    retry: false,
    says: "the request ended in the middle of a pkt-line",
  },
  "wire/bad-request": {
    http: 400,
    retry: false,
    says: "the request does not follow Git's protocol",
  },
  "wire/unknown-capability": {
    http: 400,
    retry: false,
    says: "a capability or argument was not advertised",
  },
  "wire/too-much": {
    http: 413,
    retry: false,
    says: "the request holds more than this server accepts",
  },
  "wire/bad-filter": { http: 400, retry: false, says: "the filter is not one this server knows" },
  "wire/bad-encoding": { http: 400, retry: false, says: "the body is not valid gzip" },

  // pack: what was pushed is not a pack we can take
  "pack/bad-signature": { http: 422, retry: false, says: "not a pack: bad signature or version" },
  "pack/bad-count": {
    http: 422,
    retry: false,
    says: "the pack holds more or fewer objects than its header says",
  },
  "pack/bad-entry": { http: 422, retry: false, says: "a pack entry has a bad type or header" },
  "pack/bad-varint": { http: 422, retry: false, says: "a number in the pack is too large" },
  "pack/bad-zlib": { http: 422, retry: false, says: "compressed data in the pack is broken" },
  "pack/size-mismatch": {
    http: 422,
    retry: false,
    says: "an object's size differs from what its header says",
  },
  "pack/bad-trailer": {
    http: 422,
    retry: false,
    says: "the pack's checksum does not match its content",
  },
  "pack/truncated": { http: 422, retry: false, says: "the pack ends early" },
  "pack/base-missing": { http: 422, retry: false, says: "a delta names a base we do not hold" },
  "pack/bad-delta": { http: 422, retry: false, says: "a delta cannot be applied to its base" },
  "pack/chain-too-long": {
    http: 422,
    retry: false,
    says: "a chain of deltas is longer than any Git writes",
  },
  "pack/duplicate": { http: 422, retry: false, says: "the pack holds the same object twice" },
  "pack/too-large": {
    http: 413,
    retry: false,
    says: "the pack or one of its objects is larger than this server accepts",
  },
  "pack/too-much-work": {
    http: 422,
    retry: false,
    says: "for its size the pack makes more work than this server does: push it in parts, or with less delta compression (git push --no-thin; git repack -adf --depth=50)",
  },
  // Git's words (fsck.c), and what an administrator can do about it.
  "pack/fsck": {
    http: 422,
    retry: false,
    says: "an object is malformed",
    text: ({ object, message, way }) =>
      `object ${object}: ${message}${way === undefined ? "" : ` (${way})`}`,
  },
  // Git's words (index-pack.c, check_object).
  "pack/link-type": {
    http: 422,
    retry: false,
    says: "an object is not of the type that a link to it says",
    text: ({ object, expected, found }) =>
      `object ${object}: expected type ${expected}, found ${found}`,
  },

  // object database: what we hold is damaged or absent
  "odb/missing": { http: 500, retry: false, says: "an object that must be here is missing" },
  "odb/damaged": {
    http: 500,
    retry: false,
    says: "a stored file is damaged; run: lakepack verify",
    text: (facts) =>
      `a stored file is damaged: ${damagedFile(facts)}${because(facts)}; run: lakepack verify`,
  },
  "odb/bad-object": {
    http: 500,
    retry: false,
    says: "a stored object cannot be read as what it claims to be",
  },
  "odb/too-deep": {
    http: 422,
    retry: false,
    says: "folders nested too deep for this filter, or tags of tags",
  },
  "fetch/filter-work": {
    http: 422,
    retry: false,
    says: "this filter needs more work than this server does for one fetch; ask for less, or without a filter",
    text: ({ limit, unit }) =>
      `this filter needs more work than this server does for one fetch (over ${grouped(limit)} ${String(unit)}); use fewer patterns or another filter`,
  },
  "push/history-work": {
    http: 422,
    retry: false,
    says: "checking that these branches only gain commits takes more work than this server does for one push; push fewer branches at a time",
    text: ({ limit, unit }) =>
      `checking that these branches only gain commits takes more work than this server does for one push (over ${grouped(limit)} ${String(unit)}); push fewer branches at a time`,
  },
  "fetch/crowded-out": {
    http: 503,
    retry: true,
    says: "this pack was read so slowly that its room was needed for others; fetch again",
  },
  "odb/not-our-ref": { http: 403, retry: false, says: "not our ref" },

  // store
  "store/missing": { http: 404, retry: false, says: "storage holds nothing under this key" },
  "store/oversized": {
    http: 500,
    retry: false,
    says: "a stored file is larger than any this server writes; run: lakepack verify",
  },
  "store/exists": { http: 409, retry: false, says: "storage already holds this key" },
  "store/conflict": { http: 409, retry: true, says: "somebody else changed it first" },
  "store/throttled": { http: 503, retry: true, says: "storage asked us to slow down" },
  "store/full": { http: 507, retry: true, says: "the disk is full" },
  "store/failed": { http: 503, retry: true, says: "storage failed" },
  "store/unknown-outcome": {
    http: 503,
    retry: true,
    says: "storage failed while this was made durable: outcome unknown; fetch to see whether it has landed",
    text: ({ storage, reason }) =>
      `${String(storage ?? "the disk")} failed while this was made durable (${String(reason)}): outcome unknown; fetch to see whether it has landed`,
  },
  "store/unsettled": {
    http: 503,
    retry: true,
    says: "the disk failed when this was written, so it is not shown yet; try again",
    text: ({ reason }) =>
      `the disk failed when this was written (${String(reason)}), so it is not shown yet; try again`,
  },
  "store/unreachable": { http: 503, retry: true, says: "object storage does not answer" },
  "store/no-bucket": {
    http: 500,
    retry: false,
    says: "object storage has no such bucket: make it, or correct its name in the settings",
  },
  "store/denied": {
    http: 500,
    retry: false,
    says: "object storage does not let this server do that: its credentials need to list the bucket and to read, write and delete objects and multipart uploads below the prefix",
  },
  "store/bad-credentials": {
    http: 500,
    retry: false,
    says: "object storage does not know these credentials, or there are none, or they have expired; give this server new ones",
  },
  "store/bad-signature": {
    http: 500,
    retry: false,
    says: "object storage refuses our signature: the secret key is wrong, or a proxy in between changes requests",
  },
  "store/clock-skew": {
    http: 500,
    retry: true,
    says: "the clocks of this machine and of object storage differ too much: set this machine's",
  },
  "store/wrong-region": {
    http: 500,
    retry: false,
    says: "the bucket is in another region or at another endpoint than the settings say; correct them",
  },
  "store/untrusted": {
    http: 500,
    retry: false,
    says: "the certificate of object storage is not trusted: name its authority's file in the settings",
  },
  "store/refused": { http: 500, retry: false, says: "object storage refused the request" },
  "store/unfit": {
    http: 500,
    retry: false,
    says: "this object storage cannot hold repositories",
    text: ({ rows }) =>
      `this object storage cannot hold repositories, as it does not honour: ${String(rows)}`,
  },
  "store/no-local-file": {
    http: 503,
    retry: true,
    says: "the local cache of object storage cannot take a file",
    text: ({ reason }) =>
      `the local cache of object storage cannot take a file (${String(reason)})`,
  },
  "store/bad-key": { http: 400, retry: false, says: "this is no storage key" },
  "store/held": {
    http: 500,
    retry: true,
    says: "another lakepack serves this bucket with a database file: stop that one, or give both one PostgreSQL (database)",
    text: ({ where }) =>
      `another lakepack${where === undefined ? "" : ` (${String(where)})`} serves this bucket with a database file: stop that one, or give both one PostgreSQL (database)`,
  },
  "store/claimed": {
    http: 500,
    retry: false,
    says: "the store belongs to the servers of another database: give this server that database (database), or a prefix of its own (store); who has moved the repositories to a new database removes the object `installation` there",
  },
  "store/locked": { http: 500, retry: false, says: "another lakepack serves this data folder" },

  // refs
  "ref/bad-name": { http: 422, retry: false, says: "not a ref name Git accepts" },
  "ref/stale": { http: 409, retry: true, says: "the ref moved meanwhile; fetch first" },
  "manifest/dropped": {
    http: 503,
    retry: true,
    says: "files that were sent waited so long for their refs that they were given up; push again",
  },
  "manifest/damaged": {
    http: 500,
    retry: false,
    says: "the repository's manifest cannot be read; run: lakepack verify",
    text: (facts) =>
      `the repository's manifest cannot be read: ${String(facts.manifest ?? facts.snapshot)}${because(facts)}; run: lakepack verify`,
  },

  // pool
  "pool/saturated": { http: 503, retry: true, says: "the server is busy; try again" },
  "pool/worker-hung": {
    http: 500,
    retry: true,
    says: "a worker showed no sign of life in the middle of this request and was replaced",
  },
  "pool/worker-died": {
    http: 500,
    retry: true,
    says: "a worker stopped in the middle of this request",
  },

  // lakefs: what the lakeFS server answered
  "lakefs/unreachable": { http: 503, retry: true, says: "lakeFS does not answer" },
  "lakefs/throttled": { http: 503, retry: true, says: "lakeFS asked us to slow down" },
  "lakefs/failed": { http: 502, retry: true, says: "lakeFS failed" },
  "lakefs/denied": { http: 502, retry: false, says: "lakeFS does not let this server do that" },
  "lakefs/missing": { http: 404, retry: false, says: "lakeFS has no such thing" },
  "lakefs/damaged": {
    http: 502,
    retry: false,
    says: "lakeFS has other bytes than are recorded of this path; restore them, or commit the path anew",
  },
  "lakefs/gone": {
    http: 502,
    retry: false,
    says: "lakeFS names data that is gone from its storage",
  },
  "lakefs/conflict": {
    http: 409,
    retry: false,
    says: "lakeFS has it already, or in another state",
  },
  "lakefs/refused": { http: 409, retry: false, says: "lakeFS refused" },
  "lakefs/unread-hooks": {
    http: 409,
    retry: false,
    says: "lakeFS's hooks cannot all be read",
    text: ({ reason }) =>
      `lakeFS's hooks at this head cannot all be read (${String(reason)}), and one that checks commits would be passed by: put fewer or smaller files below _lakefs_actions/`,
  },
  "lakefs/hook-failed": {
    http: 502,
    retry: true,
    says: "a hook in lakeFS could not be asked",
    text: ({ hook, action, event, reason }) =>
      `the hook '${String(hook)}' in lakeFS (${String(event)}, action '${String(action)}') could not be asked: ${String(reason)}; nothing has changed, try again`,
  },
  "lfs/denied": {
    http: 403,
    retry: false,
    says: "lakeFS does not let you store Git LFS objects in this repository",
  },
  "lakefs/no-credentials": {
    http: 403,
    retry: false,
    says: "this server has no lakeFS credentials for you here, and pushes with nobody else's (settings lakefs_credentials, lakefs_without_credentials)",
  },
  "lakefs/unproven": {
    http: 503,
    retry: true,
    says: "it could not be found out whether lakeFS runs hooks, which keep a push from landing on a branch that has moved; try again",
  },
  "lakefs/bad-request": { http: 502, retry: false, says: "lakeFS did not accept the request" },
  "lakefs/bad-reply": {
    http: 502,
    retry: false,
    says: "lakeFS answered with something that cannot be read",
  },
  "lakefs/reading": {
    http: 503,
    retry: true,
    says: "reading lakeFS takes longer and goes on; try again",
    text: ({ commit, objects, files }) =>
      `reading lakeFS commit ${commit}, ${grouped(objects)} objects${files === undefined ? "" : ` (${filesOf(files)})`}; try again`,
  },
  "lakefs/remapped": {
    http: 500,
    retry: false,
    says: "the mapping of this lakeFS repository is not the one by which this server has read it",
    text: ({ repository, before, now }) =>
      `the mapping of the lakeFS repository ${String(repository)} is another one than this server has read it by (before: ${String(before)}, now: ${String(now)}): the same commits would get other ids. ` +
      `To put the old one back: lakepack doctor --lakefs ${String(repository)} --repair-mapping. If the new one is meant, lakepack repo delete lakefs/… sets aside what was read, and the next request reads it anew`,
  },
  "lakefs/old-mapping": {
    http: 500,
    retry: false,
    says: "the mapping of this lakeFS repository is of a version that is not read any more",
    text: ({ version }) =>
      `the mapping of this lakeFS repository has version ${String(version)}, of a lakepack before its first release, which is not read any more: ` +
      "delete the branch lakepack-mapping in lakeFS, and what was read here (lakepack repo delete lakefs/…); the next request binds it by version 3",
  },
  "lakefs/too-many-attributes": {
    http: 422,
    retry: false,
    says: "the .gitattributes of this commit take more work than is done for one; make their patterns fewer, or plainer",
  },
  "lakefs/deleting": { http: 503, retry: true, says: "the repository is being deleted" },
  "lakefs/unsettled": {
    http: 503,
    retry: true,
    says: "lakeFS shows the repository without its default branch: it is being deleted or restored; try again",
  },
  "lakefs/replaced": {
    http: 409,
    retry: true,
    says: "the repository was deleted and made again while this request ran; ask again",
  },
  "lakefs/unmapped": {
    http: 409,
    retry: false,
    says: "this server has not read that lakeFS repository before, so it knows no mapping to put back",
  },
  "lakefs/unset": {
    http: 409,
    retry: false,
    says: "no lakeFS is set here (setting lakefs_endpoint)",
  },
  "lakefs/unknown-outcome": {
    http: 502,
    retry: true,
    says: "lakeFS stopped answering while the push was landing; fetch to see whether it has",
  },
  "lakefs/unmappable": { http: 422, retry: false, says: "this cannot exist on the other side" },

  // lfs. Never 422 outside a batch's reply: git-lfs takes that for success and moves the ref
  // without the object.
  "bundle/off": {
    http: 404,
    retry: false,
    says: "this server offers no bundles; set bundle_uri to true",
  },
  "bundle/none": {
    http: 422,
    retry: false,
    says: "nothing to make a bundle of: a repository of our own store with a branch or a tag has one",
  },
  "bundle/too-large": { http: 507, retry: false, says: "a bundle would be larger than one may be" },
  "bundle/gone": {
    http: 404,
    retry: true,
    says: "the repository does not offer this bundle any more; fetch without it",
  },
  "lfs/missing": { http: 404, retry: false, says: "the repository has no such LFS object" },
  "lfs/gone": {
    http: 410,
    retry: false,
    says: "lakeFS names this LFS object, and its bytes are gone from lakeFS's storage",
    text: () =>
      "lakeFS names this LFS object, and its bytes are gone from lakeFS's storage; upload it again",
  },
  "lfs/bad-batch": {
    http: 422,
    retry: false,
    says: "this is not a request of Git LFS's batch API",
  },
  "lfs/mismatch": { http: 400, retry: false, says: "the content is not what its oid and size say" },
  "lfs/proof": {
    http: 403,
    retry: true,
    says: "the link has expired or was not made by this server; ask for a new one",
  },
  "lfs/no-locks": {
    http: 501,
    retry: false,
    says: "this server has no file locks; git-lfs works without: git config lfs.locksverify false",
  },
  "lfs/link-ended": {
    http: 403,
    retry: false,
    says: "the right behind this link has ended",
    text: ({ reason }) => `the right behind this link has ended: ${String(reason)}`,
  },
  "lfs/too-large": {
    http: 413,
    retry: false,
    says: "the LFS request or object is larger than this server accepts",
  },

  // serve
  "repository/missing": { http: 404, retry: false, says: "repository not found" },
  "repository/gone": {
    http: 404,
    retry: false,
    says: "the repository that this name leads to is gone",
  },
  "repository/not-set-aside": {
    http: 404,
    retry: false,
    says: "no repository that had this name is set aside",
  },
  "repository/bad-name": {
    http: 404,
    retry: false,
    says: "this is not a repository's name",
    text: ({ name, reason }) =>
      `this is not a repository's name: ${String(name)} (${String(reason ?? "a name is namespace/name, each of 1 to 96 letters, digits, '.', '_' or '-', and begins with a letter, a digit or '_'")})`,
  },
  "repository/exists": {
    http: 409,
    retry: false,
    says: "there is a repository of this name already",
  },
  "repository/bad-setting": {
    http: 400,
    retry: false,
    says: "a repository cannot have this setting",
  },
  "repository/too-many": {
    http: 403,
    retry: false,
    says: "the namespace has as many repositories as it may have",
    text: ({ namespace, repositories, repositories_per_user: max }) =>
      `${namespace} has ${repositories} repositories, and the setting repositories_per_user allows ${max}: ` +
      "delete one, or ask an administrator",
  },
  "repository/read-only": {
    http: 403,
    retry: false,
    says: "this repository cannot be pushed to: it is a KohakuHub's, and a push from here would be missing in the hub's own tables",
  },
  "commit/missing": {
    http: 404,
    retry: false,
    says: "no branch or tag of this repository leads to such a commit",
  },
  "server/stopping": { http: 503, retry: true, says: "this server is stopping; try again" },
  "service/unknown": { http: 403, retry: false, says: "this service is not offered here" },
  "push/no-longer": {
    http: 403,
    retry: false,
    says: "the right to push has ended while the push ran",
    text: ({ reason }) => `the right to push has ended while the push ran: ${String(reason)}`,
  },
  "push/refused": { http: 422, retry: false, says: "a ref was not moved" },
  "http/method": { http: 405, retry: false, says: "this method is not allowed here" },
  "http/content-type": {
    http: 415,
    retry: false,
    says: "the Content-Type is not the one this service takes",
  },
  "http/forbidden-origin": {
    http: 403,
    retry: false,
    says: "with auth: none only this machine is served, without a proxy",
  },
  "http/bad-request": {
    http: 400,
    retry: false,
    says: "this is not a request this server understands",
  },
  "http/denied": { http: 403, retry: false, says: "the secret is missing or wrong" },
  "http/not-found": { http: 404, retry: false, says: "nothing is here" },

  // auth: who asks, and what they may. A 401 carries WWW-Authenticate (transport/http-fault).
  "auth/required": {
    http: 401,
    retry: false,
    says: "sign in with a token, as the password or as the user name",
  },
  "auth/several": {
    http: 400,
    retry: false,
    says: "the request has two Authorization headers; leave one: git adds http.extraHeader beside what a credential helper or the URL gives",
  },
  "auth/failed": { http: 401, retry: false, says: "this token does not sign in here" },
  "auth/throttled": {
    http: 429,
    retry: true,
    says: "too many failed logins from this address; wait before the next one",
  },
  "auth/forbidden": { http: 403, retry: false, says: "this token may not do that here" },
  "user/exists": {
    http: 409,
    retry: false,
    says: "there is a user of this name already, in whatever case",
  },
  "user/missing": { http: 404, retry: false, says: "there is no user of this name" },
  "user/bad-name": {
    http: 400,
    retry: false,
    says: "this cannot be a user name: letters, digits, . _ - are allowed, and no word that our URLs need",
  },
  "token/missing": {
    http: 404,
    retry: false,
    says: "there is no such token, or it is revoked already",
  },
  "grant/missing": { http: 404, retry: false, says: "nothing was granted to this user here" },

  // database
  "database/failed": { http: 503, retry: true, says: "the database failed" },
  "database/unreachable": { http: 503, retry: true, says: "the database does not answer" },
  "database/busy": {
    http: 503,
    retry: true,
    says: "the database has no connection free; try again in a moment",
  },
  "database/timeout": { http: 503, retry: true, says: "the database took too long" },
  "database/refused": {
    http: 503,
    retry: true,
    says: "the database does not let this server in: see user, password and name in the setting database",
  },
  "database/untrusted": {
    http: 503,
    retry: true,
    says: "the connection to the database cannot be secured: see sslmode in the setting database, and database_ca",
  },
  /** Neither committed nor not, as far as anybody can tell: repeating it may do it twice. */
  "database/unknown-outcome": {
    http: 503,
    retry: false,
    says: "the database was lost while it kept a change, and whether it was kept is not known; look before you repeat it",
  },
  "database/wrapped": {
    http: 500,
    retry: false,
    says: "a secret in the database is wrapped by a key that this server was not given: set secrets_key to it, or to both where it has changed",
  },
  "database/newer": {
    http: 503,
    retry: false,
    says: "a newer lakepack has changed this database; use that one, or a copy from before",
  },
  "database/foreign": {
    http: 503,
    retry: false,
    says: "this database holds tables of another program; give lakepack one of its own",
  },
  "database/bad-text": {
    http: 400,
    retry: false,
    says: "a text holds a character that the database cannot keep",
  },

  // control: commands to a running server
  "control/bad-request": {
    http: 400,
    retry: false,
    says: "this is not a command this server understands",
  },
  "control/no-server": { http: 409, retry: false, says: "no server runs on this data folder" },
  "control/failed": {
    http: 502,
    retry: true,
    says: "the server that owns the data folder did not answer",
  },

  // verify, doctor
  "doctor/found": { http: 500, retry: false, says: "something is not as it should be" },
  "verify/damaged": { http: 500, retry: false, says: "something that is stored is damaged" },

  // backup, restore
  "backup/elsewhere": {
    http: 500,
    retry: false,
    says: "this is for a store on disk with SQLite; docs/operating.md says how object storage and PostgreSQL are backed up",
  },
  "backup/nothing": {
    http: 500,
    retry: false,
    says: "there is no database here, or one of an older version that no server of this one has opened: see data and database",
  },
  "backup/damaged": {
    http: 500,
    retry: false,
    says: "files are missing or damaged, and what was backed up before is left as it is: mend them (lakepack verify), or go on without them (--damaged)",
  },
  "backup/foreign": {
    http: 500,
    retry: false,
    says: "the folder holds something else than a backup of this data folder: name an empty one",
  },
  "backup/busy": { http: 409, retry: true, says: "another lakepack works on this backup" },
  "backup/none": { http: 500, retry: false, says: "the folder holds no finished backup" },
  "backup/unreadable": {
    http: 500,
    retry: false,
    says: "the backup's record cannot be read: it is damaged, or of a newer version",
  },
  "restore/not-empty": {
    http: 500,
    retry: false,
    says: "a backup is restored into an empty data folder only",
  },

  // settings
  "settings/bad-value": {
    http: 500,
    retry: false,
    says: "a setting has a value that is not allowed",
  },
} as const satisfies Record<string, FaultRow>;

export type FaultCode = keyof typeof FAULTS;
export type FaultFacts = Readonly<Record<string, string | number | boolean | undefined>>;

export class Fault extends Error {
  readonly code: FaultCode;
  readonly facts: FaultFacts;

  constructor(code: FaultCode, facts: FaultFacts = {}, cause?: unknown) {
    super(printable(describe(code, facts)), cause === undefined ? undefined : { cause });
    this.name = "Fault";
    this.code = code;
    this.facts = facts;
  }

  get row(): FaultRow {
    return FAULTS[this.code];
  }
}

/** 48000 → "48,000". */
function grouped(value: FaultFacts[string]): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "12000/48000" → "12,000 of 48,000 files". */
function filesOf(files: FaultFacts[string]): string {
  return `${String(files).split("/").map(grouped).join(" of ")} files`;
}

/**
 * A file's name without its folders, which are the server's own; of a pack, by
 * the name of its publication.
 */
function damagedFile({ file, pack }: FaultFacts): string {
  if (typeof pack === "string")
    return `pack-${pack}.${file === "idx" || file === "rev" ? file : "pack"}`;
  return String(file ?? "unknown").replace(/^.*\//, "");
}

function because({ reason, offset }: FaultFacts): string {
  const where = offset === undefined ? "" : ` at ${offset}`;
  return reason === undefined && where === ""
    ? ""
    : ` (${String(reason ?? "cannot be read")}${where})`;
}

/**
 * Returns the text that a client may read in place of a protocol's answer: facts of our own
 * failures stay in the log.
 */
export function clientText({ row, message }: Fault): string {
  return row.http >= 500 && row.text === undefined ? row.says : message;
}

/**
 * The same for who has been let into a repository and is told in Git's protocol: what lakeFS says
 * is about that very repository (which path, which hook); what storage or the database says has our
 * folders' names in it.
 */
export function toldText(fault: Fault): string {
  return fault.code.startsWith("lakefs/") ? fault.message : clientText(fault);
}

/** "says (fact: value, …)", or the row's own text: what a client, a log line and a test read. */
function describe(code: FaultCode, facts: FaultFacts): string {
  const { text }: FaultRow = FAULTS[code];
  if (text !== undefined) return text(facts);
  const known = Object.entries(facts).filter(([, value]) => value !== undefined);
  if (known.length === 0) return FAULTS[code].says;
  return `${FAULTS[code].says} (${known.map(([name, value]) => `${name}: ${value}`).join(", ")})`;
}

/** A Fault in a message between threads: structured clone drops a class. */
export interface FaultRecord {
  readonly fault: FaultCode;
  readonly facts: FaultFacts;
}

export function toRecord(fault: Fault): FaultRecord {
  return { fault: fault.code, facts: fault.facts };
}

/** The fault that a record was made of. */
export function fromRecord({ fault, facts }: FaultRecord): Fault {
  return new Fault(fault, facts);
}

export function isFaultCode(code: unknown): code is FaultCode {
  return typeof code === "string" && Object.hasOwn(FAULTS, code);
}

/**
 * The same failure as a Fault: faults pass through, aborts and everything unknown get their row.
 */
export function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof Error && error.name === "AbortError")
    return new Fault("base/aborted", {}, error);
  const code = (error as { code?: unknown } | undefined)?.code;
  if (code === "ENOSPC" || code === "EDQUOT") return new Fault("store/full", {}, error);
  if (code === "EIO" || code === "EROFS") return new Fault("store/failed", { reason: code }, error);
  return new Fault("base/internal", {}, error);
}
