/**
 * Questions, answers and news between a task and whoever runs it, over a MessagePort of their own.
 * Messages of one direction arrive in order; a task's result may overtake what it has told.
 *
 *   task → runner   { news }                     is not answered
 *                   { question, kind, given }    one answer follows; without a kind: once it is heard
 *   runner → task   { question, value } or { question, failure }
 *                   { word }                     is not answered
 */
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { asFault, Fault, type FaultRecord, fromRecord, toRecord } from "../base/fault.js";

/** Questions by kind: arguments and answers. All of it can be cloned. */
export type Questions = Readonly<Record<string, (...given: never[]) => unknown>>;

/** Nothing is asked. */
export type NoQuestions = Readonly<Record<never, never>>;

type Upward =
  | { readonly news: unknown }
  | { readonly question: number; readonly kind?: string; readonly given?: readonly unknown[] };

type Downward =
  | { readonly word: unknown }
  | { readonly question: number; readonly value: unknown }
  | { readonly question: number; readonly failure: FaultRecord };

interface Waiting {
  resolve(value: unknown): void;
  reject(fault: Fault): void;
}

/** The task's end. */
export class TaskPort<News, Q extends Questions = NoQuestions, Word = never> {
  readonly #port: MessagePort;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #isClosed = false;

  /** `onWord` hears what the runner says without being asked. */
  constructor(port: MessagePort, onWord: (word: Word) => void = () => undefined) {
    this.#port = port;
    port.on("message", (message: Downward) => {
      if ("word" in message) return onWord(message.word as Word);
      const waiting = this.#waiting.get(message.question);
      this.#waiting.delete(message.question);
      if ("failure" in message) waiting?.reject(fromRecord(message.failure));
      else waiting?.resolve(message.value);
    });
    // The runner has gone: without this the task would wait for ever.
    port.on("close", () => this.#end());
  }

  tell(news: News): void {
    this.#port.postMessage({ news } satisfies Upward);
  }

  /** Throws what the runner's answer throws, "base/aborted" where its end is closed. */
  async ask<K extends keyof Q & string>(
    kind: K,
    ...given: Parameters<Q[K]>
  ): Promise<ReturnType<Q[K]>> {
    return (await this.#ask({ kind, given })) as ReturnType<Q[K]>;
  }

  /** Resolves when all that was told before has been heard. Throws "base/aborted" as `ask` does. */
  async heard(): Promise<void> {
    await this.#ask({});
  }

  close(): void {
    this.#port.close();
    this.#end();
  }

  #ask(asked: { readonly kind?: string; readonly given?: readonly unknown[] }): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(new Fault("base/aborted"));
    const question = this.#asked++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(question, { resolve, reject });
      this.#port.postMessage({ question, ...asked } satisfies Upward);
    });
  }

  #end(): void {
    this.#isClosed = true;
    for (const { reject } of this.#waiting.values()) reject(new Fault("base/aborted"));
    this.#waiting.clear();
  }
}

/** A runner's side of the port: hears and answers its task. */
export interface PortService<News, Q extends Questions> {
  readonly onNews: (news: News) => void;
  readonly answers: {
    readonly [K in keyof Q]: (
      ...given: Parameters<Q[K]>
    ) => ReturnType<Q[K]> | Promise<ReturnType<Q[K]>>;
  };
}

/** The runner's end. */
export interface ServedPort<Word> {
  /** The task's end: to be transferred with its request. */
  readonly port: MessagePort;
  say(word: Word): void;
  /** The task hears nothing any more, and what it waits for fails. */
  close(): void;
}

export function servePort<News, Q extends Questions = NoQuestions, Word = never>({
  onNews,
  answers,
}: PortService<News, Q>): ServedPort<Word> {
  const { port1, port2 } = new MessageChannel();
  const post = (message: Downward) => port1.postMessage(message);
  const answer = async (kind: string | undefined, given: readonly unknown[]): Promise<unknown> => {
    if (kind === undefined) return undefined;
    const find = answers[kind] as ((...given: readonly unknown[]) => unknown) | undefined;
    if (find === undefined) throw new Fault("base/internal", { reason: `nobody answers ${kind}` });
    return find(...given);
  };
  port1.on("message", (message: Upward) => {
    if ("news" in message) return onNews(message.news as News);
    const { question, kind, given = [] } = message;
    answer(kind, given).then(
      (value) => post({ question, value }),
      (error: unknown) => post({ question, failure: toRecord(asFault(error)) }),
    );
  });
  return { port: port2, say: (word) => post({ word }), close: () => port1.close() };
}
