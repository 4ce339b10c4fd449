/** What became of one request, told by what the SDK throws. */
import { asFault, Fault, type FaultCode } from "../../base/fault.js";

export type Outcome =
  /** 404: nothing has this key, or no upload has this id. */
  | { readonly as: "missing" }
  /** 304. */
  | { readonly as: "unchanged" }
  /** 412. */
  | { readonly as: "precondition" }
  /** 416: the object ends before the range begins. */
  | { readonly as: "beyond" }
  /** Nothing was done, and asking again may help; `afterMs`: not before. */
  | { readonly as: "undone"; readonly fault: Fault; readonly afterMs?: number }
  /** It may have been done, or be done yet. */
  | { readonly as: "unknown"; readonly fault: Fault; readonly afterMs?: number }
  /** Asking again does not help. */
  | { readonly as: "refused"; readonly fault: Fault };

/** What the SDK throws, as far as it is looked at. */
interface SdkError {
  readonly name?: string;
  readonly code?: unknown;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string };
  readonly $response?: {
    readonly statusCode?: number;
    readonly headers?: Readonly<Record<string, string>>;
  };
}

export interface Asked {
  readonly operation: string;
  readonly key?: string;
}

/** Tells what became of a request by what the SDK has thrown. */
export function outcomeOf(thrown: unknown, asked: Asked): Outcome {
  const error = thrown as SdkError;
  const status = error.$metadata?.httpStatusCode ?? error.$response?.statusCode;
  return status === undefined
    ? outcomeOfConnection(error, asked)
    : outcomeOfAnswer(error, status, asked);
}

const NOT_CONNECTED: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);

const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)/;

function outcomeOfConnection(error: SdkError, asked: Asked): Outcome {
  const { name, code, message = "" } = error;
  const facts = { ...asked, reason: typeof code === "string" ? code : name };
  if (name === "CredentialsProviderError" || name === "TokenProviderError")
    return { as: "refused", fault: new Fault("store/bad-credentials", facts, error) };
  if (typeof code === "string" && UNTRUSTED.test(code))
    return { as: "refused", fault: new Fault("store/untrusted", facts, error) };
  if (code === "ERR_INVALID_URL")
    return { as: "refused", fault: new Fault("store/wrong-region", { ...facts, message }, error) };
  const fault = new Fault("store/unreachable", facts, error);
  if (NOT_CONNECTED.has(code) || message.includes("did not establish a connection"))
    return { as: "undone", fault };
  if (name === "TimeoutError" || typeof code === "string") return { as: "unknown", fault };
  return { as: "refused", fault: asFault(error) };
}

/** Names that say that nothing was done, and what they are for whom asking again did not help. */
const UNDONE: Readonly<Record<string, FaultCode>> = {
  ConditionalRequestConflict: "store/failed",
  OperationAborted: "store/failed",
  SlowDown: "store/throttled",
  SlowDownRead: "store/throttled",
  SlowDownWrite: "store/throttled",
  TooManyRequests: "store/throttled",
  TooManyRequestsException: "store/throttled",
  Throttling: "store/throttled",
  ThrottlingException: "store/throttled",
  RequestLimitExceeded: "store/throttled",
  BandwidthLimitExceeded: "store/throttled",
  // The body was hurt on its way.
  BadDigest: "store/failed",
  XAmzContentSHA256Mismatch: "store/failed",
  IncompleteBody: "store/failed",
  // The SDK learns the difference from the refusal.
  RequestTimeTooSkewed: "store/clock-skew",
};

const REFUSED: Readonly<Record<string, FaultCode>> = {
  NoSuchBucket: "store/no-bucket",
  SignatureDoesNotMatch: "store/bad-signature",
  InvalidAccessKeyId: "store/bad-credentials",
  ExpiredToken: "store/bad-credentials",
  XAdminUserNotFound: "store/bad-credentials", // versitygw, with 404
  InvalidToken: "store/bad-credentials",
  PermanentRedirect: "store/wrong-region",
  TemporaryRedirect: "store/wrong-region",
  AuthorizationHeaderMalformed: "store/wrong-region",
  IllegalLocationConstraintException: "store/wrong-region",
};

/** Names with 404; the last two are of HEAD, whose answer has none. */
const MISSING: ReadonlySet<string> = new Set([
  "NoSuchKey",
  "NoSuchUpload",
  "NotFound",
  "UnknownError",
]);

function outcomeOfAnswer(error: SdkError, status: number, asked: Asked): Outcome {
  const { name = "" } = error;
  const facts = { ...asked, status, answer: name, request: error.$metadata?.requestId };
  // The error itself is no cause: it has the request with it, headers and all.
  const fault = (code: FaultCode) => new Fault(code, facts);
  const undone = Object.hasOwn(UNDONE, name) ? UNDONE[name] : undefined;
  if (undone !== undefined) return { as: "undone", fault: fault(undone), ...waitOf(error) };
  const refused = Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
  if (refused !== undefined) return { as: "refused", fault: fault(refused) };
  if (status === 404 && MISSING.has(name)) return { as: "missing" };
  if (status === 304) return { as: "unchanged" };
  if (status === 412) return { as: "precondition" };
  if (status === 416) return { as: "beyond" };
  if (status === 429) return { as: "undone", fault: fault("store/throttled"), ...waitOf(error) };
  if (status === 503) return { as: "unknown", fault: fault("store/throttled"), ...waitOf(error) };
  if (status === 501) return { as: "refused", fault: fault("store/refused") };
  if (status >= 500 || status < 300 || status === 408 || name === "RequestTimeout")
    return { as: "unknown", fault: fault("store/failed") };
  return { as: "refused", fault: fault(codeOfStatus(status)) };
}

/** HEAD has no body, so its refusals have no name. */
function codeOfStatus(status: number): FaultCode {
  if (status === 401 || status === 403) return "store/denied";
  return status < 400 ? "store/wrong-region" : "store/refused";
}

function waitOf({ $response }: SdkError): { readonly afterMs?: number } {
  const seconds = Number($response?.headers?.["retry-after"]);
  return Number.isFinite(seconds) && seconds >= 0 ? { afterMs: seconds * 1_000 } : {};
}
