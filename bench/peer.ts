/**
 * The peer: nginx, fcgiwrap and `git http-backend`, started on loopback in a folder of its own and
 * stopped by process id.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { access, mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { GIT_ENVIRONMENT, git } from "./git.js";
import { cpuSeconds } from "./process.js";

export interface Peer {
  readonly url: string;
  /**
   * The same repositories, served with a hook that keeps what `pack-objects` has written: what a
   * careful operator does.
   */
  readonly cachedUrl: string;
  /** CPU seconds of nginx, fcgiwrap and every git they have run. */
  cpuSeconds(): number;
  /** Folder of its bare repositories. */
  readonly repositories: string;
  stop(): Promise<void>;
}

const WORKERS = 4;
const NGINX = "/usr/sbin/nginx";
const FCGIWRAP = "/usr/sbin/fcgiwrap";

export async function peerIsInstalled(): Promise<boolean> {
  return access(NGINX)
    .then(() => access(FCGIWRAP))
    .then(
      () => true,
      () => false,
    );
}

export async function startPeer(folder: string, port: number): Promise<Peer> {
  const repositories = join(folder, "repositories");
  await mkdir(repositories, { recursive: true });
  const socket = join(folder, "fcgiwrap.sock");
  const ledger = join(folder, "cpu.log");
  await writeFile(ledger, "");
  await writeFile(join(folder, "backend"), accountant(ledger), { mode: 0o755 });
  await mkdir(join(folder, "packs"));
  await writeFile(join(folder, "keep-pack"), packKeeper(join(folder, "packs")), { mode: 0o755 });
  await writeFile(
    join(folder, "cached.gitconfig"),
    `[uploadpack]\n\tpackObjectsHook = ${join(folder, "keep-pack")}\n`,
  );
  await writeFile(join(folder, "nginx.conf"), configuration(folder, socket, repositories, port));
  const wrap = spawn(FCGIWRAP, ["-c", String(WORKERS), "-s", `unix:${socket}`], {
    env: GIT_ENVIRONMENT,
    stdio: "ignore",
    detached: true,
  });
  await until(
    () =>
      access(socket).then(
        () => true,
        () => false,
      ),
    "fcgiwrap",
  );
  const nginx = spawn(NGINX, ["-p", folder, "-c", join(folder, "nginx.conf")], { stdio: "ignore" });
  await until(() => answers(port), "nginx");
  const children = [wrap, nginx];
  return {
    url: `http://127.0.0.1:${port}`,
    cachedUrl: `http://127.0.0.1:${port}/cached`,
    cpuSeconds: () =>
      cpuSeconds(children.map((child) => child.pid as number)) + ledgerSeconds(ledger),
    repositories,
    stop: async () => {
      await Promise.all(children.map(end));
      endGroup(wrap);
    },
  };
}

/**
 * fcgiwrap ignores SIGCHLD, so the kernel forgets what its children used. This stands between it
 * and git http-backend, waits for it, and writes down its CPU in milliseconds; its own (a few ms of
 * bash) is not counted.
 */
function accountant(ledger: string): string {
  return `#!/bin/bash
TIMEFORMAT='%3U %3S'
{ time /usr/lib/git-core/git-http-backend 2>/dev/null; } 2>>'${ledger}'
`;
}

/**
 * A pack-objects hook: one file for each arguments and input, made once. git-config(1)
 * "uploadpack.packObjectsHook".
 */
function packKeeper(folder: string): string {
  return `#!/bin/sh
input=$(mktemp ${folder}/input.XXXXXX)
cat > "$input"
key=$( (echo "$@"; cat "$input") | sha1sum | cut -c1-40)
if [ ! -f ${folder}/$key ]; then "$@" < "$input" > "$input.pack" && mv "$input.pack" ${folder}/$key; fi
rm "$input"
exec cat ${folder}/$key
`;
}

function ledgerSeconds(ledger: string): number {
  return readFileSync(ledger, "utf8")
    .split(/\s/)
    .reduce((sum, figure) => sum + Number(figure), 0);
}

/** Makes an empty bare repository that takes pushes with fsck and fsync, as ours does. */
export function makePeerRepository(peer: Peer, name: string): string {
  const path = join(peer.repositories, `${name}.git`);
  git(["init", "--quiet", "--bare", "--initial-branch=main", path], peer.repositories);
  for (const [key, value] of [
    ["http.receivepack", "true"],
    ["receive.fsckObjects", "true"],
    ["core.fsync", "all"],
    ["core.fsyncMethod", "fsync"],
    ["uploadpack.allowFilter", "true"],
  ]) {
    git(["config", key as string, value as string], path);
  }
  return path;
}

function configuration(folder: string, socket: string, repositories: string, port: number): string {
  const location = (
    pattern: string,
    path: string,
    more: readonly string[],
  ) => `location ${pattern} {
      ${more.join("\n      ")}
      fastcgi_pass unix:${socket};
      fastcgi_param SCRIPT_FILENAME ${folder}/backend;
      fastcgi_param GIT_PROJECT_ROOT ${repositories};
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO ${path};
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_param REMOTE_USER bench;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_buffering off;
      fastcgi_request_buffering off;
      fastcgi_read_timeout 600;
    }`;
  return `daemon off;
worker_processes 2;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
user root;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  fastcgi_temp_path ${folder}/fastcgi;
  proxy_temp_path ${folder}/proxy;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  sendfile on;
  client_max_body_size 0;
  server {
    listen 127.0.0.1:${port};
${location("/", "$uri", [])}
${location("~ ^/cached(/.*)$", "$1", [`fastcgi_param GIT_CONFIG_GLOBAL ${folder}/cached.gitconfig;`])}
  }
}
`;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGTERM");
  await ended;
}

/** fcgiwrap's workers outlive it, and sleep through SIGTERM: the rest of its group. */
function endGroup({ pid }: ChildProcess): void {
  try {
    process.kill(-(pid as number), "SIGKILL");
  } catch {
    // none is left
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

async function until(test: () => Promise<boolean>, what: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await test()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not start`);
}
