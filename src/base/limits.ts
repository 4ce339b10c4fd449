/**
 * Every maximum of the server, with its unit (last in the name) and its reason. Settings may lower
 * or raise some.
 */
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

export const LIMITS = {
  // wire ------------------------------------------------------------------------------------------
  /** A whole pkt-line, its four digits included. gitprotocol-common(5): 65520. */
  pktLineBytesMax: 65_520,
  /** Data of one side-band-64k packet: 65520 - 4 digits - 1 band byte. gitprotocol-pack(5). */
  sideband64kDataBytesMax: 65_515,
  /** Data of one plain side-band packet: 1000 - 5. gitprotocol-pack(5). */
  sidebandDataBytesMax: 995,
  /**
   * Wants, haves, shallows, ref-prefixes of one request: 50 bytes each, so 16 MiB of text. Git has
   * no limit; a fetch of a million refs is beyond every hub we know.
   */
  fetchLinesMax: 300_000,
  /** Bytes of one fetch or ls-refs request after gunzip: `fetchLinesMax` lines of 54 bytes. */
  fetchRequestBytesMax: 16 * MIB,
  /**
   * Ref prefixes that are honoured; from here on they are ignored and everything is listed, as Git
   * does from 65,536 on (ls-refs.c). A clone names three, a fetch six for each name it asks for;
   * sorting this many of a pkt-line's length takes some milliseconds.
   */
  refPrefixesMax: 8_192,
  /**
   * Objects of one object-info request: each may be at the end of a chain of deltas. Git's clients
   * ask for those of one checkout's missing large files.
   */
  objectInfoMax: 10_000,
  /**
   * Answers that list refs, kept between requests: fifty repositories of 10,000 refs, or thousands
   * of small ones.
   */
  refAnswersBytesMax: 32 * MIB,
  /**
   * One of them: 60,000 refs. Larger ones are made anew: what would push all others out is asked
   * for seldom.
   */
  refAnswerBytesMax: 4 * MIB,
  /** Bytes of a question as a key: a clone names three prefixes. */
  refQuestionBytesMax: 1 * KIB,
  /**
   * Commands of one push. 10,000 refs in a mirror push is the largest we promise; ten times that is
   * refused.
   */
  pushCommandsMax: 100_000,
  /**
   * Bytes of the command list of one push (pkt-lines before the pack): so many commands without
   * their names, and the names.
   */
  pushCommandBytesMax: 16 * MIB,
  /** Bytes of all ref names of one push: 10,000 of a mirror at 60 bytes are a tenth of it. */
  pushRefNameBytesMax: 6 * MIB,
  /**
   * Bytes read and thrown away after a push was refused in its middle, so that the client comes to
   * read why.
   */
  refusedDrainBytesMax: 8 * GIB,
  /**
   * Push options of one push, and bytes of all. Git has no limit; options are for hooks, not for
   * data.
   */
  pushOptionsMax: 256,
  pushOptionBytesMax: 64 * KIB,
  /** Server options of one version 2 request; each fits a pkt-line. */
  serverOptionsMax: 256,
  /** A filter expression. `combine:` of a handful of filters fits ten times over. */
  filterBytesMax: 4 * KIB,
  filterDepthMax: 16,
  /**
   * Entries of folders that a filtered fetch looks at, where it looks at a folder again under each
   * of its paths: a base, and so many for each stored object. Five public histories took 4 to 18
   * for each with tree:3 or sparse:oid, a tenth of it at most; tree:4 beside blob:limit, which no
   * client asks for by itself, took up to 77. A folder of ten that are one folder, ten levels deep,
   * would take 10^10. The base is some tenths of a second of a thread; what a large repository
   * costs at the limit is not measured.
   */
  filterEntriesBase: 500_000,
  filterEntriesPerObject: 200,
  /**
   * Steps of matching patterns with wildcards against paths, likewise. Patterns without wildcards
   * are looked up and count one. Four public histories took 14 to 76 for each object with four such
   * patterns. The base is some tenths of a second of a thread; what a large repository costs at the
   * limit is not measured.
   */
  patternStepsBase: 5_000_000,
  patternStepsPerObject: 800,
  /**
   * Paths at which a fetch compares the trees of both sides, before it sends what is left unlooked
   * at: a history of 110,000 objects takes 0.1 for each.
   */
  edgeGroupsBase: 100_000,
  edgeGroupsPerObject: 4,
  /**
   * Sparse-checkout patterns of a filter, which every path is held against: some thousand lines.
   */
  sparsePatternBytesMax: 128 * KIB,
  /** Characters of a client's own text (a name, an argument) that a message repeats. */
  messageNameBytesMax: 200,
  /**
   * Inflated bytes per compressed byte of a gzip body, beyond `gzipSlackBytes`. zlib itself cannot
   * exceed 1032.
   */
  gzipSlackBytes: 1 * MIB,
  /**
   * Bytes inflated at a time from a gzip body. zlib's default of 16 KiB costs a thread hop each.
   */
  inflateChunkBytes: 64 * KIB,
  /** Repositories the page at "/" lists. */
  listedRepositoriesMax: 200,
  /** Repositories of one page of a list for programs: 200 bytes each. */
  listedPageMax: 1_000,

  // refs ------------------------------------------------------------------------------------------
  /**
   * Bytes of a ref name; pkt-lines allow 64 KiB. Bots make branches of 100 bytes; what would be
   * files has 255 a part.
   */
  refNameBytesMax: 1 * KIB,
  /**
   * Parts of one, between slashes: each is looked up where a folder and a ref could clash. Three to
   * six are usual.
   */
  refNamePartsMax: 64,
  /**
   * Refs kept inside the manifest; above this a snapshot holds them. Keeps the rewritten file under
   * ~60 KB.
   */
  manifestRefsMax: 400,
  /**
   * Changes on top of a snapshot before they are folded into a new one. DESIGN: a push rewrites
   * only its change.
   */
  snapshotChangesMax: 1_000,
  /**
   * More stay there while they are less than this part of the snapshot, in bytes: refs are not
   * written whole again for a few long names.
   */
  snapshotChangesPart: 1 / 16,
  /** Refs of one repository: 100 bytes each in memory. The most that hubs have is some 20,000. */
  refsMax: 400_000,
  /**
   * Bytes of all their names: 20,000 at 60 bytes are 7 % of it. A snapshot of 400,000 refs has
   * three times this; it is written in turns of the event loop, and refs in memory take four times.
   */
  refNamesBytesMax: 16 * MIB,
  /** Bundles of one repository: each costs a clone a request, and the manifest some KiB. */
  bundlesMax: 6,
  /**
   * Refs of one bundle, 43 bytes each in the manifest, which every push writes: what other refs
   * have beside them is fetched.
   */
  bundleRefsMax: 100,
  /** A bundle lies once more on the node that makes it, and in the store beside its packs. */
  bundleBytesMax: 64 * GIB,
  /** Less than that is fetched in a moment: no bundle is made of it unless by command. */
  bundleBytesMin: 1 * MIB,
  /** Clones of smaller repositories cost next to nothing, and no bundle is made by itself. */
  bundleRepositoryBytesMin: 16 * MIB,
  /** Clones of a repository, on one node, after which a bundle is made of what is in none. */
  bundleClonesMin: 3,
  /**
   * Seconds that a link to a bundle is good: those of a list are read one after the other, and the
   * last begins when all before it are there.
   */
  bundleLinkSeconds: 3_600,
  /** Tips of one pack that the manifest lists: 43 bytes each. */
  manifestTipsMax: 1_000,
  /**
   * Bytes of a manifest: 400 refs or 1,000 changes of 1 KiB names, or a sixteenth of a snapshot at
   * worst, and 10,000 packs.
   */
  manifestBytesMax: 16 * MIB,
  /**
   * Attempts of a compare-and-swap before the loser is told `ng`. Each loss means somebody else
   * won.
   */
  swapAttemptsMax: 32,
  /**
   * Nonces of earlier writes that a manifest holds, 20 bytes each: so many others may write while
   * one of them finds out whether its own has landed.
   */
  manifestNoncesMax: 32,
  /** First pause between two attempts, milliseconds, and the longest: a write to an object store. */
  swapPauseMs: 5,
  swapPauseMsMax: 500,
  /** Changes of one manifest that are written together: each may hold 10,000 refs. */
  swapGroupMax: 64,
  /**
   * Packs of one repository that were published and are not named yet: pushes under way. Of one
   * that is forgotten it is looked whether it is there.
   */
  publicationsKnownMax: 1_000,
  /**
   * So long after its files were published a pack is named without a look whether they are there:
   * far less than any grace after which what nothing names is removed.
   */
  publicationTrustMs: 300_000,
  /**
   * Milliseconds for which a manifest remembers a dropped pack whose files are gone: twice
   * `publicationTrustMs`, because clocks may be apart. A node that still trusts its publication
   * finds it there, and does not name it.
   */
  droppedKnownMs: 600_000,

  // packs -----------------------------------------------------------------------------------------
  /**
   * Links in one delta chain we read. `git pack-objects` writes at most 4095 (12-bit depth field);
   * import tools wrote longer ones, and issue text asks for 50,000 handled or refused. No recursion
   * either way.
   */
  deltaChainLengthMax: 50_000,
  /** Nesting of trees in one path. Git: core.maxTreeDepth 2048 since 2.43. */
  treeDepthMax: 2_048,
  /**
   * Objects of one pack: 64 bytes of table each, so 1 GiB of the 4 GiB a WebAssembly memory can
   * have.
   */
  packObjectsMax: 16_000_000,
  /** Bytes of one pushed pack. */
  packBytesMax: 1_024 * GIB,
  /** An object above this is streamed and never held whole. */
  objectInMemoryBytesMax: 16 * MIB,
  /**
   * Result of one delta that is held in memory with its base while resolving. Git does not deltify
   * above core.bigFileThreshold (512 MiB).
   */
  deltaResultBytesMax: 512 * MIB,
  /**
   * Size of a delta's instructions that we read at all; above the result's limit it cannot be worth
   * it.
   */
  deltaBytesMax: 512 * MIB,
  /**
   * An object Git must parse (commit, tree, tag): larger ones are refused. A folder of 1,500,000
   * files. The largest tree of six public repositories has 0.65 MB (Homebrew/brew), the largest
   * commit 2.2 MB (github/gitignore). Judged by fsck.ts it costs 2 s in pieces, and twice its
   * bytes.
   */
  parsedObjectBytesMax: 64 * MIB,
  /**
   * Bytes one thread of an ingest may put into temporary files: bases that wait for their other
   * deltas. Real packs need none; a pack of a few KB can be made to need any number.
   */
  spillBytesMax: 8 * GIB,
  /**
   * Inflated data one ingest keeps between its passes, unless a setting says otherwise: all of a
   * pack of 100,000 small objects.
   */
  ingestMemoryBytes: 256 * MIB,
  /**
   * The part of that which a pack may have whatever its size, and for each of its bytes: text packs
   * 1 to 10, and zlib could 1 to 1,000.
   */
  ingestMemoryBytesMin: 32 * MIB,
  ingestMemoryPerPackByte: 64,
  /**
   * Cost of taking in one pack, in bytes that deltas make (copied, hashed and looked at at 1 GB/s),
   * and the same for each byte of the pack. The floor is a second of one thread. A delta of some
   * bytes can make 16 MB: 155 KB of them made 30 GB. Whole histories of public repositories make 5
   * to 30 bytes a byte of their pack, emacsmirror/epkgs 471: 17,000 trees of 4,000 entries each, 6
   * % of this.
   */
  ingestWorkMin: 1 * GIB,
  ingestWorkPerPackByte: 8_192,
  /**
   * Cost of a byte that the slower checks look at: odd trees (fsck/tree.ts: 30 ns a byte),
   * .gitmodules and .gitattributes.
   */
  ingestJudgedWork: 32,
  /**
   * Cost of a byte of a thin pack's base, which is read twice and deflated again: bases of 128 MiB
   * for the smallest pack.
   */
  ingestBaseWork: 8,
  /**
   * Places of 24 bytes for ids that objects link to: 1,500,000 ids whatever the pack's size, 100 MB
   * with the tables they grew from. A pack of 100,000 objects links to as many. And one for so many
   * bytes of the pack: an id that is new takes 20 of them.
   */
  ingestLinkSlotsMin: 4 * MIB,
  ingestLinkSlotPackBytes: 4,
  /**
   * A .gitmodules or .gitattributes blob, which Git reads whole at each checkout (and up to 100 MiB
   * of attributes). The largest known has 0.6 MB: 4,000 submodules (emacsmirror/epkgs). Read, it
   * costs 0.3 s and 30 MB.
   */
  specialFileBytesMax: 8 * MIB,
  /**
   * Files that a push calls so. That of 4,000 submodules has had 7,000 versions; each is read: 2 s.
   */
  specialFilesMax: 100_000,
  /**
   * Findings of fsck that were let pass and are told to the pusher, a line each; of the others
   * their number.
   */
  fsckWarningsMax: 20,
  /**
   * Bytes of the file `fsck_skip_list`: 250,000 ids, where large histories need some tens. In 5 MB,
   * shared by all threads.
   */
  fsckSkipFileBytesMax: 10 * MIB,
  /**
   * Ids that one repository may have skipped beside those: they stand in its row, 41 bytes each,
   * and travel with each task of a push.
   */
  fsckSkippedMax: 500,
  /** Peels of nested tags. Git has no limit; nobody nests tags. */
  tagDepthMax: 64,

  // flow ------------------------------------------------------------------------------------------
  /**
   * Bytes of one chunk between a file and a socket: the knee of the measured curve (0.42 CPU s a GB
   * at 256 KiB).
   */
  streamChunkBytes: 256 * KIB,
  /**
   * Bytes of an LFS object that are asked of an object store at once, twice that in memory for one
   * download: a round trip of 20 ms costs a tenth at 20 MB/s.
   */
  lfsRangeBytes: 4 * MIB,
  /**
   * A reply that fits below this many bytes carries Content-Length (libgit2, wasm-git and CORS
   * proxies need it).
   */
  replyHoldBytesMax: 8 * MIB,
  /** Bytes of all held replies together; above it a reply goes out chunked at once. */
  replyHoldTotalBytesMax: 128 * MIB,
  /** A reply is held back at most this long. */
  replyHoldMs: 1_000,
  /** Progress lines follow each other at this distance at least. */
  progressMs: 200,
  /** Quiet stretch after which a keep-alive packet is sent. Git: upload-pack.keepAlive, 5 s. */
  keepAliveMs: 5_000,
  /**
   * Milliseconds after which a connection that waits is paused and resumed so that the front end
   * does not cut it (11 s, measured).
   */
  connectionClockResetMs: 4_000,
  /** A client that neither sends nor takes a byte for this long is cut. */
  connectionIdleMs: 120_000,
  /**
   * A reply of which less than this many bytes a second are taken, on the whole of
   * `replyRateWindowMs`, is cut: it holds a file, and a modem of 1995 is faster.
   */
  replyRateBytesMin: 1_024,
  replyRateWindowMs: 300_000,
  /**
   * Connections of one address at once, unless a setting says otherwise: a university behind one
   * address, whose 200 machines run git-lfs with 8 connections each, is beyond it, a laptop far
   * below. Each costs some KB until it asks for something.
   */
  addressConnectionsMax: 1_000,
  /**
   * A body of which less than this many bytes a second come, on the whole of `replyRateWindowMs`,
   * is cut: by its rate every body has an end, however large it is.
   */
  bodyRateBytesMin: 128,
  /**
   * A request of which nothing has passed in either direction for so long is cut: longer than any
   * work of ours, hooks of lakeFS among it. A transfer that goes on may take any time.
   */
  requestSilentMs: 24 * 3_600_000,
  /**
   * Milliseconds that a body may come on behind its reply, to be dropped: nobody reads it, so
   * nothing else bounds it. 5 GB at 100 KB/s is 14 hours.
   */
  unreadBodyMs: 24 * 3_600_000,
  /**
   * Request headers, all together: cookies of a hub and a token of an identity provider fit.
   * uWebSockets.js: UWS_HTTP_MAX_HEADERS_SIZE.
   */
  headersBytesMax: 16_384,
  /**
   * Between two requests of a connection: what proxies keep theirs for (60 s) and some, so that it
   * is theirs to close. uWebSockets.js has 10 s of its own.
   */
  connectionKeepMs: 75_000,
  /**
   * From a connection's first byte, or its beginning, to the end of a request's headers: what
   * uWebSockets.js allows.
   */
  headersMs: 12_000,
  /**
   * Milliseconds that one request works through its own lines before others have their turn of the
   * event loop. Ten requests that do so at once stay within 50 ms; a turn costs some microseconds.
   */
  turnMs: 4,
  /** Bytes of a body spooled in memory before the reader is asked to wait. */
  bodyBufferBytesMax: 1 * MIB,
  /**
   * The same of a front end that reads on although it was asked to pause: as much as a socket's own
   * buffers hold. Bytes that come then wait in a file.
   */
  bodyBurstBytesMax: 4 * MIB,
  /**
   * Bytes of one body that wait in that file. A client on this machine was seen 200 MiB ahead;
   * one that is further ahead is told to try again, or it would decide how much disk we use.
   */
  bodyOverflowBytesMax: 1024 * MIB,

  /**
   * Milliseconds that a look at readiness holds: balancers ask every few seconds, and each look is
   * a durable write.
   */
  readyLookMs: 5_000,
  /** A write that takes longer is one that does not work: balancers give up after some seconds. */
  readyProbeMs: 4_000,

  // control ---------------------------------------------------------------------------------------
  /** Connections to the control socket at once: command lines of one operator. */
  controlConnectionsMax: 16,
  /** Bytes of one command: names and ids, with room for keys to come. */
  controlRequestBytesMax: 64 * KIB,
  /** Bytes of one answer: a page of `listedPageMax` repositories fits twenty times over. */
  controlAnswerBytesMax: 8 * MIB,
  /** Characters of one argument: a name is at most three components of 96. */
  controlTextMax: 300,
  /**
   * Milliseconds that a command line waits for a server that holds the lock but does not listen
   * yet, or not any more.
   */
  controlWaitMs: 5_000,

  // auth ------------------------------------------------------------------------------------------
  /**
   * Bytes of an Authorization header we read: a user name and a token of 36 characters, in base64,
   * ten times over.
   */
  authorizationBytesMax: 1 * KIB,
  /** Characters of a token's label. */
  tokenLabelMax: 100,
  /**
   * Exactness of a token's last use: a durable write costs milliseconds, and CI asks all the time.
   */
  tokenUsedStepMs: 60_000,
  /**
   * Failed logins of one source that cost it nothing: a person's typing errors, a client that tries
   * what it had stored.
   */
  failedLoginsFree: 5,
  /** The wait of the next one; each after it waits twice as long, up to `failedLoginWaitMsMax`. */
  failedLoginWaitMs: 250,
  failedLoginWaitMsMax: 4_000,
  /**
   * Failed logins of one source that wait at once; more are refused at once. They wait one behind
   * the other.
   */
  failedLoginQueueMax: 8,
  /** A source that failed no more for so long starts afresh. */
  failedLoginForgetMs: 15 * 60_000,
  /** Sources that are remembered: 200 bytes each. Of more, the longest quiet is forgotten. */
  failedLoginSourcesMax: 10_000,

  // database --------------------------------------------------------------------------------------
  /** Connections of one node to PostgreSQL: each query holds one for a millisecond. */
  databaseConnections: 10,
  /** The same as a setting; PostgreSQL takes 100 of all nodes unless it is told. */
  databaseConnectionsMax: 1_000,
  /** Queries that wait for a connection: a second's work of ten of them. */
  databaseWaitingMax: 5_000,
  /** Until a connection is made, or one is free: clients wait no longer than for a page. */
  databaseConnectMs: 5_000,
  /** One statement; ours take milliseconds, and wait for others' row locks. */
  databaseStatementMs: 10_000,
  /**
   * A transaction whose process has fallen asleep: shorter than a statement, so that who waits for
   * its locks gets them in time.
   */
  databaseIdleTransactionMs: 5_000,
  /** A server that has ended no statement so long after it should have is gone. */
  databaseLateMs: 5_000,
  /** A connection that nobody uses is given back after so long. */
  databaseIdleMs: 60_000,
  /** Quiet until the system asks whether the other end is there: proxies forget after minutes. */
  databaseKeepAliveMs: 30_000,
  /** One step of a change of the schema, or the wait for another node that makes it. */
  databaseMigrateMs: 600_000,
  /** Runs of one transaction that others keep from being kept: two that meet need two. */
  databaseAttemptsMax: 8,
  /** Pause before the next run, times its number, times chance. */
  databaseRetryMs: 20,
  /** Until it is given up to find out what became of a COMMIT whose connection died. */
  databaseOutcomeMs: 10_000,
  /** Between two looks for that. */
  databaseOutcomeLookMs: 100,
  /**
   * A node that has made the first token shows it within a moment: from here on it is taken for
   * dead, and another node makes one.
   */
  firstTokenShownMs: 60_000,

  // pool ------------------------------------------------------------------------------------------
  /** Tasks waiting for a thread; above this the answer is 503 before any work. */
  poolQueueMax: 256,
  /** Threads at most: each costs some 30 MB and its caches. */
  poolThreadsMax: 256,
  /** The most `pool_queue` may be set to: each waiting task is a request held in memory. */
  poolQueueSettingMax: 100_000,
  /**
   * A task that shows no sign of life for this long is ended with its thread. Longer than the
   * longest single call: an fsync of some GB on a slow disk, or a large delta applied, on a machine
   * ten times too busy.
   */
  taskHangMs: 300_000,
  /** Milliseconds between two looks at running tasks. */
  taskLookMs: 5_000,
  /**
   * A task that has run so long gives its thread to another's that waits. With a look every 100 ms
   * of work nobody waits longer than 250 ms for it.
   */
  taskSliceMs: 100,
  /**
   * Tasks that have given up their turn in one thread and wait there for the next: each keeps its
   * memory. Beyond it the running one goes on to its end.
   */
  taskPausesMax: 4,
  /**
   * Tasks in one thread that wait for somebody else (a hook of lakeFS, for minutes) while others
   * have it: each keeps its memory, some MiB. One more keeps the thread as well.
   */
  taskAwayMax: 12,
  /** A running task that was asked to stop and has not is ended with its thread after this long. */
  taskAbortGraceMs: 5_000,

  // lakeFS ----------------------------------------------------------------------------------------
  /** Commits of one push: each gets its own lakeFS commit, at some 50 ms. */
  landingCommitsMax: 10_000,
  /**
   * Parents of one pushed commit. The largest merge known has 66 (Linux); the commit point counts
   * on it (land/commit-point.ts).
   */
  landingParentsMax: 127,
  /**
   * Uploads of one landing at once: lakeFS takes 8 at once 7 times as fast as one, 32 again twice
   * as fast. On loopback 64 are no faster; with 25 ms to lakeFS, or to the store behind it, more
   * than twice as fast as 24.
   */
  landingUploadsMax: 64,
  /**
   * Branches in which a landing looks for the bytes of an LFS object that a commit names, a call
   * each, before it has them copied.
   */
  lfsHeadLooksMax: 8,
  /**
   * Branches in which a landing looks for the files it brings, so that both have one entry: three
   * trees a path and branch, from memory.
   */
  landingTwinHeadsMax: 64,
  /** Bytes of contents held by one landing's uploads; a larger one goes alone. */
  landingUploadBytesMax: 64 * MIB,
  /**
   * Default of LAKEPACK_PLAIN_FILE_BYTES_MAX, bytes of one plain file: larger ones belong into Git
   * LFS, as every clone would carry them.
   */
  plainFileBytesMax: 256 * MIB,
  /**
   * Files of one commit that are looked for at other paths of the commit before it, with what
   * lakeFS says of each: 50 MB. More are sent again.
   */
  landingMovesMax: 100_000,
  /**
   * Small contents of a repository of which it is kept that their bytes are known: 60 bytes each,
   * and twice so many at most.
   */
  provenContentsMax: 100_000,
  /**
   * Milliseconds that their table stays in memory, up to 12 MB a repository, after the last push
   * that looked into it.
   */
  provenTableKeptMs: 60_000,
  /** Number of them told in one message of a thread: 5 KB. */
  provenNotesMax: 256,
  /** Bytes of an object's path in lakeFS. */
  lakefsPathBytesMax: 1_024,
  /**
   * A landing's work branch, or a whole upload without a name, is left over from a crash when it is
   * older than this: no push takes so long.
   */
  landingLeftoverMs: 24 * 3_600_000,
  /**
   * Files of one commit's `_lakefs_actions/` that are looked into for hooks, and files whose hooks
   * are kept: nobody has a hundred. With more no push lands.
   */
  actionFilesMax: 100,
  /** Bytes of one of them: an action is a few hundred bytes, one with a script some thousands. */
  actionFileBytesMax: 256 * KIB,
  /** Aliases that one of them may resolve: more makes a large value of a small file. */
  actionAliasesMax: 100,
  /** Commits of a repository whose hooks are kept in memory. */
  actionCommitsMax: 100,
  /**
   * Entries, and bytes, of the file of keys by account (lakefs_credentials): a large hub's
   * accounts; it is read once.
   */
  lakefsCredentialsMax: 100_000,
  lakefsCredentialsBytesMax: 32 * MIB,
  /** Keys of people whose clients of one repository are kept. */
  lakefsKeysHeldMax: 1_000,
  /** Patterns that one of branch protection may stand for with its braces: `{a,b}{c,d}` is four. */
  protectionAlternativesMax: 1_000,
  /**
   * Until lakeFS answers a call inside of which hooks run. Theirs is to say how long they take;
   * beyond this the outcome is looked for.
   */
  lakefsHookMs: 1_800_000,
  /**
   * Wait before a hook that could not be asked is asked once more: a deployment's gap, a connection
   * that was cut.
   */
  hookAgainMs: 1_000,
  /**
   * Milliseconds that a failed proof of the guard stands before another is tried: pushes that wait
   * for it must not each try one.
   */
  guardProofAgainMs: 10_000,
  /** Milliseconds that hooks are believed to be disabled in lakeFS: an operator may enable them. */
  guardDisabledMs: 60_000,
  /**
   * Milliseconds that one guard's commit is used: lakeFS's collection takes what no branch leads
   * to, after a day at the earliest.
   */
  guardCommitMs: 12 * 3_600_000,
  /**
   * A tag whose move began so long ago and has not ended is put back where it was: its server has
   * died.
   */
  tagMoveMs: 3_600_000,
  /** Moves of tags under way that one list of refs looks at, a call each. */
  tagMovesMax: 100,
  /**
   * Records of cuts that one look at lakeFS checks, two calls each: a real repository has a few.
   */
  lakefsCutsPerLook: 200,
  /**
   * Branches of cuts that one look lists, a call for each thousand: whoever may make branches may
   * make any number. Of more, those behind are not looked at. Records that did not hold are
   * remembered, as many.
   */
  lakefsCutsMax: 10_000,
  /** Results of one page; more is refused by lakeFS (400). */
  lakefsPageMax: 1_000,
  /** Paths of one bulk delete; more is refused by lakeFS (400). */
  lakefsDeletePathsMax: 1_000,
  /** Bytes of a JSON reply: 1,000 commits that carry a raw commit of 16 KB each. */
  lakefsReplyBytesMax: 32 * MIB,
  /**
   * Silence that ends a write: nothing of its body leaves and no answer comes. Hooks run before it,
   * and lakeFS stores what was uploaded.
   */
  lakefsCallMs: 300_000,
  /**
   * Silence that ends a read: a server that says nothing for so long is asked again. The whole of a
   * transfer has no limit.
   */
  lakefsWaitMs: 60_000,
  /**
   * Milliseconds that a lakeFS that is away is waited for, unless a setting says otherwise: one
   * that restarts takes some ten seconds.
   */
  lakefsPatienceMs: 45_000,
  lakefsConnectMs: 10_000,
  /**
   * Milliseconds that a reading that is called off may take to keep what it has: below the ten
   * seconds after which many a supervisor kills.
   */
  lakefsLeaveOffMs: 8_000,
  /**
   * Connections of one thread to one server: `landingUploadsMax` and some; more calls wait for one.
   */
  lakefsConnectionsMax: 80,
  /**
   * Tries of a call that is safe to repeat, waits between them doubling from `lakefsRetryMs` to
   * `lakefsRetryMsMax`; more while lakeFS is away.
   */
  lakefsTriesMax: 5,
  lakefsRetryMs: 100,
  lakefsRetryMsMax: 2_000,
  /** Longest wait that an answer of 429 or 503 may ask for (Retry-After). */
  lakefsRetryAfterMsMax: 10_000,
  /**
   * Bytes of one raw range or metarange: lakeFS ends a range at 20 MiB, unless one entry carries
   * more.
   */
  lakefsRangeBytesMax: 256 * MIB,
  /**
   * Changes that a diff's pages may tell; of more the ranges that differ tell in fewer calls:
   * mostly four.
   */
  lakefsDiffMax: 3_000,
  /**
   * Changes that are asked for one by one, where a diff does not tell what is new (lakeFS before
   * 1.62): half a second. Of more the ranges tell.
   */
  lakefsStatsMax: 100,
  /** Changes of one commit that are held: 50 MB. Of more, both listings are read side by side. */
  lakefsChangesMax: 100_000,
  /**
   * Contents read at once by one synthesis: on loopback 32 are no faster than 16, with 30 ms to the
   * store behind lakeFS twice as fast. lakectl has 25.
   */
  lakefsReadsMax: 32,
  /**
   * Stored objects of which one synthesis remembers the blob, so that identical content is read
   * once: 300 bytes each.
   */
  lakefsContentsMax: 100_000,
  /**
   * Bytes of a content from which on its hashes are remembered in a file of ours: below, reading
   * the content again costs no more than looking for that file.
   */
  contentRecordBytesMin: 64 * KIB,
  /**
   * Bytes of a plain file from which on a landing seals it, for one call more: below, reading it
   * costs a server without the key no more than the call.
   */
  sealedFileBytesMin: MIB,
  /**
   * A content above this goes through a file; `lakefsReadsMax` of those below are held in memory at
   * once.
   */
  lakefsHeldBytesMax: 2 * MIB,
  /**
   * Heads of a repository that cannot be read, and how long in milliseconds until one is tried
   * again: each try may read all of its contents.
   */
  lakefsUnreadableMax: 1_000,
  lakefsUnreadableMs: 60_000,
  /**
   * Milliseconds that lakeFS must be away before what is known is served in its place, where a
   * setting lets us, and between two looks at that.
   */
  lakefsStaleAfterMs: 5_000,
  lakefsStaleLookMs: 1_000,
  /**
   * Bytes of the note of what was served last: as many refs as a repository may have, 100 bytes
   * each.
   */
  lakeServedBytesMax: 64 * MIB,
  /**
   * Milliseconds between two questions for the commits that others have cut from a repository's
   * history: a call.
   */
  lakefsCutsLookMs: 60_000,
  /** Milliseconds until a commit that lakeFS does not find in any way is looked for again. */
  lakefsLostLookMs: 30_000,
  /**
   * Files of a repository of which it is noted that their data is gone: enough to see what
   * happened.
   */
  lakefsLostNoted: 100,
  /**
   * Commits of a repository that lakeFS does not find by their ids, and how they are reached: a
   * handful of cherry-picks in ten minutes.
   */
  lakefsLostMax: 1_000,
  /** Branches whose logs are searched for such a commit: a call each. */
  lakefsLostBranchesMax: 32,
  /** Steps of an expression that leads to one: cherry-picks of commits in a row. */
  lakefsLostStepsMax: 64,
  /** Commits of one synthesis task: some seconds of work, after which what is done is durable. */
  lakefsBatchCommits: 200,
  /**
   * Commits of one page of a log: with raw commits of 16 KB each still within
   * `lakefsReplyBytesMax`.
   */
  lakefsLogPage: 1_000,
  /**
   * Commits of one page in which a mapping's record is looked for, and pages: the branch begins at
   * what the default branch was at first contact. 0.3 s a page of raw commits.
   */
  mappingPage: 100,
  mappingPagesMax: 200,
  /**
   * Pointers (and suffixes) that a commit's record lists; of a tree with more the next commit lists
   * everything again.
   */
  lakefsCensusMax: 10_000,
  /**
   * Steps of holding .gitattributes against the paths of one commit that is read or landed: a base,
   * and so much for each path. A line without wildcards, or with one before an ending, is looked up
   * and costs less than one. Lists of a model hub (36 endings) take 3 for each path; a hundred
   * lines with folders and wildcards 100 to 200, which is more than a tenth. At the limit a second,
   * and 2.5 s for each 100,000 paths, whose listing takes 3 s itself.
   */
  attributeStepsBase: 20_000_000,
  attributeStepsPerPath: 500,
  /**
   * Bytes of .gitattributes files whose lines a thread keeps parsed: the same file stands in commit
   * after commit.
   */
  attributeRulesBytes: 4 * MIB,
  /**
   * Entries of a tree with zeroes before modes that a commit's metadata tell of: a byte each,
   * before it is deflated.
   */
  paddedEntriesMax: 4_000_000,
  /** Trees of synthesized commits one thread keeps in memory. */
  lakefsTreeCacheBytes: 64 * MIB,
  /** Bytes of one lake record: 10,000 pointers of 1,024 bytes. */
  lakeRecordBytesMax: 16 * MIB,
  /**
   * Bytes of one line of a list of promised blobs: a path of 1,024 bytes, each of which JSON may
   * spell with six, an id, a number.
   */
  promisedLineBytesMax: 8_192,
  /** Files of one list read in one go: bounds what is held with their contents. */
  promisedBatchFiles: 5_000,
  /**
   * Small packs of promised blobs, each made for a client that asked for some by id; after so many
   * all that are promised are brought.
   */
  promisedPacksMax: 16,
  /** Commits whose both ids are kept in memory: 300 bytes each. */
  lakePairsMax: 200_000,
  /**
   * Milliseconds that a request for refs waits for synthesis: a proxy's usual patience is longer.
   */
  lakefsRefsWaitMs: 120_000,
  /**
   * Refs of single lakeFS commits (refs/lakefs/<id>) that one request may name: a record's look-up
   * each.
   */
  lakefsRefsAskedMax: 1_000,
  /** Wanted commits of one fetch that are looked at for paths which cannot be in Git. */
  lakefsUncrossedWants: 16,
  /** Rows of the log in which the nearest commit that was read is looked for: one call. */
  lakefsUncrossedLog: 200,
  /**
   * Commits of a repository whose uncrossed paths are kept in memory: ten paths of 1 KiB at most.
   */
  lakefsUncrossedMax: 64,
  /**
   * Milliseconds that it is believed whether lakeFS has a repository, where only a warning hangs on
   * it.
   */
  lakefsLookMs: 10_000,
  /** Milliseconds between two lines of the log on a long synthesis. */
  lakefsProgressLogMs: 10_000,
  /** Distance of two looks at the heads of a repository nobody asks for. */
  lakefsPollMs: 10_000,
  /**
   * Repositories looked at ahead of requests at once: each look is two short calls, but the
   * synthesis behind it may take long.
   */
  lakefsLooksMax: 4,
  /** Bytes of a pkt-line that a trace shows: a ref with two ids and its capabilities fit. */
  tracedTextBytesMax: 400,
  /** Bytes of one webhook's event: it carries a commit's message and metadata. */
  webhookBytesMax: 2 * MIB,
  /**
   * Bytes of a request to the JSON API: settings of a repository, of which `fsckSkippedMax` ids are
   * 22 KB.
   */
  apiRequestBytesMax: 64 * KIB,

  // LFS -------------------------------------------------------------------------------------------
  /** Bytes of one object: the largest S3 keeps (5 TiB). */
  lfsObjectBytesMax: 5 * 1_024 * GIB,
  /** Objects of one batch. git-lfs sends 100, hub clients up to 1,000. */
  lfsBatchObjectsMax: 10_000,
  /** Bytes of one batch request: so many objects of 120 bytes, with room. */
  lfsBatchBytesMax: 4 * MIB,
  /**
   * Bytes of a request that verifies one: its oid and its size. Read before anybody has shown a
   * link's proof, since the proof is for what it names.
   */
  lfsVerifyBytesMax: 4 * KIB,
  /** Existence tests of one batch at once. */
  lfsLooksMax: 16,
  /**
   * Bytes of an upload hashed by one task: a third of a second of a thread. A slow client holds no
   * thread between them.
   */
  lfsHashBytes: 32 * MIB,
  /** The same where the upload goes on to lakeFS and not to a file: two such buffers an upload. */
  lfsHeldHashBytes: 4 * MIB,
  /**
   * Looks for an upload whose answer from lakeFS was lost, each so much later than the one before.
   */
  lfsStoredLooksMax: 3,
  lfsStoredLookMs: 1_000,
  /**
   * Milliseconds that a client that asks for an object waits for an upload of it that has all its
   * bytes: git-lfs gives up after 30 s.
   */
  lfsSettleMs: 20_000,
  /** Milliseconds that the end of an upload waits until its temporary name is gone. */
  lfsClearMs: 2_000,
  /**
   * Uploads that are whole and wait for their name, or whose temporary name is still to be taken
   * away: 300 bytes each.
   */
  lfsUnnamedMax: 1_000,
  /**
   * Uploads hashed on the main thread at once: a chunk of 512 KiB takes 0.7 ms, so those of one
   * turn stay below 5 ms.
   */
  lfsHashedHereMax: 4,
  /** Paths named where pushed pointers lack their objects; for one line of an answer. */
  lfsOffendersMax: 10,
  /**
   * Commits that one push's fast-forwards are looked for in, all of its branches together: one
   * branch that goes on takes as many as are new, one that was moved aside its whole history
   * (git.git 80,000). At the limit 7 CPU seconds of a thread and 110 MiB.
   */
  ancestorCommitsMax: 1_000_000,
  /**
   * Steps of the search for paths of pushed pointers without an object: an entry looked at, a
   * pattern held against a path. A push of ten missing files takes some hundred, one of a hundred
   * thousand files with a thousand pointer texts in its history a hundred thousand. A second or two
   * at the limit.
   */
  pointerStepsMax: 1_000_000,
  /** Pointers looked for at once: 300 bytes each in a message between threads. */
  pointersAtOnce: 10_000,
  /**
   * Names under which one upload is published, one after the other, where what it met was dropped
   * in between. Each needs a collection in the same milliseconds.
   */
  lfsPublicationsMax: 5,
  /**
   * Links taken away in one transaction, or taken in from the layout before: some 20 ms of SQLite,
   * which the event loop waits for.
   */
  lfsLinksAtOnce: 50,
  /** Objects that are listed in one query: 200 bytes each. */
  lfsListedAtOnce: 500,
  /**
   * A name that was announced and never linked to is given up after this: a day is longer than any
   * upload to the store takes. So are links of an id that no row stands for.
   */
  lfsUnfinishedMs: 86_400_000,
  /** Seconds that a link of a batch's reply is good. Presigned ones of lakeFS live 900 s. */
  lfsLinkSeconds: 800,

  // object storage --------------------------------------------------------------------------------
  /** Milliseconds until a connection is there: a machine far away answers within one second. */
  s3ConnectMs: 5_000,
  /**
   * Silence in milliseconds that ends a request, in the middle of a body too: storage that is alive
   * begins to answer within a second or two. The whole of a transfer has no limit.
   */
  s3SilenceMs: 15_000,
  /**
   * The same for the completion of an upload in parts, which may copy them: AWS speaks of minutes.
   */
  s3CompletionMs: 600_000,
  /**
   * Milliseconds within which a call is tried again, and tries of it: three silent ones, or a
   * restart of a few seconds. Clients of Git wait for longer.
   */
  s3PatienceMs: 45_000,
  s3TriesMax: 8,
  /** Milliseconds before the second try at most; doubled from try to try, half of it by chance. */
  s3RetryMs: 100,
  s3RetryMsMax: 4_000,
  /** The same where storage asked to slow down and did not say for how long. */
  s3ThrottledMs: 500,
  /** Connections to object storage: blocks of packs are read beside each other; the SDK has 50. */
  s3SocketsMax: 64,
  /** Bytes from which on a file is uploaded in parts: one round trip instead of three below. */
  s3PutBytesMax: 16 * MIB,
  /** Bytes of a part unless the file has too many: half a second at 20 MB/s. S3: 5 MiB or more. */
  s3PartBytes: 8 * MIB,
  /** S3's own limit. */
  s3PartsMax: 10_000,
  /** Bytes of a part at most, which are held in memory: 640 GB a file. */
  s3PartBytesMax: 64 * MIB,
  /** Parts of one file in flight, and bodies of files of the whole store: each is in memory. */
  s3PartsInFlightMax: 4,
  s3BodiesInFlightMax: 8,
  /** Keys of one page of a list, and of one deletion: S3's own limit. */
  s3PageKeysMax: 1_000,
  /** Dead uploads of one sweep: 200 bytes each in memory, two requests. */
  s3SweepMax: 10_000,
  /** Names directly below one prefix: 100 bytes each in memory. A folder of packs has thousands. */
  storeNamesMax: 1_000_000,
  /**
   * Times that an object is read again whose content and tag are not one another's: each needs a
   * replacement in that very moment. Milliseconds before the second, doubled from one to the next.
   */
  s3MisfitsMax: 8,
  s3MisfitMs: 5,
  /** Part of such answers, under contention, from which on storage is not fit: most have none. */
  s3MisfitsPart: 0.02,
  /** Milliseconds that a look at conditional writes under contention takes at start. */
  s3ProbeMs: 2_500,
  /** Replacements of one object by which it looks: a round trip or two each. */
  s3ProbeReplacementsMax: 400,

  /**
   * Milliseconds between two signs of life of a server that has a bucket for itself, and after so
   * many without one it is dead for others: three signs, and as long as storage may be silent.
   */
  leaseRenewMs: 8_000,
  /** Milliseconds that the end of a server waits for such a sign under way: a few round trips. */
  leaseReleaseMs: 1_000,
  leaseLapseMs: 30_000,

  // local copies of what lies in object storage ---------------------------------------------------
  /**
   * Milliseconds that a path stays good after it was asked for: a task that opens it may wait that
   * long for its thread.
   */
  localFileHoldMs: 30_000,
  /** Milliseconds that a copy waits for room: until what was asked for before may go. */
  localFileRoomMs: 45_000,
  /** Bytes of one request for a part of a copy, and such requests in flight: held in memory. */
  localFileRangeBytes: 8 * MIB,
  localFileRangesMax: 4,
  /**
   * Bytes up to which an object is copied whole before it is read: one or two round trips more. A
   * larger one is copied as it is read.
   */
  localFileWholeBytesMax: 32 * MIB,
  /** Blocks of `localFileRangeBytes` that are fetched ahead of who reads one after another. */
  localFileAheadBlocks: 3,
  /** Milliseconds that a thread waits for such a block: longer than a call is tried again. */
  blockWaitMs: 60_000,
  localFileRangesAllMax: 8,
  /** Copies kept: 300 bytes each in memory. */
  localFilesMax: 200_000,

  // doctor ----------------------------------------------------------------------------------------
  /**
   * Free bytes and files below which doctor warns: a push of a usual model, and the files of a
   * thousand pushes.
   */
  diskFreeBytesMin: 1 * GIB,
  diskFreeFilesMin: 10_000,
  /** Milliseconds that doctor waits for an answer of the front end, or through a proxy. */
  doctorProbeMs: 5_000,
  /** A dozen syncs: more than this on a local disk means that something is wrong with it. */
  diskProbeMsMax: 2_000,
  /** Storage refuses signatures of 15 minutes' difference; links of ours live 800 s. */
  clockSkewMsMax: 60_000,

  // caches ----------------------------------------------------------------------------------------
  /** Default of LAKEPACK_CACHE_BYTES: generated packs kept on disk. */
  responseCacheBytes: 4 * GIB,
  /** From a push to the upkeep of its repository: a burst of pushes costs one round. */
  maintenanceDelayMs: 1_000,
  /**
   * Small live packs of a repository from which on they are made one: each costs every task a table
   * to look in.
   */
  foldPacksMin: 32,
  /**
   * The same where packs come from lakeFS: each has the trees of its commits whole that another
   * pack would have as deltas, up to 30 bytes for each file.
   */
  foldMadePacksMin: 8,
  /** From the last change on: then what is left over is folded as well, however few packs it is. */
  maintenanceQuietMs: 60_000,
  /**
   * A pack up to here is folded then whatever it is: some seconds of one thread at most, after
   * which nothing is left to do.
   */
  foldBytesMin: 1 * MIB,
  /**
   * Blobs that the packs of one fold promise: their list is written again, and 50 bytes for each
   * are held meanwhile.
   */
  foldPromisedMax: 2_000_000,
  /** A pack above this is not small: it is never written again only to save a table. */
  foldPackBytesMax: 64 * MIB,
  /** Packs made one at once: some seconds of two threads. */
  foldBytesMax: 256 * MIB,
  /**
   * Deltas in a row until a tree is whole, where we make them: reading one costs each. Git:
   * pack.depth, 50.
   */
  treeDeltaDepthMax: 48,
  /**
   * Older versions of a tree that are looked at for a base: 8^4, so that of so many one is whole at
   * most. A step costs nanoseconds.
   */
  treeDeltaStepsMax: 4_096,
  /**
   * Inflated deltas that a fold keeps in memory: it has time to inflate the rest twice, and the
   * memory of an ingest stays with the process.
   */
  foldMemoryBytes: 16 * MIB,
  /**
   * Fetches with a limit of blob sizes of which it is remembered which limits come to the same: 200
   * bytes each, and as much for each limit.
   */
  sizeLimitFamiliesMax: 1_000,
  sizeLimitsMax: 32,
  /**
   * Repositories whose manifest and refs are kept in memory: 10,000 refs each are 2 MB, most have
   * ten.
   */
  repositoryHandlesMax: 1_000,
  /**
   * Pack files one thread keeps open: a quarter of the usual 1,024 descriptors for four threads.
   */
  packFilesOpenMax: 64,
  /** Packs whose check after a restart is remembered: 200 bytes each. */
  packChecksMax: 100_000,
  /** Stored packs hashed at once: two threads are busy with two, and one more waits for each. */
  packChecksAtOnce: 4,
  /**
   * A pack up to here is hashed before its first client gets it after a restart: a third of a
   * second.
   */
  packCheckWaitBytesMax: 256 * MIB,
  /**
   * One block of a pack file in a thread's memory: some hundred entries of code history, one read
   * call.
   */
  packBlockBytes: 64 * KIB,
  /**
   * Blocks one thread keeps. Trees of a history lie together in a pack, so this covers hundreds of
   * thousands of them.
   */
  packBlockCacheBytes: 32 * MIB,
  /**
   * zlib level of objects that are deflated anew for a pack. Git: core.compression -1, which is 6.
   */
  deflateLevel: 6,
  /** Objects one thread deflates between two claims: some milliseconds of work. */
  deflateBatchObjects: 64,
  /**
   * A thread that has deflated nothing for this long is not waited for. The largest object held
   * whole takes about as long.
   */
  deflateStallMs: 3_000,
  /** Milliseconds between two looks of a waiting thread at its control word. */
  controlLookMs: 10,
  /** Objects a walk finds between two reports of its progress: some milliseconds of work. */
  walkProgressObjects: 4_096,
  /**
   * Looks at a repository, or at the database, whose files go while they are backed up. Each time
   * somebody has just removed some; a second time in a row is rare.
   */
  backupLooksMax: 10,
  /** Bytes of a backup's record: a handful of numbers and names. */
  backupRecordBytesMax: 64 * KIB,
  /** Names of damaged repositories and objects that a backup or a restore prints. */
  backupNamedMax: 20,
  /** Between two lines of progress on a terminal. */
  progressEveryMs: 200,
  /** A year: the most `gc_grace_hours` may be. */
  gcGraceHoursMax: 8_760,
  /**
   * A repository that is pushed to is looked through for files that nothing names at most so often.
   */
  collectEveryMs: 3_600_000,
  /**
   * Packs a thread's caches tell apart before they start afresh: half of what their 16-bit slot
   * holds.
   */
  packSlotsMax: 32_768,
  /**
   * Bases of deltas one thread keeps. Git: core.deltaBaseCacheLimit, 96 MiB for a whole process.
   */
  deltaBaseCacheBytes: 48 * MIB,
  /** Index tables of live packs in shared memory: 33 bytes an object. */
  packTableBytesMax: 512 * MIB,
} as const;
