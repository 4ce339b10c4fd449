/**
 * Stands before a real lakeFS, passes everything on and counts; does something once the n-th answer
 * is there, before anybody has it.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Test } from "tap";

export interface CountingProxy {
  readonly endpoint: string;
  /** Answers since the last `arm`. */
  readonly count: number;
  /** Calls that are under way. */
  readonly pending: number;
  /**
   * Counts from one again. When lakeFS has answered the `at`-th call, `instead` is run in place of
   * passing the answer on.
   */
  arm(at: number, instead: () => Promise<void>): void;
  /** "POST /…/merge/main" of the last call counted. */
  readonly last: string;
}

interface State {
  count: number;
  pending: number;
  at: number;
  last: string;
  instead(): Promise<void>;
}

export async function startProxy(t: Test, endpoint: string): Promise<CountingProxy> {
  const target = new URL(endpoint);
  const state: State = {
    count: 0,
    pending: 0,
    at: Number.POSITIVE_INFINITY,
    last: "",
    instead: async () => {},
  };
  const server = createServer((asked, reply) => {
    state.pending++;
    const onwards = request(
      {
        host: target.hostname,
        port: target.port,
        method: asked.method,
        path: asked.url,
        headers: asked.headers,
      },
      (answer) => {
        state.count++;
        if (state.count === state.at) void cut(asked, reply, answer, state);
        else pass(reply, answer);
      },
    );
    onwards.once("close", () => state.pending--);
    onwards.on("error", () => reply.destroy());
    asked.on("error", () => onwards.destroy());
    asked.pipe(onwards);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get count() {
      return state.count;
    },
    get pending() {
      return state.pending;
    },
    get last() {
      return state.last;
    },
    arm: (at, instead) => void Object.assign(state, { at, instead, count: 0, last: "" }),
  };
}

function pass(reply: ServerResponse, answer: IncomingMessage): void {
  reply.writeHead(answer.statusCode ?? 502, answer.headers);
  answer.on("error", () => reply.destroy());
  answer.pipe(reply);
}

/** lakeFS has done it; whoever asked will never know. */
async function cut(
  asked: IncomingMessage,
  reply: ServerResponse,
  answer: IncomingMessage,
  state: State,
): Promise<void> {
  state.last = `${asked.method} ${asked.url}`;
  answer.resume();
  await state.instead();
  reply.destroy();
}
