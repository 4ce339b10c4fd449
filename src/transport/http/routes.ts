/**
 * Routes: finds the conversation that a request leads to, and says what HTTP has to say about it.
 * Source: gitprotocol-http(5); where it leaves something open, what `git http-backend` does.
 */
import { checkWebhookSecret, WEBHOOK_HEADER, webhookRepository } from "../../api/lakefs-webhook.js";
import { accountOf, type Caller, shareOf, TRUSTED } from "../../auth/caller.js";
import { utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { type ByteSink, type ByteSource, failureToTell } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { RepositoryApi } from "../../api/repositories.js";
import type { LinkHolder } from "../../lfs/proof.js";
import { concealed } from "../../serve/conversation/conceal.js";
import type {
  Exchange,
  ProtocolVersion,
  Repository,
} from "../../serve/conversation/conversation.js";
import { holderOf, type RouteDoor, type Wants } from "../../serve/repositories/door.js";
import { type RepositoryName, titleOf } from "../../serve/conversation/repository-name.js";
import type { LinkedBundle } from "../../serve/fetch/bundle-links.js";
import type { GitService, RoutedServer } from "../../serve/git-server.js";
import { serviceAnnouncement } from "../../wire/advertise.js";
import type { HttpHandler, HttpReply, HttpRequest } from "./contract.js";
import { type Client, type ClientOptions, Clients } from "./client.js";
import { apiFaultReply, apiReply, isApiPath, SETTINGS_FILE } from "./api.js";
import { faultReply, NO_CACHE } from "./fault.js";
import { checkHost, checkLoopback, corsHeaders, PREFLIGHT } from "./guard.js";
import { gunzip } from "./gunzip.js";
import { isLfsPath, LFS_PREFIX, lfsFaultReply, lfsReply, type Linked } from "./lfs.js";
import { contentReply } from "./content.js";
import { readJsonBody } from "./json.js";
import { goGetPage, homePage, repositoryPage } from "./pages.js";
import { readPath } from "./path.js";
import { BUNDLES_PREFIX, operationOf, RequestAccount } from "./request-account.js";

export interface RouteOptions {
  /** Serve this machine only, and no proxy. */
  readonly loopbackOnly: boolean;
  /** Ways that clients reach us; absent: directly, without TLS. */
  readonly clients?: ClientOptions;
  /**
   * Origins of web pages that may call the Git routes, as browsers spell them
   * ("https://app.example").
   */
  readonly corsOrigins: readonly string[];
  /** Inflated bytes of one pushed body; commands come on top. */
  readonly packBytesMax?: number;
  /**
   * Seconds that browsers and git keep to HTTPS once they have come by it
   * (Strict-Transport-Security); 0 or absent: not said. RFC 6797.
   */
  readonly hstsSeconds?: number;
  /** Undefined: there is nothing below /api/repos. */
  readonly api?: RepositoryApi;
  /** Secret that lakeFS' webhooks must show; empty or absent: there are none. */
  readonly webhookSecret?: string;
}

/** A request on its way through the routes. */
interface Asked {
  readonly request: HttpRequest;
  readonly client: Client;
  readonly account: RequestAccount;
}

interface AskedRepository extends Asked {
  readonly name: RepositoryName;
}

interface Admitted {
  readonly repository: Repository;
  readonly caller: Caller;
  readonly wants: Wants;
  /** The part of the pool it counts to. */
  readonly share: string;
}

type Headers = readonly (readonly [string, string])[];

/** `door`: who may pass to which repository. `server`: what is said behind it. */
export function createRoutes(
  server: RoutedServer,
  door: RouteDoor,
  options: RouteOptions,
): HttpHandler {
  const routes = new Routes(server, door, options);
  return Object.assign((request: HttpRequest) => routes.handle(request), {
    refused: (request: HttpRequest, reply: HttpReply, fault: unknown) =>
      routes.refused(request, reply, fault),
  });
}

class Routes {
  readonly #server: RoutedServer;
  readonly #door: RouteDoor;
  readonly #options: RouteOptions;
  readonly #clients: Clients;

  constructor(server: RoutedServer, door: RouteDoor, options: RouteOptions) {
    this.#server = server;
    this.#door = door;
    this.#options = options;
    this.#clients = new Clients(
      options.clients ?? { trustedProxies: [], publicUrl: "", tls: false },
    );
  }

  /** Log and metrics hear of a request that the front end has refused by itself. */
  refused(request: HttpRequest, reply: HttpReply, fault: unknown): void {
    new RequestAccount(request, this.#clients.of(request).address, (entry) =>
      this.#server.ended(entry),
    ).watch(reply, fault);
  }

  async handle(asSent: HttpRequest): Promise<HttpReply> {
    const request = withPlainPath(asSent);
    const client = this.#clients.of(request);
    const account = new RequestAccount(request, client.address, (entry) =>
      this.#server.ended(entry),
    );
    const always = [
      ...corsHeaders(request, this.#options.corsOrigins),
      ...this.#transportSecurity(client),
    ];
    try {
      const reply = await this.#route({ request: account.request, client, account });
      return account.watch({ ...reply, headers: [...reply.headers, ...always] });
    } catch (error) {
      const reply = failureReply(
        request,
        concealed(failureToTell(request.signal, error), account.conceal),
      );
      return account.watch({ ...reply, headers: [...reply.headers, ...always] }, error);
    }
  }

  /** Only for who came by HTTPS: RFC 6797, 7.2. */
  #transportSecurity({ base }: Client): Headers {
    const seconds = this.#options.hstsSeconds ?? 0;
    return seconds > 0 && base.startsWith("https:")
      ? [["Strict-Transport-Security", `max-age=${seconds}`]]
      : [];
  }

  async #route(asked: Asked): Promise<HttpReply> {
    const { request, account } = asked;
    if (this.#options.loopbackOnly) checkLoopback(request, this.#options.corsOrigins);
    checkHost(request);
    const target = readPath(request.path);
    account.operation = operationOf(target);
    if (target.kind === "repository" || target.kind === "api") this.#server.checkServing();
    switch (target.kind) {
      case "home":
        allow(request, READ);
        return this.#home(asked);
      case "health":
        allow(request, READ);
        return plain(200, "ok\n");
      case "ready":
        allow(request, READ);
        return this.#ready();
      case "metrics":
        allow(request, READ);
        return this.#metrics(asked);
      case "lakefs-webhook":
        allow(request, ["POST"]);
        return this.#lakefsWebhook(request);
      case "api":
        allow(request, target.file === SETTINGS_FILE ? [...READ, "PATCH"] : READ);
        return this.#api(asked, target.name, target.file);
      case "repository":
        return this.#repositoryFile({ ...asked, name: target.name }, target.file);
    }
  }

  /** Once a route needs to know. */
  async #caller({ request, client, account }: Asked): Promise<Caller> {
    return account.identified(
      await this.#door.identify(request.header("authorization"), client.source, request.signal),
    );
  }

  async #resolve(asked: AskedRepository, wants: Wants): Promise<Repository> {
    return (await this.#admit(asked, wants)).repository;
  }

  /** The repository, for a caller who may. */
  async #admit(asked: AskedRepository, wants: Wants): Promise<Admitted> {
    const caller = await this.#caller(asked);
    const repository = await this.#door.resolve(asked.name, caller, wants, asked.request.signal);
    asked.account.note({ repository: repository.title });
    asked.account.conceal = repository.conceal;
    return { repository, caller, wants, share: shareOf(caller, asked.client.source) };
  }

  async #home(asked: Asked): Promise<HttpReply> {
    const { request, client } = asked;
    const caller = await this.#caller(asked);
    const found = await this.#door.list("", LIMITS.listedRepositoriesMax + 1, caller);
    const lakefs = await this.#server.lakefs(caller);
    const repositories = found.slice(0, LIMITS.listedRepositoriesMax);
    const more = found.length > repositories.length;
    return homePage(request, {
      version: this.#server.version,
      base: client.base,
      repositories,
      lakefs,
      more,
    });
  }

  async #ready(): Promise<HttpReply> {
    const { refusal, warnings } = await this.#server.readiness();
    const first = refusal === undefined ? "ready" : `not ready: ${refusal}`;
    return plain(
      refusal === undefined ? 200 : 503,
      `${[first, ...warnings.map((each) => `warning: ${each}`)].join("\n")}\n`,
    );
  }

  /** For administrators, and for whatever collects them on this very machine. */
  async #metrics(asked: Asked): Promise<HttpReply> {
    const isLocal = asked.client.isLocal && asked.request.header("authorization") === undefined;
    const { contentType, text } = await this.#server.metrics(
      isLocal ? TRUSTED : await this.#caller(asked),
    );
    return { status: 200, headers: [["Content-Type", contentType], ...NO_CACHE], body: utf8(text) };
  }

  /** Answers before the work is done: lakeFS waits for its hooks. */
  async #lakefsWebhook(request: HttpRequest): Promise<HttpReply> {
    checkWebhookSecret(this.#options.webhookSecret ?? "", request.header(WEBHOOK_HEADER));
    const repository = webhookRepository(await readJsonBody(request.body, LIMITS.webhookBytesMax));
    this.#server.lakefsChanged(repository);
    return plain(202, "taken note of\n");
  }

  async #api(asked: Asked, name: RepositoryName, file: string): Promise<HttpReply> {
    const { api } = this.#options;
    if (api === undefined) throw new Fault("http/not-found");
    const caller = await this.#caller(asked);
    return apiReply({
      api,
      name,
      asking: { caller, share: shareOf(caller, asked.client.source) },
      file,
      method: asked.request.method,
      body: asked.request.body,
      signal: asked.request.signal,
    });
  }

  async #repositoryFile(asked: AskedRepository, file: string): Promise<HttpReply> {
    const { request, client } = asked;
    if (
      request.method === "OPTIONS" &&
      this.#options.corsOrigins.includes(request.header("origin") ?? "")
    )
      return { status: 204, headers: PREFLIGHT, body: new Uint8Array(0) };
    if (isGoGet(request)) return goGetPage(client.base, titleOf(asked.name));
    switch (file) {
      case "":
        allow(request, READ);
        return repositoryPage(request, client.base, (await this.#resolve(asked, "read")).title);
      case "info/refs":
        allow(request, READ);
        return this.#infoRefs(asked);
      case "HEAD":
        allow(request, READ);
        return this.#head(asked);
      case "git-upload-pack":
        return this.#service(asked, "upload-pack");
      case "git-receive-pack":
        return this.#service(asked, "receive-pack");
      default:
        if (file.startsWith(LFS_PREFIX)) return this.#lfs(asked, file.slice(LFS_PREFIX.length));
        if (file.startsWith(BUNDLES_PREFIX)) return this.#bundle(asked, file);
        if (file.startsWith("objects/")) throw dumbRefusal();
        throw new Fault("http/not-found");
    }
  }

  async #head(asked: AskedRepository): Promise<HttpReply> {
    const repository = await this.#resolve(asked, "read");
    return plain(200, `ref: ${await this.#server.head(repository, asked.request.signal)}\n`);
  }

  async #infoRefs(asked: AskedRepository): Promise<HttpReply> {
    const { request } = asked;
    const named = new URLSearchParams(request.query).get("service");
    if (named === null) throw dumbRefusal();
    const service = serviceNamed(named);
    const admitted = await this.#admit(asked, wantsOf(service));
    const version = protocolVersion(request.header("git-protocol"));
    return {
      status: 200,
      headers: [["Content-Type", `application/x-git-${service}-advertisement`], ...NO_CACHE],
      clientThinks: service === "receive-pack", // it makes its pack now
      body: async (sink) => {
        // http-backend leaves the line out whenever version 2 is asked for, even of receive-pack,
        // which then speaks version 0.
        const output = version === 2 ? sink : behind(serviceAnnouncement(service), sink);
        await this.#server.advertise(
          this.#exchange(asked, admitted, { version, input: request.body, output }),
          service,
        );
      },
    };
  }

  async #service(asked: AskedRepository, service: GitService): Promise<HttpReply> {
    const { request } = asked;
    allow(request, ["POST"]);
    const expected = `application/x-git-${service}-request`;
    const received = request.header("content-type");
    if (received !== expected)
      throw new Fault("http/content-type", { expected, received: received?.slice(0, 100) });
    const isGzip = isGzipped(request);
    const admitted = await this.#admit(asked, wantsOf(service));
    const version = protocolVersion(request.header("git-protocol"));
    const converse = service === "upload-pack" ? this.#server.uploadPack : this.#server.receivePack;
    return {
      status: 200,
      headers: [["Content-Type", `application/x-git-${service}-result`], ...NO_CACHE],
      body: (output) =>
        inflated(request.body, isGzip, this.#inflatedBytesMax(service), (input) =>
          converse.call(this.#server, this.#exchange(asked, admitted, { version, input, output })),
        ),
    };
  }

  async #lfs(asked: AskedRepository, file: string): Promise<HttpReply> {
    const { lfs } = this.#server;
    if (lfs === undefined) throw new Fault("http/not-found");
    const { request, client, name } = asked;
    // What a batch is for stands in its body, and so does which right it needs. Who has none at all
    // is not listened to for megabytes.
    if (file === "objects/batch" && (await this.#caller(asked)).kind === "anonymous")
      await this.#resolve(asked, "read");
    const resolve = async (wants: Wants) => {
      const repository = await this.#resolve(asked, wants);
      // Its links name it: by an id that another process, or this one after a restart, knows too.
      return wants === "write" ? this.#door.created(repository) : repository;
    };
    const holder = async () => holderOf(await this.#caller(asked));
    const resolveLinked = (held: LinkHolder, wants: Wants) => this.#linked(asked, held, wants);
    return lfsReply({
      request,
      base: client.base,
      name,
      file,
      lfs,
      resolve,
      holder,
      resolveLinked,
    });
  }

  /** A bundle of a list that bundle-uri gave out. */
  async #bundle(asked: AskedRepository, file: string): Promise<HttpReply> {
    const { request, name } = asked;
    const { bundleLinks: links } = this.#server;
    const bundle = readBundlePath(file);
    if (links === undefined || bundle === undefined) throw new Fault("http/not-found");
    allow(request, ["GET"]);
    const proof = new URLSearchParams(request.query).get("proof");
    const linked = await this.#linked(asked, links.admit(proof, bundle, name), "read");
    const { repository, share } = linked;
    links.check(proof, bundle, name, repository.id);
    const { signal } = request;
    const read = await this.#server.openBundle(repository, bundle, { share, signal });
    return contentReply(request, { tag: bundle.name, size: bundle.bytes, read });
  }

  #bundleLink({ request, client, name }: AskedRepository, { repository, caller }: Admitted) {
    const { bundleLinks: links } = this.#server;
    if (links === undefined) return {};
    const base = `${client.base}${request.path.replace(/\/(?:info\/refs|git-upload-pack)$/, "")}`;
    const given = { repository: repository.id, holder: holderOf(caller) };
    return { bundleLink: (bundle: LinkedBundle) => links.make(base, bundle, name, given) };
  }

  /** Whoever comes with a link is who it was given to. */
  async #linked(
    { request, client, account, name }: AskedRepository,
    holder: LinkHolder,
    wants: Wants,
  ): Promise<Linked> {
    const door = this.#door;
    const caller = account.identified(await door.bearerOf(holder));
    const repository = await door.resolveLinked(name, caller, wants, request.signal);
    account.note({ repository: repository.title });
    account.conceal = repository.conceal;
    const stillMay = async () => {
      await door.stillMay({ name, caller, repository, wants }, request.signal);
      // Its objects must find it again, whatever becomes of the push that follows.
      if ((await door.created(repository)).id !== repository.id)
        throw new Fault("store/conflict", { name: repository.title });
    };
    return {
      repository,
      share: shareOf(caller, client.source),
      account: accountOf(caller),
      stillMay,
    };
  }

  #inflatedBytesMax(service: GitService): number {
    if (service === "upload-pack") return LIMITS.fetchRequestBytesMax;
    return (this.#options.packBytesMax ?? LIMITS.packBytesMax) + LIMITS.pushCommandBytesMax;
  }

  #exchange(asked: AskedRepository, admitted: Admitted, wires: Wires): Exchange {
    const { request, account, name } = asked;
    const { repository, caller, wants, share } = admitted;
    const { signal } = request;
    const stillMay = (now: Repository) =>
      this.#door.stillMay({ name, caller, repository: now, wants }, signal);
    return {
      request: account,
      repository,
      ...wires,
      caller: share,
      account: accountOf(caller),
      stillMay,
      ...this.#bundleLink(asked, admitted),
      stateless: true,
      signal,
    };
  }
}

/**
 * Slashes in a row are one, as proxies and Git's own server have it: people join a base that ends
 * in one and a path that begins with one.
 */
function withPlainPath(request: HttpRequest): HttpRequest {
  return request.path.includes("//")
    ? { ...request, path: request.path.replace(/\/{2,}/g, "/") }
    : request;
}

/** In the form that whoever asked can read. */
function failureReply({ path, id }: HttpRequest, error: unknown): HttpReply {
  if (isLfsPath(path)) return lfsFaultReply(error, id);
  return isApiPath(path) ? apiFaultReply(error, id) : faultReply(error, id);
}

const BUNDLE = /^bundles\/([0-9a-f]{40})\/([1-9][0-9]{0,15})$/;

function readBundlePath(file: string): LinkedBundle | undefined {
  const [, name, bytes] = BUNDLE.exec(file) ?? [];
  return name === undefined ? undefined : { name, bytes: Number(bytes) };
}

interface Wires {
  readonly version: ProtocolVersion;
  readonly input: ByteSource;
  readonly output: ByteSink;
}

/**
 * Runs `work` on the body, inflated where the client compressed it; frees the inflater however it
 * ends.
 */
async function inflated(
  body: ByteSource,
  isGzip: boolean,
  bytesMax: number,
  work: (input: ByteSource) => Promise<void>,
): Promise<void> {
  if (!isGzip) return work(body);
  const source = gunzip(body, bytesMax);
  try {
    await work(source);
  } finally {
    source.close();
  }
}

function isGzipped(request: HttpRequest): boolean {
  const encoding = request.header("content-encoding")?.toLowerCase() ?? "identity";
  if (encoding === "gzip" || encoding === "x-gzip") return true;
  if (encoding === "identity" || encoding === "") return false;
  throw new Fault("http/content-type", {
    expected: "Content-Encoding gzip or none",
    received: encoding.slice(0, 100),
  });
}

const READ = ["GET", "HEAD"] as const;

function allow(request: HttpRequest, methods: readonly string[]): void {
  if (!methods.includes(request.method))
    throw new Fault("http/method", { allow: methods.join(", ") });
}

/**
 * Returns whether Go's tool asks where a module's repository is: it adds this to the page's
 * address. go.dev/ref/mod, "Finding a repository for a module path".
 */
function isGoGet({ method, query }: HttpRequest): boolean {
  return method === "GET" && new URLSearchParams(query).get("go-get") === "1";
}

function wantsOf(service: GitService): Wants {
  return service === "receive-pack" ? "write" : "read";
}

function serviceNamed(text: string): GitService {
  if (text === "git-upload-pack") return "upload-pack";
  if (text === "git-receive-pack") return "receive-pack";
  throw new Fault("service/unknown", { service: text.slice(0, 100) });
}

function dumbRefusal(): Fault {
  return new Fault("service/unknown", {
    reason:
      "the dumb HTTP protocol is not offered; use a client that speaks smart HTTP (Git 1.6.6 or later)",
  });
}

/**
 * The highest version named in a Git-Protocol header, a colon-separated list; keys we do not know
 * are passed over. gitprotocol-http(5) "Smart Clients", gitprotocol-pack(5) "Extra Parameters".
 */
export function protocolVersion(header: string | undefined): ProtocolVersion {
  const words = header?.split(":") ?? [];
  if (words.includes("version=2")) return 2;
  return words.includes("version=1") ? 1 : 0;
}

function plain(status: number, text: string): HttpReply {
  const headers: Headers = [
    ["Content-Type", "text/plain; charset=utf-8"],
    ["X-Content-Type-Options", "nosniff"],
    ...NO_CACHE,
  ];
  return { status, headers, body: utf8(text) };
}

/**
 * A sink whose first write is preceded by `head`. Until then nothing has left: what fails may still
 * be told by its status, however long it took.
 */
function behind(head: Uint8Array, sink: ByteSink): ByteSink {
  let isSent = false;
  return {
    async write(bytes) {
      if (!isSent) await sink.write(head);
      isSent = true;
      await sink.write(bytes);
    },
    expect(total) {
      sink.expect?.(typeof total === "number" && !isSent ? total + head.length : total);
    },
  };
}
