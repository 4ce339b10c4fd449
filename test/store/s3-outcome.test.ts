/** What the SDK throws, as it was seen of real servers, and what it means. */
import t from "tap";
import { outcomeOf } from "../../src/store/s3/outcome.js";

const ASKED = { operation: "PutObject", key: "k" };

function answer(status: number, name: string, headers: Readonly<Record<string, string>> = {}) {
  const $response = { statusCode: status, headers, body: "secret" };
  return Object.assign(new Error("said"), {
    name,
    $metadata: { httpStatusCode: status, requestId: "r1" },
    $response,
  });
}

function broken(code: string | undefined, name = "Error", message = "broken"): Error {
  return Object.assign(new Error(message), { name, ...(code === undefined ? {} : { code }) });
}

const ROWS: readonly (readonly [error: unknown, as: string, code?: string])[] = [
  [answer(404, "NoSuchKey"), "missing"],
  [answer(404, "NotFound"), "missing"],
  [answer(404, "NoSuchUpload"), "missing"],
  [answer(404, "NoSuchBucket"), "refused", "store/no-bucket"],
  [answer(404, "XAdminUserNotFound"), "refused", "store/bad-credentials"],
  [answer(404, "SomethingElse"), "refused", "store/refused"],
  [answer(304, "Unknown"), "unchanged"],
  [answer(412, "PreconditionFailed"), "precondition"],
  [answer(416, "InvalidRange"), "beyond"],
  [answer(409, "ConditionalRequestConflict"), "undone", "store/failed"],
  [answer(409, "OperationAborted"), "undone", "store/failed"],
  [answer(409, "ObjectParentIsFile"), "refused", "store/refused"],
  [answer(503, "SlowDown"), "undone", "store/throttled"],
  [answer(429, "Unknown"), "undone", "store/throttled"],
  [answer(503, "ServiceUnavailable"), "unknown", "store/throttled"],
  [answer(500, "InternalError"), "unknown", "store/failed"],
  [answer(502, "Unknown"), "unknown", "store/failed"],
  [answer(200, "SyntaxError"), "unknown", "store/failed"],
  [answer(400, "RequestTimeout"), "unknown", "store/failed"],
  [answer(501, "NotImplemented"), "refused", "store/refused"],
  [answer(400, "BadDigest"), "undone", "store/failed"],
  [answer(403, "RequestTimeTooSkewed"), "undone", "store/clock-skew"],
  [answer(403, "SignatureDoesNotMatch"), "refused", "store/bad-signature"],
  [answer(403, "Unknown"), "refused", "store/denied"],
  [answer(301, "Unknown"), "refused", "store/wrong-region"],
  [answer(400, "toString"), "refused", "store/refused"],
  [broken("ECONNREFUSED"), "undone", "store/unreachable"],
  [broken("ENOTFOUND"), "undone", "store/unreachable"],
  [broken("ECONNRESET"), "unknown", "store/unreachable"],
  [broken("EPIPE"), "unknown", "store/unreachable"],
  [broken(undefined, "TimeoutError"), "unknown", "store/unreachable"],
  [
    broken(undefined, "TimeoutError", "the request socket did not establish a connection with"),
    "undone",
    "store/unreachable",
  ],
  [broken("SELF_SIGNED_CERT_IN_CHAIN"), "refused", "store/untrusted"],
  [broken("ERR_TLS_CERT_ALTNAME_INVALID"), "refused", "store/untrusted"],
  [broken(undefined, "CredentialsProviderError"), "refused", "store/bad-credentials"],
  [broken("ERR_INVALID_URL", "TypeError", "Invalid URL"), "refused", "store/wrong-region"],
  [new TypeError("a bug"), "refused", "base/internal"],
];

t.test("each answer and each broken connection has its meaning", async (t) => {
  for (const [error, as, code] of ROWS) {
    const { name, message } = error as Error;
    const outcome = outcomeOf(error, ASKED);
    t.equal(outcome.as, as, `${name} ${message}`);
    t.equal("fault" in outcome ? outcome.fault.code : undefined, code, `${name} ${message}`);
  }
});

t.test("Retry-After is a number of seconds, or nothing", async (t) => {
  const slow = (after: string) =>
    outcomeOf(answer(503, "SlowDown", { "retry-after": after }), ASKED);
  t.match(slow("3"), { afterMs: 3_000 });
  for (const after of ["Tue, 01 Dec 2026 17:00:00 GMT", "-1", "x"])
    t.notMatch(slow(after), { afterMs: Number }, after);
});

t.test("an answer's fault names it, and carries nothing of the request", async (t) => {
  const outcome = outcomeOf(answer(403, "AccessDenied"), ASKED);
  t.match(outcome, {
    fault: {
      code: "store/denied",
      facts: {
        operation: "PutObject",
        key: "k",
        status: 403,
        answer: "AccessDenied",
        request: "r1",
      },
      cause: undefined,
    },
  });
});
