/**
 * The pages a person meets in a browser: what this is, what is here, what to type. Plain text for
 * everybody else.
 */
import { utf8 } from "../../base/bytes.js";
import type { HttpReply, HttpRequest } from "./contract.js";
import { NO_CACHE } from "./fault.js";

export interface HomePage {
  readonly version: string;
  /** "http://127.0.0.1:8080". */
  readonly base: string;
  readonly repositories: readonly string[];
  /** Tells which lakeFS is there and whether it answers. */
  readonly lakefs?: string | undefined;
  /** There are more than these. */
  readonly more: boolean;
}

export function homePage(
  request: HttpRequest,
  { version, base, repositories, lakefs, more }: HomePage,
): HttpReply {
  const lines: readonly Line[] = [
    { text: `lakepack ${version}`, as: "h1" },
    ...(lakefs === undefined ? [] : [{ text: `${lakefs}.`, as: "p" } as const]),
    { text: "Push something; the first push creates the repository:", as: "p" },
    { text: `git push ${base}/me/model.git HEAD:main`, as: "pre" },
    { text: "Clone it:", as: "p" },
    { text: `git clone ${base}/me/model.git`, as: "pre" },
    { text: repositories.length === 0 ? "No repositories yet." : "Repositories:", as: "p" },
    ...repositories.map(
      (title): Line => ({ text: title, as: "li", link: `${pathOf(base)}/${title}` }),
    ),
    ...(more ? [{ text: "… and more.", as: "p" } as const] : []),
  ];
  return page(request, `lakepack ${version}`, lines);
}

/**
 * Returns the path that stands before all others where clients reach us below one: "/git" of
 * "https://hub.example/git".
 */
function pathOf(base: string): string {
  return URL.canParse(base) ? new URL(base).pathname.replace(/\/+$/, "") : "";
}

/** `title`: "ns/name". */
export function repositoryPage(request: HttpRequest, base: string, title: string): HttpReply {
  return page(request, title, [
    { text: title, as: "h1" },
    { text: `git clone ${base}/${title}.git`, as: "pre" },
  ]);
}

/**
 * Makes the page that Go's tool looks for. Made of the name alone and the same whether anything is
 * there, so that it tells nobody what is.
 */
export function goGetPage(base: string, title: string): HttpReply {
  const address = `${base}/${title}`;
  const content = `${address.replace(/^https?:\/\//, "")} git ${address}.git`;
  const text = `<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="go-import" content="${escaped(content)}"><title>${escaped(title)}</title></html>\n`;
  return {
    status: 200,
    headers: [
      ["Content-Type", "text/html; charset=utf-8"],
      ["X-Content-Type-Options", "nosniff"],
      ...NO_CACHE,
    ],
    body: utf8(text),
  };
}

interface Line {
  readonly text: string;
  readonly as: "h1" | "p" | "pre" | "li";
  readonly link?: string;
}

function page(request: HttpRequest, title: string, lines: readonly Line[]): HttpReply {
  const isBrowser = request.header("accept")?.includes("text/html") === true;
  const text = isBrowser
    ? html(title, lines)
    : `${lines.map((line) => (line.as === "pre" ? `  ${line.text}` : line.text)).join("\n")}\n`;
  return {
    status: 200,
    headers: [
      ["Content-Type", `${isBrowser ? "text/html" : "text/plain"}; charset=utf-8`],
      [
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
      ],
      ["X-Content-Type-Options", "nosniff"],
      ...NO_CACHE,
    ],
    body: utf8(text),
  };
}

const STYLE =
  "body{font:1rem/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}pre{background:#8882;padding:.5rem 1rem}";

function html(title: string, lines: readonly Line[]): string {
  const body = lines.map(({ text, as, link }) => {
    const inner =
      link === undefined ? escaped(text) : `<a href="${escaped(link)}">${escaped(text)}</a>`;
    return `<${as}>${inner}</${as}>`;
  });
  return `<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title><style>${STYLE}</style>\n${body.join("\n")}\n</html>\n`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
